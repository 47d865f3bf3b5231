"""One request after the other to the receiver, each until it is answered for good.

What an answer means is of docs/protocol.md. Requests go strictly in order: while one is
retried, the next waits. Trouble is counted by kind and told once.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nvoi import protocol
from nvoi.log.clock import LOOK_SECONDS, read_seconds
from nvoi.log.counts import Counts
from nvoi.log.transport import Answer, Transport, TransportError
from nvoi.protocol import LogBatch, Request, Run

#: Seconds before the first retry, doubled for each further one up to the second number.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.25, 5.0
#: A retry that would have less time than this is not made: cut off before its answer, it would
#: only reach the receiver late.
LEAST_SECONDS = 0.3
#: While closing, a retry is not put off for longer than this, unless the receiver asks for it.
CLOSING_BACKOFF = 1.0

SUCCEEDED = range(200, 300)
RETRIED = frozenset({408, 425, 429, *range(500, 600)})
REFUSED = frozenset({400, 413, 422})
TOO_LARGE = 413
#: With as many requests in a row refused, the receiver is none of nvoi's.
MOST_REFUSALS = 20

#: A refused line is not cut to fewer bytes than this; it is given up instead.
_SHORTEST_CUT = 256


@dataclass(frozen=True)
class Destination:
    """Who is called, by whom. The URL and the deploy id are checked already; the key signs."""

    url: str
    key: str = field(repr=False)
    deploy_id: str
    run: Run


class Delivery:
    """Sends requests in order and keeps account of them in ``counts``. One thread sends.

    ``note_delivered`` is called with each piece that was acknowledged.
    """

    def __init__(
        self,
        destination: Destination,
        transport: Transport,
        counts: Counts,
        *,
        note_delivered: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self._destination = destination
        self._transport = transport
        self._note_delivered = note_delivered
        self._logs_until = self._final_until = float("inf")
        self._most_bytes = protocol.MOST_BYTES
        self._refusals = 0
        self.counts = counts
        #: Why nothing is sent any more in this run, or "".
        self.stopped = ""
        #: Whether the last piece was answered for good, be it by a refusal.
        self.answered = False
        #: What is being sent: the pieces of one request that are not acknowledged yet.
        self.pending: list[Request] = []
        #: Those that were given up.
        self.given_up: list[Request] = []
        # OpenSSL sets itself up at its first digest, under locks. Were the sending thread at
        # it when the process forks, the child could never sign.
        protocol.sign(b"", destination.key)

    def end_by(self, logs_until: float, final_until: float) -> None:
        """From now on give up at these moments, in seconds of :mod:`nvoi.log.clock`.

        ``final_until`` holds for a terminal status, ``logs_until`` for all else. Another thread
        may be sending meanwhile. Once it is stopped nothing is put off.
        """
        if not self.stopped:
            self._logs_until, self._final_until = logs_until, final_until

    def give_up(self) -> None:
        """Send nothing any more, and end what is under way. Called on any thread."""
        self.end_by(0, 0)
        self.stopped = self.stopped or "the run has ended"

    def deliver(self, request: Request) -> list[Request]:
        """Send ``request``, in pieces where the receiver wants it so; returns what it gave up."""
        self.pending, self.given_up = [request], []
        while self.pending:
            piece = self._fit()
            answer = self._send(piece)
            self.answered = answer is not None
            if answer is not None and answer.status in SUCCEEDED:
                self._replace_first()
                self._acknowledge(piece)
            elif answer is None or self.stopped or not self._split(piece, answer.status):
                # In both for a moment rather than in none: another thread may ask what is left.
                self.given_up.append(piece)
                self._replace_first()
        return self.given_up

    def list_left(self) -> list[Request]:
        """What of the last request is not acknowledged."""
        return list({each.id: each for each in (*self.given_up, *self.pending)}.values())

    def close(self) -> None:
        """Close the connection. No thread may be sending."""
        self._transport.close()

    def _replace_first(self, *pieces: Request) -> None:
        # A new list, as another thread may be reading the old one.
        self.pending = [*pieces, *self.pending[1:]]

    def _fit(self) -> Request:
        """The head of ``pending``, halved as long as it is over what the receiver takes."""
        while (
            isinstance(piece := self.pending[0], LogBatch)
            and len(piece.lines) > 1
            and piece.measure() > self._most_bytes
        ):
            self._replace_first(*piece.halve())
        return piece

    def _send(self, piece: Request) -> Answer | None:
        """Try until there is an answer that is none of those to retry, or time is up."""
        body = piece.encode()
        failures = 0
        while not self.stopped and read_seconds() < self._get_until(piece):
            self.counts.retries += failures > 0
            wait = 0.0
            try:
                answer = self._attempt(piece, body)
            except TransportError as error:
                self.counts.note_trouble(error.kind, str(error))
            else:
                if answer.status not in RETRIED:
                    self._judge(piece, answer)
                    return answer
                self.counts.note_trouble(f"HTTP {answer.status}", f"it answered {answer.status}")
                wait = parse_retry_after(answer.headers.get("retry-after", ""))
            failures += 1
            if not self._pause(piece, failures, wait):
                break
        return None

    def _attempt(self, piece: Request, body: bytes) -> Answer:
        destination, logged = self._destination, self.counts.numbered
        headers = protocol.build_headers(
            piece,
            body,
            key=destination.key,
            deploy_id=destination.deploy_id,
            run=destination.run,
            timestamp=int(time.time()),
            counts=(logged, logged - self.counts.delivered) if piece.terminal else None,
        )
        self.counts.requests += 1
        url = protocol.build_url(destination.url, destination.deploy_id, piece.kind)
        return self._transport.post(url, body, headers, lambda: self._get_until(piece))

    def _judge(self, piece: Request, answer: Answer) -> None:
        status = answer.status
        if status in SUCCEEDED:
            self._refusals = 0
            return
        if status in REFUSED:
            self._refusals += 1
            parts = "; it gets them in smaller parts" if piece.kind == "logs" else ""
            self.counts.note_trouble(
                f"HTTP {status}", f"it answered {status} to {piece.kind}{parts}"
            )
            if self._refusals >= MOST_REFUSALS:
                self._stop("refusals", f"it refused {self._refusals} requests in a row")
        elif 300 <= status < 400:  # noqa: PLR2004 - the 3xx
            target = answer.headers.get("location", "nowhere")[:200]
            reason = f"it answered {status}, a redirect to {target}, which is not followed"
            self._stop(f"HTTP {status}", reason)
        else:
            self._stop(f"HTTP {status}", f"it answered {status}")

    def _stop(self, kind: str, reason: str) -> None:
        self.stopped = reason
        self.counts.note_trouble(kind, f"{reason}; nothing more is sent to it in this run")

    def _pause(self, piece: Request, failures: int, wait: float) -> bool:
        """Wait for the next try, ``wait`` seconds or more; False where no time is left for one."""
        began = read_seconds()
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10))
        # Full jitter would retry at once; half of it still parts many senders.
        backoff *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while True:
            if self._logs_until < float("inf"):
                backoff = min(backoff, CLOSING_BACKOFF)
            at = began + max(wait, backoff)
            if at + LEAST_SECONDS > self._get_until(piece):
                return False
            if (remaining := at - read_seconds()) <= 0:
                return True
            time.sleep(min(remaining, LOOK_SECONDS))

    def _split(self, piece: Request, status: int) -> bool:
        """Put smaller parts in the place of a refused head; False where there are none."""
        if not isinstance(piece, LogBatch):
            return False
        size = piece.measure()
        if status == TOO_LARGE:
            self._most_bytes = max(_SHORTEST_CUT, size // 2)
        if len(piece.lines) > 1:
            self._replace_first(*piece.halve())
        elif status == TOO_LARGE and size > _SHORTEST_CUT:
            self._replace_first(piece.cut(self._most_bytes))
        else:
            return False
        return True

    def _get_until(self, piece: Request) -> float:
        return self._final_until if piece.terminal else self._logs_until

    def _acknowledge(self, piece: Request) -> None:
        if isinstance(piece, LogBatch):
            self.counts.delivered += len(piece.lines)
        elif piece.terminal:
            self.counts.terminal_delivered = True
        self._note_delivered(piece)


def parse_retry_after(header: str) -> float:
    """Seconds to wait by a ``Retry-After`` header, in either form of RFC 9110, 10.2.3."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
