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

RECORD_MARK = b'"logged_at"'  # within a text its quotes would be escaped


@dataclass
class Counts:
    """Totals; ``records`` and ``bytes`` are those of stored requests, each counted once.

    ``first`` and ``last`` are the arrivals of the first and the latest stored request, in
    seconds of ``time.monotonic``.
    """

    requests: int = 0
    stored: int = 0
    duplicates: int = 0
    records: int = 0
    bytes: int = 0
    first: float = 0.0
    last: float = 0.0


class Ledger:
    """The state of a receiver, safe to use from any thread; ``changed`` guards all of it.

    Args:
        key: the deploy key's text, as the HMAC key.
        base: the path of the callback URL.
        verify: False only counts, and keeps neither requests nor bodies.
        whole_runs: False where logs need no ``started`` before them.
    """

    def __init__(self, key: bytes, base: str, *, verify: bool, whole_runs: bool) -> None:
        self.changed = threading.Condition()
        self.requests: list[Received] = []
        self.accepted: list[Received] = []
        self.lines: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.counts = Counts()
        self.verify = verify
        self._key = key
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
                headers=head.headers if self.verify else Headers(()),
                arrived=time.monotonic(),
            )
            if self.verify:
                self.requests.append(request)
            self.changed.notify_all()
        return request

    def complete(self, request: Received, body: bytes, *, left: bool) -> None:
        """The request's body was read: judge the whole; ``left`` as in :meth:`_observe`."""
        request.body = body
        if not self.verify:
            return
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

    def store(self, request: Received, webhook_id: str) -> None:
        """Take what the request carries, unless an earlier attempt of it was taken."""
        with self.changed:
            if webhook_id and webhook_id in self._stored:
                self.counts.duplicates += 1
                return
            self._stored.add(webhook_id)
            request.stored = True
            self._count(request)
            if self.verify:
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
        """Judge the order of what comes next afresh: a second run under the same deploy ids."""
        with self.changed:
            self._runs.clear()

    def expect_resend(self) -> None:
        """What comes next is `nvoi resend`: logs may come after the terminal status."""
        with self.changed:
            for run in self._runs.values():
                run.begin_resend()

    def _observe(self, request: Received, *, left: bool) -> None:
        """Judge the request's place among the others.

        One whose client had ``left`` was given up before anybody read it: on another
        connection, what was sent later may have been read first.
        """
        faults = [*self._get_run(request).observe(request)]
        self._note(request, () if left else faults)

    def _count(self, request: Received) -> None:
        counts = self.counts
        counts.stored += 1
        counts.records += request.body.count(RECORD_MARK)
        counts.bytes += len(request.body)
        counts.first = counts.first or request.arrived
        counts.last = request.arrived

    def _get_run(self, request: Received) -> Run:
        return self._runs.setdefault(request.deploy_id, Run(whole=self._whole_runs))

    def _find_changed_content(self, request: Received) -> Iterable[str]:
        content = hashlib.sha256(request.path.encode() + b"\n" + request.body).digest()
        if self._contents.setdefault(request.webhook_id, content) != content:
            yield "the same webhook-id came with another path or body"

    def _note(self, request: Received, faults: Iterable[str]) -> None:
        name = request.kind and f"{request.deploy_id!r} "
        self.violations += [f"{name}{request.describe()}: {fault}" for fault in faults]
