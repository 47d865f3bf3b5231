"""Reads the database for the event loop, on threads of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nvoi.dashboard.database import Database

T = TypeVar("T")

#: A query is short, and SQLite lets Python go on meanwhile; more than one thread keeps small
#: queries from waiting for a long text.
THREADS = 4


class Reader:
    """Runs queries beside each other and beside the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(THREADS, "nvoi-reader")

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What ``query(connection)`` gives, which sees one state of the database throughout.

        Raises:
            StorageError: the database cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query)

    def close(self) -> None:
        """Wait for the queries that run, and take no more."""
        self._pool.shutdown(cancel_futures=True)

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._database.read() as connection:
            return query(connection)
