"""A connection to the database, and a transaction on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: How long a write waits for another process that writes, in seconds.
BUSY_SECONDS = 5.0

# What the write-ahead log is cut back to after a checkpoint, in bytes.
_LOG_BYTES = 16 << 20


def connect(
    path: Path, *, busy_seconds: float = BUSY_SECONDS, read_only: bool = False
) -> sqlite3.Connection:
    """A connection to the file, which exists. One thread at a time may use it.

    Transactions begin where ``BEGIN`` is said, and only there.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
    """
    # Without mode=rw a file that has gone would be made anew, empty and readable by others.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # In WAL mode only FULL syncs each commit: https://www.sqlite.org/pragma.html#pragma_synchronous
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Inside is one transaction: committed at the end, rolled back by an exception."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some faults (a full disk, for one) have rolled back already; a commit that failed has not.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
