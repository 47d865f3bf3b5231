"""The threads of the server that write to the database and read from it.

A write's result is given only once it is committed and synced, so what was acknowledged survives
a process that is killed, and a machine that loses power.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from sqlite3 import Connection
from typing import Any, TypeVar

from nvoi.dashboard.database import Database, StorageError, build_error, transaction

T = TypeVar("T")

#: The most jobs of a transaction, so that none waits long for those after it.
MOST_JOBS = 200
#: Seconds that a job which comes alone waits for another: to commit two costs little more than one.
COMPANY_SECONDS = 0.001
#: A query is short, and SQLite lets Python go on meanwhile; more than one thread keeps small
#: queries from waiting for a long text.
READERS = 4

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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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
