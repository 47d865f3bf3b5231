"""The database in use: its connections, and the threads that read from it and write to it.

A write's result is given only once it is committed and synced, so what was acknowledged survives
a process that is killed, and a machine that loses power.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from nvoi.errors import NvoiError

T = TypeVar("T")

#: How long a write waits for another process that writes, in seconds.
BUSY_SECONDS = 5.0

#: The most jobs of a transaction, so that none waits long for those after it.
MOST_JOBS = 200
#: Seconds that a job which comes alone waits for another: to commit two costs little more than one.
COMPANY_SECONDS = 0.001
#: A query is short, and SQLite lets Python go on meanwhile; more than one thread keeps small
#: queries from waiting for a long text.
READERS = 4

# What the write-ahead log is cut back to after a checkpoint, in bytes.
_LOG_BYTES = 16 << 20

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

#: https://www.sqlite.org/rescode.html: the low byte of an extended code is the primary code.
PRIMARY = 0xFF


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
    reason = _REASONS.get(code & PRIMARY)
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

        For commands: in the server all is written by its :class:`Writer`.
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


# -- threads ---------------------------------------------------------------------------------

_Job = tuple[Callable[[Connection], Any], "Future[Any]"]
#: A job's result, and what it raised instead.
_Outcome = tuple[Any, BaseException | None]


class Reader:
    """Runs queries beside each other and beside the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(READERS, "nvoi-reader")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What ``query(sql)`` gives, which sees one state of the database throughout."""

        def run() -> T:
            with self._database.read() as sql:
                return query(sql)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """Wait for the queries that run, and take no more."""
        self._pool.shutdown(cancel_futures=True)


class Writer:
    """Runs jobs, one after another in the order of their submission, on a connection of its own.

    Jobs that wait are written in one transaction, with one sync. Each has a savepoint: one that
    raises leaves nothing behind and does not touch the others.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connect()
        database.watch_files(self._connection)
        # No SimpleQueue: its get() with a time-out may wait for ever (seen in 3.11 and 3.12).
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="nvoi-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Connection], T]) -> Future[T]:
        """Have ``job`` run, which neither begins nor ends a transaction; a future of its result.

        That raises what the job raised, or StorageError where the database failed (nothing was
        kept then).
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed")
            self._jobs.put((job, future))
        return future

    async def write(self, job: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self.submit(job))

    def close(self) -> None:
        """Run what was submitted, then end. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while group := self._take_group():
                self._write_group(group)
        finally:
            self._database.forget_files()
            self._connection.close()

    def _take_group(self) -> list[_Job]:
        """All jobs that wait, at least one; none where the writer was closed."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == MOST_JOBS:
                return group
            try:
                job = self._jobs.get(timeout=COMPANY_SECONDS if len(group) == 1 else 0.0)
            except queue.Empty:
                return group
        # What stands for the end stays there for the next look.
        self._jobs.put(None)
        return group

    def _write_group(self, group: list[_Job]) -> None:
        group = [job for job in group if job[1].set_running_or_notify_cancel()]
        outcomes: list[_Outcome] = []
        try:
            with transaction(self._connection):
                outcomes += [self._run_job(job) for job, _ in group]
            self._database.check_files()
        except Exception as error:  # noqa: BLE001 - the thread has to live, and every job an answer
            outcomes = [(None, error) for _ in group]
        for (_, future), (result, fault) in zip(group, outcomes, strict=True):
            if isinstance(fault, sqlite3.Error):
                future.set_exception(build_error("write to", fault))
            elif fault is not None:
                future.set_exception(fault)
            else:
                future.set_result(result)

    def _run_job(self, job: Callable[[Connection], Any]) -> _Outcome:
        self._connection.execute("SAVEPOINT job")
        outcome: _Outcome
        try:
            outcome = job(self._connection), None
        except BaseException as error:
            if not self._connection.in_transaction and isinstance(error, sqlite3.Error):
                # SQLite rolled all of it back: https://www.sqlite.org/lang_transaction.html
                raise
            self._connection.execute("ROLLBACK TO job")
            outcome = None, error
        self._connection.execute("RELEASE job")
        return outcome
