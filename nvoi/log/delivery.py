"""One request after the other to the receiver, each until it is answered for good.

What an answer means is of docs/protocol.md. Requests go strictly in order: while one is
retried, the next waits. Trouble is counted by kind and told once.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nvoi.log import signing, wire
from nvoi.log.transport import Answer, Transport, TransportError
from nvoi.log.wire import LogBatch, Request

#: Seconds before the first retry, doubled for each further one up to the second number.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.25, 5.0
#: A retry that would have less time than this is not made: cut off before its answer, it would
#: only reach the receiver late.
LEAST_SECONDS = 0.3
#: While closing, a retry is not put off for longer than this, unless the receiver asks for it.
CLOSING_BACKOFF = 1.0

#: A refused line is not cut to fewer bytes than this; it is given up instead.
_SHORTEST_CUT = 256

RETRIED = frozenset({408, 425, 429, *range(500, 600)})
REFUSED = frozenset({400, 413, 422})
TOO_LARGE = 413


@dataclass(frozen=True)
class Stats:
    """What became of a run's records and requests so far.

    ``logged`` counts the records handed to the callback, ``delivered`` those acknowledged,
    ``dropped`` those given up: ``logged - delivered`` once the run is closed. ``undelivered``
    of the dropped are kept in a file. ``troubles`` counts failed attempts by kind.
    """

    logged: int = 0
    delivered: int = 0
    dropped: int = 0
    undelivered: int = 0
    requests: int = 0
    retries: int = 0
    troubles: Mapping[str, int] | None = None
    terminal_delivered: bool = False


def _ignore(*_: object) -> None:
    """For those who do not want to know."""


class Delivery:
    """Sends requests in order and keeps account of them.

    Args:
        url: the callback URL.
        key: the deploy key's text; it signs.
        deploy_id: checked already.
        transport: what sends.
        tell: called with a text, once for each kind of trouble.
        count_logged: how many lines have been numbered so far, for the terminal status.
        note_delivered: called with each piece that was acknowledged.
        note_parted: called with a piece and what is sent in its place, before that is.
    """

    def __init__(
        self,
        url: str,
        key: str,
        deploy_id: str,
        transport: Transport,
        *,
        tell: Callable[[str], None],
        count_logged: Callable[[], int],
        note_delivered: Callable[[Request], None] = _ignore,
        note_parted: Callable[[Request, Sequence[Request]], None] = _ignore,
    ) -> None:
        self._url = url
        self._key = key
        self._deploy_id = deploy_id
        self._transport = transport
        self._tell = tell
        self._count_logged = count_logged
        self._note_delivered = note_delivered
        self._note_parted = note_parted
        self._told: set[str] = set()
        self._hurry = threading.Event()
        self._logs_until = self._final_until = float("inf")
        self._most_bytes = wire.MOST_BYTES
        self._troubles: dict[str, int] = {}
        self.stats = Stats()
        #: Why nothing is sent any more in this run, or "".
        self.stopped = ""
        #: Whether the last piece was answered for good, be it by a refusal.
        self.answered = False
        #: What is being sent: the pieces of one request that are not acknowledged yet.
        self.pending: deque[Request] = deque()
        # OpenSSL sets itself up at its first digest, under locks. Were the sending thread at
        # it when the process forks, the child could never sign.
        signing.sign(b"", key)

    def end_by(self, logs_until: float, final_until: float) -> None:
        """From now on give up at these moments, in monotonic seconds.

        ``final_until`` holds for a terminal status, ``logs_until`` for all else. May be
        called from another thread while a request is under way.
        """
        self._logs_until, self._final_until = logs_until, final_until
        if self.pending:
            until = self._get_until(self.pending[0])
            self._transport.deadline.at = min(self._transport.deadline.at, until)
        self._hurry.set()

    def deliver(self, request: Request) -> list[Request]:
        """Send ``request``, in pieces where the receiver wants it so.

        Returns:
            What was not acknowledged and will not be tried again.
        """
        self.pending = deque([request])
        given_up: list[Request] = []
        while self.pending:
            piece = self._fit(self.pending[0])
            answer = self._send(piece)
            self.answered = answer is not None
            self.pending.popleft()
            if answer is None or self.stopped:
                given_up.append(piece)
            elif answer.status in REFUSED:
                self._split(piece, answer, given_up)
            else:
                self._count_delivered(piece)
                self._note_delivered(piece)
        return given_up

    def close(self) -> None:
        """Close the connection. No thread may be sending."""
        self._transport.close()

    # -- one piece -------------------------------------------------------------------------

    def _fit(self, piece: Request) -> Request:
        """The head of ``pending``, halved as long as it is over what the receiver takes."""
        while (
            isinstance(piece, LogBatch)
            and len(piece.lines) > 1
            and sum(map(wire.measure, piece.lines)) > self._most_bytes
        ):
            self.pending.popleft()
            self._part(piece, piece.halve())
            piece = self.pending[0]
        return piece

    def _part(self, piece: Request, parts: Sequence[Request]) -> None:
        self._note_parted(piece, parts)
        self.pending.extendleft(reversed(parts))

    def _send(self, piece: Request) -> Answer | None:
        """Try until there is an answer that is none of those to retry, or time is up."""
        body = piece.encode()
        failures = 0
        while not self.stopped and time.monotonic() < self._get_until(piece):
            if failures:
                self.stats = replace(self.stats, retries=self.stats.retries + 1)
            wait = 0.0
            try:
                answer = self._attempt(piece, body)
            except TransportError as error:
                self._note(error.kind, str(error))
            else:
                if answer.status not in RETRIED:
                    self._judge(piece, answer)
                    return answer
                self._note(f"HTTP {answer.status}", f"it answered {answer.status}")
                wait = parse_retry_after(answer.headers.get("retry-after"))
            failures += 1
            if not self._pause(piece, failures, wait):
                break
        return None

    def _attempt(self, piece: Request, body: bytes) -> Answer:
        counts = None
        if piece.terminal:
            logged = self._count_logged()
            counts = (logged, logged - self.stats.delivered)
        headers = wire.build_headers(
            piece,
            body,
            key=self._key,
            deploy_id=self._deploy_id,
            timestamp=int(time.time()),
            counts=counts,
        )
        self.stats = replace(self.stats, requests=self.stats.requests + 1)
        url = wire.build_url(self._url, self._deploy_id, piece.kind)
        return self._transport.post(url, body, headers, self._get_until(piece))

    def _judge(self, piece: Request, answer: Answer) -> None:
        status = answer.status
        if 200 <= status < 300:  # noqa: PLR2004 - the 2xx
            return
        if status in REFUSED:
            parts = "; it gets them in smaller parts" if piece.kind == "logs" else ""
            self._note(f"HTTP {status}", f"it answered {status} to {piece.kind}{parts}")
            return
        self.stopped = f"it answered {status}"
        if 300 <= status < 400:  # noqa: PLR2004 - the 3xx
            target = answer.headers.get("location", "nowhere")[:200]
            self.stopped += f", a redirect to {target}, which is not followed"
        self._note(f"HTTP {status}", f"{self.stopped}; nothing more is sent to it in this run")

    def _pause(self, piece: Request, failures: int, wait: float) -> bool:
        """Wait before a retry, by exponential backoff and no less than the receiver asked.

        Returns:
            Whether there is time left for the retry.
        """
        began = time.monotonic()
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10))
        # Full jitter would retry at once; half of it still parts many senders.
        backoff *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while True:
            closing = self._hurry.is_set()
            at = began + max(wait, min(backoff, CLOSING_BACKOFF) if closing else backoff)
            if at + LEAST_SECONDS > self._get_until(piece):
                return False
            remaining = at - time.monotonic()
            if remaining <= 0:
                return True
            if closing:
                time.sleep(remaining)
            else:
                self._hurry.wait(min(remaining, threading.TIMEOUT_MAX))

    # -- refusals --------------------------------------------------------------------------

    def _split(self, piece: Request, answer: Answer, given_up: list[Request]) -> None:
        if isinstance(piece, LogBatch):
            if answer.status == TOO_LARGE:
                self._most_bytes = max(_SHORTEST_CUT, sum(map(wire.measure, piece.lines)) // 2)
            if len(piece.lines) > 1:
                self._part(piece, piece.halve())
                return
            if answer.status == TOO_LARGE and wire.measure(piece.lines[0]) > _SHORTEST_CUT:
                cut = wire.cut_line(piece.lines[0], self._most_bytes)
                self._part(piece, [LogBatch([cut], piece.first)])
                return
        given_up.append(piece)

    # -- accounts --------------------------------------------------------------------------

    def _get_until(self, piece: Request) -> float:
        return self._final_until if piece.terminal else self._logs_until

    def _count_delivered(self, piece: Request) -> None:
        if isinstance(piece, LogBatch):
            self.stats = replace(self.stats, delivered=self.stats.delivered + len(piece.lines))
        elif piece.terminal:
            self.stats = replace(self.stats, terminal_delivered=True)

    def _note(self, kind: str, text: str) -> None:
        self._troubles[kind] = self._troubles.get(kind, 0) + 1
        if kind not in self._told:
            self._told.add(kind)
            self._tell(text)

    @property
    def troubles(self) -> Mapping[str, int]:
        """Failed attempts by kind."""
        return dict(self._troubles)


def parse_retry_after(value: str | None) -> float:
    """Seconds to wait by a ``Retry-After`` header, in either form of RFC 9110, 10.2.3."""
    if not value:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
