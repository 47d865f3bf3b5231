"""The SQLite file: opened, checked, migrated and locked, and its connections lent out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nvoi.dashboard.schema import APPLICATION_ID, MIGRATIONS
from nvoi.errors import InputError, NvoiError, UsageError

#: How long a write waits for another process that writes, in seconds.
BUSY_SECONDS = 5.0

# What the write-ahead log is cut back to after a checkpoint, in bytes.
_LOG_BYTES = 16 << 20

_HINT = "name another file with --db, or mend this one"

_REASONS = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "it or a file beside it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_NOMEM: "memory is short",
}

# https://www.sqlite.org/rescode.html: the low byte of an extended code is the primary code.
_PRIMARY = 0xFF


def read_clock() -> int:
    """Now, in Unix milliseconds, as all times of the database are."""
    return time.time_ns() // 1_000_000


# -- what SQLite raises ---------------------------------------------------------------------


class StorageError(NvoiError):
    """The database failed. Nothing of what was asked was kept; the same may work later."""


def describe_fault(error: sqlite3.Error) -> str:
    """Why SQLite failed, in a few words that hold no data."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return f"{type(error).__name__}: {error}"
    name = error.sqlite_errorname
    reason = _REASONS.get(code & _PRIMARY)
    return f"{reason} ({name})" if reason else f"{error} ({name})"


def build_error(action: str, error: sqlite3.Error) -> StorageError:
    return StorageError(f"cannot {action} the database: {describe_fault(error)}")


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Inside, what SQLite raises becomes a :class:`StorageError`: ``cannot ACTION …``."""
    try:
        yield
    except sqlite3.Error as error:
        raise build_error(action, error) from error


# -- connections ----------------------------------------------------------------------------


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


class Database:
    """Lends connections to a migrated database file. Safe to use from any thread."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path.absolute()
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def connect(self) -> sqlite3.Connection:
        """A connection of the caller's own, to be closed by it.

        Raises:
            StorageError: the file cannot be opened.
        """
        with storage_errors("open"):
            return connect(self.path, busy_seconds=self._busy_seconds)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lends a connection that reads one state of the database, whatever is written meanwhile.

        Raises:
            StorageError: the database cannot be read, or is closed.
        """
        with storage_errors("read"):
            connection = self._take()
            try:
                with transaction(connection, "BEGIN"):
                    yield connection
            except sqlite3.Error:
                connection.close()
                raise
            finally:
                self._give_back(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Gives a connection with one transaction, which is committed at the end.

        For commands: in the server all is written by its :class:`~nvoi.dashboard.workers.Writer`.

        Raises:
            StorageError: the database cannot be written; nothing was.
        """
        with (
            contextlib.closing(self.connect()) as connection,
            storage_errors("write to"),
            transaction(connection),
        ):
            yield connection

    def close(self) -> None:
        """Close the connections; those lent out are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed")
            if self._idle:
                return self._idle.pop()
        return connect(self.path, busy_seconds=self._busy_seconds, read_only=True)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and _is_usable(connection):
                self._idle.append(connection)
                return
        connection.close()


def _is_usable(connection: sqlite3.Connection) -> bool:
    try:
        return not connection.in_transaction
    except sqlite3.ProgrammingError:
        return False


# -- opening --------------------------------------------------------------------------------


def open_database(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Database:
    """Open the file, making and migrating it as needed. A new one is its owner's alone (0600).

    Raises:
        InputError: it cannot be used: its folder is missing, it is no database or another
            program's, cannot be written, or was made by a newer nvoi.
    """
    _ensure_file(path)
    try:
        with contextlib.closing(connect(path, busy_seconds=busy_seconds)) as connection:
            _prepare(connection, path)
    except sqlite3.Error as error:
        raise InputError(
            f"cannot use the database {path}: {describe_fault(error)}", hint=_HINT
        ) from error
    return Database(path, busy_seconds)


def _ensure_file(path: Path) -> None:
    try:
        # SQLite gives the files that it makes beside it the same mode. A file that is there is
        # not opened: closing it would drop the locks that SQLite holds in this process.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not path.is_file():
            raise InputError(f"the database {path} is no file", hint=_HINT) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot make the database {path}: {_name(error)}", hint=_HINT) from error
    else:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _check_maker(connection, path)
    # It can be chosen only before there is a first page.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise InputError(
            f"the database {path} cannot have a write-ahead log where it lies",
            hint="put it on a local disk",
        )
    migrate(connection)
    # Reading would succeed with a file or folder that cannot be written.
    with transaction(connection):
        pass


def _check_maker(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what another program made, before anything is written to it."""
    version = read_version(connection)
    maker = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if maker != APPLICATION_ID and (version or maker or tables):
        raise InputError(f"{path} is the database of another program", hint=_HINT)
    if version > len(MIGRATIONS):
        raise InputError(
            f"the database {path} was made by a newer nvoi (its schema is {version}, "
            f"this nvoi knows {len(MIGRATIONS)})",
            hint="upgrade nvoi, or name another file with --db",
        )


def read_version(connection: sqlite3.Connection) -> int:
    """How many migrations the database has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Give the database the migrations that it has not had, each in a transaction of its own.

    Raises:
        sqlite3.Error: one failed; those before it stay.
    """
    for version in range(read_version(connection), len(migrations)):
        with transaction(connection):
            # Another process may have been quicker.
            if read_version(connection) == version:
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")


@contextmanager
def lock_database(path: Path) -> Iterator[None]:
    """Inside, no other process may serve the file; its lock is ``PATH.lock``.

    Raises:
        UsageError: another process serves it.
        InputError: the lock's file cannot be made.
    """
    lock = Path(f"{os.path.realpath(path)}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot lock the database {path}: {_name(error)}", hint=_HINT) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another dashboard serves {path} (it holds {lock})",
                hint="stop it, or name another file with --db",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _name(error: OSError | ValueError) -> str:
    """Why, without the path: the message names it already."""
    return (isinstance(error, OSError) and error.strerror) or "its name cannot be one"
