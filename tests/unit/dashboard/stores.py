"""A store to test with: a database, its writer, and a project that sends."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nvoi.dashboard import projects
from nvoi.dashboard.attempts import find_attempt, list_runs, read_lines, read_text
from nvoi.dashboard.database import Database, open_database
from nvoi.dashboard.deliveries import store_delivery
from nvoi.dashboard.keyring import Keyring, open_keyring
from nvoi.dashboard.records import (
    Attempt,
    Body,
    Completed,
    Delivery,
    Line,
    LogBatch,
    Project,
    Receipt,
    Started,
    StoredLine,
)
from nvoi.dashboard.writer import Writer
from nvoi.secret import Secret

KEY = Secret("0123456789abcdef" * 4)
#: When all of the tests happens, in Unix milliseconds.
NOON = 1_700_000_000_000

COMPLETED = Completed((), 12)


def make_lines(first: int, last: int, *, at: int = NOON, text: str = "line") -> tuple[Line, ...]:
    """Lines ``first`` to ``last``, each a millisecond after the one before."""
    return tuple(Line("info", f"{text} {n}", at + n) for n in range(first, last + 1))


def make_batch(first: int, last: int, *, at: int = NOON, text: str = "line") -> LogBatch:
    return LogBatch(make_lines(first, last, at=at, text=text), first)


def make_plain(*messages: str) -> LogBatch:
    """Lines of a sender that gives no numbers."""
    return LogBatch(tuple(Line("info", message, NOON) for message in messages))


@dataclass
class Store:
    """A project's database. What ``send`` is given has webhook headers, unless told otherwise."""

    database: Database
    writer: Writer
    keyring: Keyring
    project: Project
    _count: Iterator[int] = field(default_factory=itertools.count)

    def send(
        self,
        body: Body,
        *,
        deploy: str = "deploy",
        webhook: str | None = "",
        digest: bytes | None = None,
        at: int = NOON,
        project: Project | None = None,
    ) -> Receipt:
        """Store one request, as soon as it is committed. A webhook-id of its own where left out.

        Args:
            body: what it brings.
            deploy: its deploy id.
            webhook: its webhook-id; None for a request without these headers.
            digest: of its raw bytes; that of the body's text where left out.
            at: when it is received.
            project: whose.
        """
        delivery = Delivery(
            (project or self.project).id,
            deploy,
            f"msg_{next(self._count)}" if webhook == "" else webhook,
            digest or hashlib.sha256(repr(body).encode()).digest(),
            at,
            body,
        )
        return self.writer.submit(lambda sql: store_delivery(sql, delivery)).result(60)

    def send_all(self, bodies: Sequence[Body], *, deploy: str = "deploy") -> None:
        for body in bodies:
            self.send(body, deploy=deploy)

    def find(
        self, number: int | None = None, *, deploy: str = "deploy", now: int = NOON
    ) -> Attempt | None:
        with self.database.read() as connection:
            return find_attempt(connection, self.project, deploy, number, now=now)

    def get(self, number: int | None = None, *, deploy: str = "deploy", now: int = NOON) -> Attempt:
        attempt = self.find(number, deploy=deploy, now=now)
        assert attempt is not None
        return attempt

    def count_runs(self, deploy: str = "deploy") -> int:
        with self.database.read() as connection:
            return len(list_runs(connection, self.project, deploy))

    def read(self, number: int | None = None, *, deploy: str = "deploy") -> list[StoredLine]:
        """The lines in the order of their arrival."""
        attempt = self.get(number, deploy=deploy)
        with self.database.read() as connection:
            return read_lines(connection, attempt.id, 0, 1_000_000)

    def read_messages(self, number: int | None = None, *, deploy: str = "deploy") -> list[str]:
        """The messages in the order of reading."""
        attempt = self.get(number, deploy=deploy)
        with self.database.read() as connection:
            return [line.message for line in read_text(connection, attempt.id)]

    def gaps(self, number: int | None = None) -> list[tuple[int, int]]:
        return [(gap.first, gap.last) for gap in self.get(number).gaps]

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@contextmanager
def open_store(path: Path, *, busy_seconds: float = 5.0) -> Iterator[Store]:
    database = open_database(path, busy_seconds=busy_seconds)
    keyring = open_keyring(database)
    with database.write() as connection:
        project = projects.ensure_default_project(connection, keyring, KEY)
    store = Store(database, Writer(database), keyring, project)
    try:
        yield store
    finally:
        store.close()


def make_start() -> Started:
    return Started("a" * 40, "main", "github_actions", "https://example.com/runs/1")
