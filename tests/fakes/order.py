"""In which order the requests of one deploy id may come, by docs/protocol.md."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.fakes.protocol import OF_THE_RUN
from tests.fakes.received import TERMINAL, Received

REFUSED = frozenset((400, 413, 422))  # a batch answered so is halved: its numbers come again
STOPPED = frozenset((401, 403, 404, 405, 410))  # and every 3xx: nothing may follow
CLOCK_SECONDS = 0.05  # how far two clocks' readings of one wait may be apart


class Run:
    """Watches the requests of one deploy id, in the order of arrival.

    Args:
        whole: whether the run has statuses; False for a handler that is used without its
            stream, whose logs need no ``started`` before them.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._resent = False
        self._started = ""
        self._terminal = ""
        self._high = 0
        self._seen: set[str] = set()
        self._last: Received | None = None

    def begin_resend(self) -> None:
        """``nvoi resend`` speaks from here on: what it sends may come after a terminal status."""
        self._resent = True
        self._seen.clear()
        self._high, self._last = 0, None

    def observe(self, request: Received) -> Iterator[str]:
        """Take the next request, whole or cut off, before it is answered; say what is wrong."""
        last, again = self._last, request.webhook_id in self._seen
        if last is not None:
            yield from find_faults_after(last, request)
        if last is not None:
            yield from find_other_run(last, request)
        if again and last is not None and last.webhook_id != request.webhook_id:
            yield f"a retry overtaken: {last.describe()} came before it"
        if not again:
            yield from self._advance(request)
        if request.kind == "logs":
            yield from self._find_log_faults()
        else:
            yield from self._find_status_faults(request)
        self._seen.add(request.webhook_id)
        self._last = request

    def _advance(self, request: Received) -> Iterator[str]:
        """A new request: its numbers come after those of every batch that was not refused."""
        last = self._last
        if last is not None and last.sequence is not None and last.answered not in REFUSED:
            self._high = max(self._high, last.sequence[1])
        if request.sequence is not None and request.sequence[0] <= self._high:
            yield f"the sequence goes back: {request.sequence} after record {self._high}"

    def _find_log_faults(self) -> Iterator[str]:
        if self._resent:
            return
        if self._whole and not self._started:
            yield "logs came before started"
        if self._terminal:
            yield "logs came after the terminal status"

    def _find_status_faults(self, request: Received) -> Iterator[str]:
        if request.state == "started":
            if self._terminal and not self._resent:
                yield "started came after the terminal status"
            if self._started not in ("", request.webhook_id):
                yield "two started, with different ids"
            self._started = request.webhook_id
        elif not request.complete:
            # What was cut off before its body came can be known by its place only.
            self._started = self._started or request.webhook_id
        elif request.state in TERMINAL:
            if self._terminal not in ("", request.webhook_id):
                yield "two terminal statuses, with different ids"
            self._terminal = request.webhook_id


def find_other_run(last: Received, request: Received) -> Iterator[str]:
    """What tells the run of ``request`` otherwise than ``last`` did."""
    for name in OF_THE_RUN:
        before, now = last.headers.get(name), request.headers.get(name)
        if before != now:
            yield f"{name} is {now!r}, and was {before!r} on {last.describe()}"


def find_faults_after(last: Received, request: Received) -> Iterator[str]:
    """What ``last``'s answer forbids ``request`` to be."""
    same = last.webhook_id == request.webhook_id
    answered = last.answered or 0
    if answered in STOPPED or 300 <= answered < 400:
        yield f"called again after {last.describe()}"
    if same and answered in REFUSED and last.kind == "logs":
        yield f"sent again as it was after {last.describe()}"
    if same and last.answered_at is not None and last.retry_after is not None:
        waited = request.arrived - last.answered_at
        if waited < last.retry_after - CLOCK_SECONDS:
            yield f"retried after {waited:.2f} s, Retry-After said {last.retry_after:.0f}"


def parse_retry_after(value: str | None) -> float | None:
    """``Retry-After`` in seconds; None where it is not there, or is a date."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
