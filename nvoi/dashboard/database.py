"""The SQLite file: made, opened, checked and locked, and its connections lent out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from nvoi.dashboard.schema import APPLICATION_ID, STATEMENTS, VERSION
from nvoi.errors import InputError, NvoiError, UsageError

#: How long a write waits for another process that writes, in seconds.
BUSY_SECONDS = 5.0

#: Seconds in which whoever just looks whether the database is served lets go of a lock.
LOOK_SECONDS = 0.5

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
) -> Connection:
    """A connection to the file, which exists. One thread at a time may use it.

    Transactions begin where ``BEGIN`` is said, and only there.
    """
    # Without mode=rw a file that has gone would be made anew, empty and readable by others.
    sql = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        sql.execute("PRAGMA foreign_keys = ON")
        # In WAL mode only FULL syncs each commit: https://www.sqlite.org/pragma.html#pragma_synchronous
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if read_only:
            sql.execute("PRAGMA query_only = ON")
    except BaseException:
        sql.close()
        raise
    return sql


@contextmanager
def transaction(sql: Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Inside is one transaction: committed at the end, rolled back by an exception."""
    sql.execute(begin)
    try:
        yield
        sql.execute("COMMIT")
    except BaseException:
        # Some faults (a full disk, for one) have rolled back already; a commit that failed has not.
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        raise


class Database:
    """Lends connections to a database file that is there. Safe to use from any thread."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path.absolute()
        self._busy_seconds = busy_seconds
        self._idle: list[Connection] = []
        self._files: dict[Path, tuple[int, int] | None] = {}

    def connect(self) -> Connection:
        """A connection of the caller's own, to be closed by it."""
        with storage_errors("open"):
            return connect(self.path, busy_seconds=self._busy_seconds)

    def watch_files(self, sql: Connection) -> None:
        """From now on notice when a file of the database goes; ``sql`` is open all that time.

        SQLite does not: it goes on with files that nobody will find again.
        """
        with storage_errors("read"):
            # The files beside it are there once something was read.
            sql.execute("SELECT count(*) FROM sqlite_master").fetchone()
        paths = [Path(f"{os.path.realpath(self.path)}{suffix}") for suffix in ("", "-wal", "-shm")]
        self._files = {path: _identify(path) for path in (self.path, *paths)}

    def forget_files(self) -> None:
        """The end of :meth:`watch_files`: SQLite removes some of them itself with the last user."""
        self._files = {}

    def check_files(self) -> None:
        """Raise StorageError if a file that is watched is gone, or another."""
        for path, identity in self._files.items():
            if _identify(path) != identity:
                raise StorageError(
                    f"{path.name} was deleted or replaced while the dashboard used it: "
                    "put it back, or restore a backup, and start the dashboard again"
                )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lends a connection that reads one state of the database, whatever is written now."""
        self.check_files()
        with storage_errors("read"):
            try:
                sql = self._idle.pop()
            except IndexError:
                sql = connect(self.path, busy_seconds=self._busy_seconds, read_only=True)
            is_usable = True
            try:
                with transaction(sql, "BEGIN"):
                    yield sql
            except sqlite3.Error:
                is_usable = False
                raise
            finally:
                if is_usable:
                    self._idle.append(sql)
                else:
                    sql.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Gives a connection with one transaction, which is committed at the end.

        For commands: in the server all is written by its :class:`~nvoi.dashboard.workers.Writer`.
        """
        with (
            contextlib.closing(self.connect()) as sql,
            storage_errors("write to"),
            transaction(sql),
        ):
            yield sql

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _identify(path: Path) -> tuple[int, int] | None:
    """What tells a file from any other that takes its place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# -- opening --------------------------------------------------------------------------------


def open_database(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Database:
    """Open the file, made where there is none. A new one is its owner's alone (0600).

    An InputError says why it cannot be used.
    """
    _ensure_file(path)
    try:
        with contextlib.closing(connect(path, busy_seconds=busy_seconds)) as sql:
            _prepare(sql, path, busy_seconds)
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


def _prepare(sql: Connection, path: Path, busy_seconds: float) -> None:
    # What another process is just making is seen whole, or not at all.
    with transaction(sql, "BEGIN"):
        _check_maker(sql, path)
    # It can be chosen only before there is a first page.
    sql.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if ensure_log(sql, busy_seconds) != "wal":
        raise InputError(
            f"the database {path} cannot have a write-ahead log where it lies",
            hint="put it on a local disk",
        )
    # Reading would succeed with a file or folder that cannot be written.
    with transaction(sql):
        # Another process may have been quicker.
        if _read_version(sql) == 0:
            for statement in STATEMENTS:
                sql.execute(statement)
            sql.execute(f"PRAGMA user_version = {VERSION}")


def ensure_log(sql: Connection, seconds: float) -> str:
    """The journal's mode, which is to be a write-ahead log; waits for who keeps it locked."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return str(sql.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            # With this alone SQLite does not wait for another process that does the same.
            is_busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def _check_maker(sql: Connection, path: Path) -> None:
    """Refuse what another program made, before anything is written to it."""
    version = _read_version(sql)
    maker = sql.execute("PRAGMA application_id").fetchone()[0]
    tables = sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if maker != APPLICATION_ID and (version or maker or tables):
        raise InputError(f"{path} is the database of another program", hint=_HINT)
    if version > VERSION:
        raise InputError(
            f"the database {path} was made by a newer nvoi (its schema is {version}, "
            f"this nvoi knows {VERSION})",
            hint="upgrade nvoi, or name another file with --db",
        )
    if 0 < version < VERSION:
        raise InputError(
            f"the database {path} is of an nvoi before the first release (its schema is {version})",
            hint="move it away, or name another file with --db",
        )


def _read_version(sql: Connection) -> int:
    return int(sql.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def lock_database(path: Path, seconds: float = 0.0) -> Iterator[None]:
    """Inside, no other process may serve the file; a UsageError where one still does by then."""
    lock = Path(f"{os.path.realpath(path)}.lock")
    refusal = UsageError(
        f"another dashboard serves {path} (it holds {lock})",
        hint="stop it, or name another file with --db",
    )
    with hold_lock(lock, refusal, seconds):
        yield


@contextmanager
def hold_lock(path: Path, refusal: UsageError, seconds: float = 0.0) -> Iterator[None]:
    """Inside, nobody else holds the file ``path``; ``refusal`` is raised where somebody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot lock the database by {path}: {_name(error)}", hint=_HINT
        ) from error
    try:
        deadline = time.monotonic() + seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise refusal
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(error: OSError | ValueError) -> str:
    """Why, without the path: the message names it already."""
    return (isinstance(error, OSError) and error.strerror) or "its name cannot be one"
