"""How a fake receiver behaves towards one request: well, badly, or like a network that breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Literal, Protocol

from tests.fakes.connection import Connection, Head
from tests.fakes.ledger import Ledger
from tests.fakes.received import Headers, Received
from tests.waiting import PATIENCE

BODILESS = (204, 304)


class Exchange:
    """One request and the answer to it, for a behaviour to act upon."""

    def __init__(self, ledger: Ledger, connection: Connection, head: Head) -> None:
        self._ledger = ledger
        self._connection = connection
        self._head = head
        self._judged = False
        self.keeps_alive = head.keeps_alive
        self.request: Received = ledger.open(head, connection.number)

    def read(self) -> Received:
        """Read the body; the request is verified by that."""
        if not self._judged:
            try:
                body = self._connection.read_body(self._head)
            except (OSError, EOFError):
                self._abandon()
                raise
            self._judged = True
            self._ledger.complete(self.request, body, left=self._connection.is_left)
        return self.request

    def store(self) -> None:
        """Take what the request carries, whatever is answered."""
        self._ledger.store(self.request)

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Answer; a 2xx stores the request first."""
        data = self.begin_answer(status, headers or {}, body)
        self.book(status, headers or {})
        self.write(data)

    def begin_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        """The answer's bytes, for the caller to send; a 2xx stores the request first."""
        if 200 <= status < 300:
            self.store()
        fields = dict(headers)
        if status not in BODILESS:
            fields["Content-Length"] = str(len(body))
        if not self.keeps_alive:
            fields["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} {responses.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + body

    def book(self, status: int, headers: Mapping[str, str]) -> None:
        """Remember the answer. Before its last byte: the next request follows upon that."""
        self._ledger.answer(self.request, status, Headers(headers.items()))

    def write(self, data: bytes) -> None:
        """Send raw bytes in place of an answer."""
        self._connection.write(data)

    def wait(self, seconds: float | None) -> bool:
        """Wait; True where the receiver was paused or closed before the time was over."""
        return self._connection.wait(seconds)

    def close(self) -> None:
        """Close the connection in good order."""
        self._abandon()
        self.keeps_alive = False
        self._connection.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self._abandon()
        self.keeps_alive = False
        self._connection.reset()

    def _abandon(self) -> None:
        if not self._judged:
            self._judged = True
            self._ledger.abandon(self.request, left=self._connection.is_left)


class Behaviour(Protocol):
    """Deals with one request."""

    def handle(self, exchange: Exchange) -> None:
        """Answer, or do not."""
        ...


@dataclass(frozen=True)
class Answer:
    """Answers with that status; 2xx takes the request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.answer(self.status, self.headers, self.body)


OK = Answer(200, {"Content-Type": "application/json"}, b'{"ok": true}')


@dataclass(frozen=True)
class Redirect:
    """Points elsewhere."""

    to: str
    status: int = 301

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.answer(self.status, {"Location": self.to})


@dataclass(frozen=True)
class Hang:
    """Reads the request and never answers."""

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.wait(None)
        exchange.keeps_alive = False


@dataclass(frozen=True)
class Slow:
    """Answers late, by another behaviour."""

    seconds: float
    then: Behaviour = OK

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        if exchange.wait(self.seconds):
            exchange.keeps_alive = False
        else:
            self.then.handle(exchange)


@dataclass(frozen=True)
class Held:
    """Answers once the test lets it, by another behaviour."""

    let: threading.Event
    then: Behaviour = OK

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        self.let.wait(PATIENCE)
        self.then.handle(exchange)


@dataclass(frozen=True)
class Trickle:
    """Takes the request where the status is a 2xx, and answers one byte an interval."""

    status: int = 200
    interval_s: float = 1.0

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        *most, last = exchange.begin_answer(self.status, {}, b"slowly")
        for byte in most:
            exchange.write(bytes((byte,)))
            if exchange.wait(self.interval_s):
                exchange.keeps_alive = False
                return
        exchange.book(self.status, {})
        exchange.write(bytes((last,)))


@dataclass(frozen=True)
class ResetMidRequest:
    """Resets the connection when the head was read and the body was not."""

    def handle(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True)
class CloseWithoutAnswer:
    """Reads the request and closes the connection."""

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.close()


@dataclass(frozen=True)
class CommitThenReset:
    """Takes the request and loses the answer: the sender cannot know that it was delivered."""

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.store()
        exchange.reset()


@dataclass(frozen=True)
class Garbage:
    """Answers with something that is not HTTP, and closes."""

    data: bytes = b"\x00\x01 not http\r\n\r\n"

    def handle(self, exchange: Exchange) -> None:
        exchange.read()
        exchange.write(self.data)
        exchange.close()


@dataclass(frozen=True)
class TooLarge:
    """Answers 413 to a body above the limit."""

    limit_bytes: int

    def handle(self, exchange: Exchange) -> None:
        request = exchange.read()
        (Answer(413) if len(request.body) > self.limit_bytes else OK).handle(exchange)


@dataclass(frozen=True)
class RefuseRecord:
    """Answers 422 to a batch that has a record which matches."""

    predicate: Callable[[dict[str, Any]], bool]

    def handle(self, exchange: Exchange) -> None:
        refused = any(self.predicate(record) for record in exchange.read().records)
        (Answer(422) if refused else OK).handle(exchange)


@dataclass(frozen=True)
class On:
    """One behaviour towards logs or statuses, another (well, unless said) towards the rest."""

    kind: Literal["logs", "status"]
    behaviour: Behaviour
    otherwise: Behaviour = OK

    def handle(self, exchange: Exchange) -> None:
        chosen = self.behaviour if exchange.request.kind == self.kind else self.otherwise
        chosen.handle(exchange)
