"""What a receiver remembers: every request, what it took, and what broke the protocol."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.fakes.connection import Head
from tests.fakes.order import Run, parse_retry_after
from tests.fakes.protocol import find_faults, parse
from tests.fakes.received import Headers, Received, split_path


@dataclass
class Counts:
    """How many requests came, and how many of them had been taken before."""

    requests: int = 0
    duplicates: int = 0


class Ledger:
    """The state of a receiver, whose lists only grow; ``changed`` locks all of it.

    Args:
        key: the deploy key's text.
        base: the path of the callback URL.
        verify: False only counts, and keeps neither requests nor bodies.
        whole_runs: False where logs need no ``started`` before them.
    """

    def __init__(self, key: str, base: str, *, verify: bool, whole_runs: bool) -> None:
        self.changed = threading.Condition()
        #: Every request whose head came, in the order of arrival.
        self.requests: list[Received] = []
        #: The requests that were taken, each webhook-id once; their records; bodies of statuses.
        self.accepted: list[Received] = []
        self.lines: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        #: Everything that broke the protocol.
        self.violations: list[str] = []
        self.counts = Counts()
        self.verify = verify
        self._key = key.encode("ascii")
        self._base = base
        self._whole_runs = whole_runs
        self._runs: dict[str, Run] = {}
        self._contents: dict[str, bytes] = {}
        self._stored: set[str] = set()

    def open(self, head: Head, connection: int) -> Received:
        """A request whose head was read."""
        path = head.target.partition("?")[0]
        deploy_id, kind = split_path(path, self._base)
        with self.changed:
            self.counts.requests += 1
            request = Received(
                number=self.counts.requests,
                connection=connection,
                method=head.method,
                path=head.target,
                kind=kind,
                deploy_id=deploy_id,
                headers=head.headers,
                arrived=time.monotonic(),
            )
            if self.verify:
                self.requests.append(request)
            self.changed.notify_all()
        return request

    def complete(self, request: Received, body: bytes, *, left: bool) -> None:
        """The request's body was read: judge the whole; ``left`` as in :meth:`_observe`."""
        if not self.verify:
            return
        request.body = body
        try:
            request.payload = parse(body)
        except ValueError:
            request.payload = None
        faults = list(find_faults(request, self._key))
        with self.changed:
            request.complete = True
            self._note(request, faults)
            self._note(request, self._find_changed_content(request))
            self._observe(request, left=left)
            self.changed.notify_all()

    def abandon(self, request: Received, *, left: bool) -> None:
        """The request is cut off before its body was read."""
        if not self.verify:
            return
        with self.changed:
            self._observe(request, left=left)
            self.changed.notify_all()

    def store(self, request: Received) -> None:
        """Take what the request carries, unless an earlier attempt of it was taken."""
        if not self.verify:
            return
        with self.changed:
            if request.webhook_id and request.webhook_id in self._stored:
                self.counts.duplicates += 1
                return
            self._stored.add(request.webhook_id)
            request.stored = True
            self.accepted.append(request)
            self.lines += request.records
            if request.state:
                self.statuses.append(request.payload)
            self.changed.notify_all()

    def answer(self, request: Received, status: int, headers: Headers) -> None:
        """The request is about to be answered."""
        with self.changed:
            request.answered = status
            request.answered_at = time.monotonic()
            request.retry_after = parse_retry_after(headers.get("retry-after"))
            self.changed.notify_all()

    def expect_new_run(self) -> None:
        """A second run under the same deploy id comes next: its order is judged by itself."""
        with self.changed:
            self._runs.clear()

    def expect_resend(self) -> None:
        """`nvoi resend` comes next: it may send logs of a run that has ended."""
        with self.changed:
            for run in self._runs.values():
                run.begin_resend()

    def _observe(self, request: Received, *, left: bool) -> None:
        """Judge the request's place among the others.

        One whose client had ``left`` was given up before anybody read it: on another
        connection, what was sent later may have been read first.
        """
        run = self._runs.setdefault(request.deploy_id, Run(whole=self._whole_runs))
        faults = [*run.observe(request)]
        self._note(request, () if left else faults)

    def _find_changed_content(self, request: Received) -> Iterable[str]:
        content = hashlib.sha256(request.path.encode() + b"\n" + request.body).digest()
        if self._contents.setdefault(request.webhook_id, content) != content:
            yield "the same webhook-id came with another path or body"

    def _note(self, request: Received, faults: Iterable[str]) -> None:
        name = request.kind and f"{request.deploy_id!r} "
        self.violations += [f"{name}{request.describe()}: {fault}" for fault in faults]
