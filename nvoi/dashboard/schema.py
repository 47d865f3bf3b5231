"""The database's file: its tables, and how it is made, checked and locked.

``PRAGMA user_version`` has the tables' version; any other is refused. A release that changes the
tables gives them the next one, and adds to :func:`_ensure_tables` what brings a database of the
version before to it, with all that it stores.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from nvoi.dashboard.database import (
    BUSY_SECONDS,
    PRIMARY,
    Database,
    connect,
    describe_fault,
    transaction,
)
from nvoi.errors import InputError, UsageError

_HINT = "name another file with --db, or mend this one"

#: Seconds in which whoever just looks whether the database is served lets go of its lock.
PEEK_SECONDS = 0.5

#: Marks the file as a dashboard's: "nvoi" in ASCII.
APPLICATION_ID = 0x6E766F69

VERSION = 5

STATEMENTS = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    # AUTOINCREMENT: an id is part of what a sealed key is bound to, so it is never given twice.
    # A project that has once sent webhook headers needs them from then on.
    """
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        token TEXT UNIQUE,
        created_at INTEGER NOT NULL,
        needs_webhook INTEGER NOT NULL DEFAULT 0
    )
    """,
    # The current key of a project has no end.
    """
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        sealed BLOB NOT NULL,
        expires_at INTEGER
    )
    """,
    "CREATE INDEX keys_of_project ON keys (project_id)",
    # An attempt without a project has been given up, and waits for its deletion. A run's own id
    # tells apart the attempts of a deploy id; NULL where its sender gives none. What the page of
    # a run needs of its log at once is kept here: when its first and its last line were logged,
    # and how often lines came between others.
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER REFERENCES projects,
        deploy_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        run_id TEXT,
        app TEXT,
        command TEXT,
        has_started INTEGER NOT NULL DEFAULT 0,
        outcome TEXT,
        reason TEXT,
        error TEXT,
        started_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        ended_at INTEGER,
        duration_seconds INTEGER,
        git_sha TEXT,
        git_ref TEXT,
        commit_title TEXT,
        commit_author TEXT,
        dirty INTEGER NOT NULL DEFAULT 0,
        ci_provider TEXT,
        ci_run_url TEXT,
        tunnels TEXT NOT NULL DEFAULT '[]',
        lines INTEGER NOT NULL DEFAULT 0,
        last_place INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        late INTEGER NOT NULL DEFAULT 0,
        first_logged_at INTEGER,
        last_logged_at INTEGER,
        log_count INTEGER,
        log_dropped INTEGER,
        UNIQUE (project_id, deploy_id, number)
    )
    """,
    "CREATE INDEX attempts_of_project ON attempts (project_id, id)",
    "CREATE INDEX attempts_of_app ON attempts (project_id, app, id)",
    """
    CREATE TABLE gaps (
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, first)
    ) WITHOUT ROWID
    """,
    # With its rowid: without it one over 1 KB has a page of 4 KB to itself. That an attempt's
    # lines go before it is for retention to see to; a foreign key costs each line.
    """
    CREATE TABLE lines (
        attempt_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        place INTEGER NOT NULL,
        sequence INTEGER,
        level TEXT NOT NULL,
        message TEXT NOT NULL,
        logged_at INTEGER NOT NULL,
        PRIMARY KEY (attempt_id, number)
    )
    """,
    # Finds a sequence number, and gives the order of reading. It grows at the end of each
    # attempt's part, as the table does, so it does not become slower as it grows.
    "CREATE INDEX lines_in_place ON lines (attempt_id, place, number)",
    """
    CREATE INDEX lines_of_note ON lines (attempt_id, place, number, level)
    WHERE level IN ('step', 'warning', 'error')
    """,
    # What was taken, to know it again: 16 bytes of SHA-256 of the webhook-id and of the body.
    """
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY,
        project_id INTEGER NOT NULL,
        attempt_id INTEGER NOT NULL REFERENCES attempts,
        webhook BLOB,
        digest BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX deliveries_by_webhook ON deliveries (project_id, webhook)",
    "CREATE INDEX deliveries_by_digest ON deliveries (project_id, digest)",
    "CREATE INDEX deliveries_of_attempt ON deliveries (attempt_id)",
    "CREATE TABLE options (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE sessions (
        digest BLOB PRIMARY KEY,
        used_at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


# -- opening --------------------------------------------------------------------------------


def open_database(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Database:
    """Open the file, made where there is none. A new one is its owner's alone (0600).

    An InputError says why it cannot be used.
    """
    try:
        # SQLite gives the files that it makes beside it the same mode. A file that is there is
        # not opened: closing it would drop the locks that SQLite holds in this process.
        with contextlib.suppress(FileExistsError):
            path.touch(0o600, exist_ok=False)
        # SQLite would wait for the other side of a pipe.
        if not path.is_file():
            raise InputError(f"the database {path} is no file", hint=_HINT)
        with contextlib.closing(connect(path, busy_seconds=busy_seconds)) as sql:
            _ensure_tables(sql, path)
            _ensure_wal(sql, path, busy_seconds)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot make the database {path}: {_describe_reason(error)}", hint=_HINT
        ) from error
    except sqlite3.Error as error:
        raise InputError(
            f"cannot use the database {path}: {describe_fault(error)}", hint=_HINT
        ) from error
    return Database(path, busy_seconds)


def _ensure_tables(sql: Connection, path: Path) -> None:
    """Make the tables in an empty file, all or none; refuse what is no database of ours."""
    if not _read(sql, "PRAGMA page_count"):
        # It can be chosen only before there is a first page.
        sql.execute("PRAGMA auto_vacuum = INCREMENTAL")
    with transaction(sql):
        maker, version = _read(sql, "PRAGMA application_id"), _read(sql, "PRAGMA user_version")
        # Where it is damaged, that is told now.
        tables = _read(sql, "SELECT count(*) FROM sqlite_master")
        if not (maker or version or tables):
            for statement in STATEMENTS:
                sql.execute(statement)
        elif maker != APPLICATION_ID:
            raise InputError(f"{path} is the database of another program", hint=_HINT)
        elif version != VERSION:
            raise InputError(
                f"the database {path} is of another nvoi (its schema is {version}, this nvoi has"
                f" {VERSION})",
                hint="use that nvoi, or name another file with --db",
            )
        # Where it cannot be written, that is told now too.
        sql.execute(f"PRAGMA user_version = {VERSION}")


def _ensure_wal(sql: Connection, path: Path, seconds: float) -> None:
    """Have a write-ahead log, with which readers and the writer do not wait for each other."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            mode = sql.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # With this alone SQLite does not wait for another process that writes.
            is_busy = error.sqlite_errorcode & PRIMARY == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
    if mode != "wal":
        raise InputError(
            f"the database {path} cannot have a write-ahead log where it lies",
            hint="put it on a local disk",
        )


def _read(sql: Connection, query: str) -> int:
    return int(sql.execute(query).fetchone()[0])


# -- the lock -------------------------------------------------------------------------------


@contextmanager
def lock_database(path: Path) -> Iterator[Callable[[str], object]]:
    """Inside, no other process may serve the file; a UsageError where one does.

    Gives what notes for :func:`find_server` at which URL it is served.
    """
    lock = _name_lock(path)
    with hold_lock(lock, seconds=PEEK_SECONDS) as descriptor:
        if descriptor is None:
            url = _read_url(lock)
            where = f"at {url}" if url else f"(it holds {lock})"
            raise UsageError(
                f"another dashboard serves {path} {where}",
                hint="stop it, or name another file with --db",
            )
        # It has the URL of the last one.
        os.ftruncate(descriptor, 0)
        yield lambda url: os.pwrite(descriptor, url.encode(), 0)


def find_server(path: Path) -> str | None:
    """The URL at which the file is served, blank while that begins; None where it is not."""
    lock = _name_lock(path)
    # Shared, as another who looks is no server.
    with hold_lock(lock, fcntl.LOCK_SH) as descriptor:
        return _read_url(lock) if descriptor is None else None


def _read_url(lock: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return lock.read_text("utf-8")
    return ""


def _name_lock(path: Path) -> Path:
    return Path(f"{os.path.realpath(path)}.lock")


@contextmanager
def hold_lock(
    path: Path, how: int = fcntl.LOCK_EX, *, seconds: float = 0.0
) -> Iterator[int | None]:
    """Hold the lock file ``path``; gives its descriptor, None where others hold it by then."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, descriptor)
            deadline = time.monotonic() + seconds
            while not (is_held := _try_lock(descriptor, how)) and time.monotonic() < deadline:
                time.sleep(0.01)
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot hold the lock {path}: {_describe_reason(error)}", hint=_HINT
            ) from error
        yield descriptor if is_held else None


def _try_lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_reason(error: OSError | ValueError) -> str:
    """Why, without the path: the message names it already."""
    return (isinstance(error, OSError) and error.strerror) or "its name cannot be one"
