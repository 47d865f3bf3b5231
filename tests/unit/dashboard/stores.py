"""A store to test with: a database, its writer, and a project that sends."""

from __future__ import annotations

import functools
import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nvoi.dashboard import projects
from nvoi.dashboard.database import Database, Writer
from nvoi.dashboard.deliveries import About, Body, Delivery, Line, LogBatch
from nvoi.dashboard.lines import StoredLine, read_lines, read_places
from nvoi.dashboard.projects import Keyring, Project, name_key_file, open_keyring
from nvoi.dashboard.queries import Attempt, list_runs
from nvoi.dashboard.schema import open_database
from nvoi.dashboard.store import Receipt, store_delivery
from nvoi.protocol import CompletedBody, FailedBody, StartedBody
from nvoi.secret import Secret
from tests.waiting import PATIENCE

KEY = Secret("0123456789abcdef" * 4)
#: When all of the tests happens, in Unix milliseconds.
NOON = 1_700_000_000_000

COMPLETED: CompletedBody = {"status": "completed", "tunnels": [], "duration_seconds": 12}
NOTHING = About()


@dataclass(frozen=True)
class Sent:
    """A body, and what the headers beside it count."""

    body: Body
    about: About


def make_batch(first: int, last: int, *, at: int = NOON, text: str = "line") -> Sent:
    """Lines ``first`` to ``last``, each a millisecond after the one before."""
    lines = tuple(Line("info", f"{text} {n}", at + n) for n in range(first, last + 1))
    return Sent(LogBatch(lines), About(first=first))


def make_plain(*messages: str) -> LogBatch:
    """Lines of a sender that gives no numbers."""
    return LogBatch(tuple(Line("info", message, NOON) for message in messages))


def make_end(count: int, *, dropped: int = 0, body: Body = COMPLETED) -> Sent:
    return Sent(body, About(count=count, dropped=dropped))


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
        sent: Body | Sent,
        *,
        deploy: str = "deploy",
        run: str | None = None,
        webhook: str | None = "",
        at: int = NOON,
        project: Project | None = None,
        about: About = NOTHING,
    ) -> Receipt:
        """Store one request of ``run``, as it is received ``at`` a time, until it is committed.

        It has a webhook-id of its own where ``webhook`` is left out, and none where that is None.
        ``about`` is what its headers say of the run beside what they count.
        """
        body = sent.body if isinstance(sent, Sent) else sent
        if isinstance(sent, Sent):
            counts = sent.about
            about = replace(about, first=counts.first, count=counts.count, dropped=counts.dropped)
        delivery = Delivery(
            (project or self.project).id,
            deploy,
            f"msg_{next(self._count)}" if webhook == "" else webhook,
            hashlib.sha256(repr(body).encode()).digest(),
            at,
            body,
            replace(about, run_id=run),
        )
        return self.writer.submit(lambda sql: store_delivery(sql, delivery)).result(PATIENCE)

    def send_all(self, bodies: Sequence[Body | Sent], *, deploy: str = "deploy") -> None:
        for body in bodies:
            self.send(body, deploy=deploy)

    def find(self, number: int | None = None, *, deploy: str = "deploy") -> Attempt | None:
        with self.database.read() as connection:
            runs = list_runs(connection, self.project, deploy)
        return next((run for run in runs if number in {None, run.number}), None)

    def get(self, number: int | None = None, *, deploy: str = "deploy") -> Attempt:
        attempt = self.find(number, deploy=deploy)
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
            return [each.message for each in read_places(connection, attempt.id, None, 1_000_000)]

    def gaps(self, number: int | None = None) -> list[tuple[int, int]]:
        return [(gap.first, gap.last) for gap in self.get(number).gaps]

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@functools.cache
def _make_files() -> tuple[bytes, bytes]:
    """What :func:`put_new` puts, made once: most short tests take less time than that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.sqlite3"
        database = open_database(path)
        keyring = open_keyring(database)
        with database.write() as connection:
            projects.ensure_default_project(connection, keyring, KEY)
        database.close()
        return path.read_bytes(), name_key_file(path).read_bytes()


def put_new(path: Path) -> None:
    """Have a database at ``path`` that is new but for its default project, with its key beside."""
    for file, content in zip((path, name_key_file(path)), _make_files(), strict=True):
        file.touch(0o600)
        file.write_bytes(content)


@contextmanager
def open_store(path: Path, *, busy_seconds: float = 5.0) -> Iterator[Store]:
    """A store at ``path``, new where there is none."""
    if not path.exists():
        put_new(path)
    database = open_database(path, busy_seconds=busy_seconds)
    keyring = open_keyring(database)
    with database.write() as connection:
        project = projects.ensure_default_project(connection, keyring, KEY)
    store = Store(database, Writer(database), keyring, project)
    try:
        yield store
    finally:
        store.close()


def build_attempt(**changes: Any) -> Attempt:
    """A run of 65 s, seen from 1,000,000 ms after the epoch."""
    known = {
        "id": 1,
        "project": "shop",
        "deploy_id": "1234",
        "number": 1,
        "status": "running",
        "started_at": 935_000,
        "last_seen_at": 995_000,
        "dirty": False,
        "tunnels": (),
        "lines": 0,
        "late": 0,
        "gaps": (),
        "superseded": False,
    }
    values: dict[str, Any] = dict.fromkeys(each.name for each in fields(Attempt))
    return Attempt(**{**values, **known, **changes})


def make_start() -> StartedBody:
    return {
        "status": "started",
        "git_sha": "a" * 40,
        "git_ref": "main",
        "ci_provider": "github_actions",
        "ci_run_url": "https://example.com/runs/1",
    }


def make_failure(error: str) -> FailedBody:
    return {"status": "failed", "error": error}
