"""Faults of a database, made real."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: An account that owns nothing: "nobody".
NOBODY = 65534


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, another connection keeps the database from being written."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder that anybody may write; inside, the permissions of files hold for root too."""
    # pytest's own folders cannot even be entered by others.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
