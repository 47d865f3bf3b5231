"""The SQLite file: opened, checked, migrated, and its connections lent out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nvoi.dashboard import schema
from nvoi.dashboard.connections import BUSY_SECONDS, connect, transaction
from nvoi.dashboard.errors import StorageError, describe_fault, storage_errors
from nvoi.errors import InputError, UsageError


class Database:
    """Lends connections to a migrated database file. Safe to use from any thread.

    Args:
        path: the file.
        busy_seconds: how long a write waits for another process that writes.
    """

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

        For commands: in the server all is written by its :class:`~nvoi.dashboard.writer.Writer`.

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


_HINT = "name another file with --db, or mend this one"


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


def _name(error: OSError | ValueError) -> str:
    """Why, without the path: the message names it already."""
    return (isinstance(error, OSError) and error.strerror) or "its name cannot be one"


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
    schema.migrate(connection)
    # Reading would succeed with a file or folder that cannot be written.
    with transaction(connection):
        pass


def _check_maker(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what another program made, before anything is written to it."""
    version = schema.read_version(connection)
    maker = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if maker != schema.APPLICATION_ID and (version or maker or tables):
        raise InputError(f"{path} is the database of another program", hint=_HINT)
    newest = len(schema.MIGRATIONS)
    if version > newest:
        raise InputError(
            f"the database {path} was made by a newer nvoi (its schema is {version}, "
            f"this nvoi knows {newest})",
            hint="upgrade nvoi, or name another file with --db",
        )
