"""The dashboard's database, as its commands find and open it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.cli.options import find_home
from nvoi.errors import InputError, UsageError
from nvoi.folders import check_way, make_own

if TYPE_CHECKING:
    from nvoi.dashboard.database import Database
    from nvoi.dashboard.keyring import Keyring


def add_database_option(parser: argparse.ArgumentParser, *, inherited: bool = False) -> None:
    """``--db``, as :func:`~nvoi.cli.options.add_place_options` has its own."""
    parser.add_argument(
        "--db",
        type=Path,
        default=argparse.SUPPRESS if inherited else None,
        metavar="PATH",
        help="the SQLite file (default: dashboard.d/dashboard.sqlite3 in nvoi's own folder)",
    )


def find_database(options: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    """The database's file, as ``--db`` has it or in nvoi's own folder."""
    chosen: Path | None = options.db
    return chosen or find_home(environ) / "dashboard.d" / "dashboard.sqlite3"


def ensure_folder(folder: Path) -> None:
    """The folder of nvoi's own, and those above it that are missing: its owner's alone.

    Raises:
        InputError: it cannot be made, or others could put something of theirs in its place.
    """
    try:
        make_own(folder)
    except OSError as error:
        raise InputError(
            f"cannot make {folder}: {error.strerror}", hint="name another file with --db"
        ) from error


@contextmanager
def open_own_store(path: Path) -> Iterator[tuple[Database, Keyring]]:
    """The database and its keyring; meanwhile no other dashboard may serve it.

    Raises:
        InputError: it cannot be used, or another dashboard serves it.
    """
    from nvoi.dashboard.database import lock_database  # noqa: PLC0415 - slow

    with lock_database(path), open_store(path) as store:
        yield store


@contextmanager
def open_store(path: Path) -> Iterator[tuple[Database, Keyring]]:
    """The database and its keyring, beside a dashboard that may run.

    Raises:
        InputError: it cannot be used.
    """
    from nvoi.dashboard.database import open_database  # noqa: PLC0415 - slow
    from nvoi.dashboard.keyring import open_keyring  # noqa: PLC0415 - pulls in cryptography

    database = open_database(path)
    try:
        yield database, open_keyring(database)
    finally:
        database.close()


def prepare_database(options: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    """The database's file; nvoi's own folder is made for it where that is missing."""
    path = find_database(options, environ)
    if options.db is None:
        ensure_folder(path.parent)
    return path


def get_database(options: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    """The database's file, which is there.

    Raises:
        UsageError: it is not, or others could put something of theirs in its place.
    """
    path = find_database(options, environ)
    if options.db is None:
        check_way(path.parent)
    if not path.exists():
        raise UsageError(
            f"there is no dashboard's database {path}",
            hint="'nvoi dashboard' makes it, or --db names another",
        )
    return path
