"""What the stand-ins share: routes, a record of calls, faults at chosen calls, slow things.

A stand-in is a subclass of `Cloud` whose methods bear `@route`. It takes part in a test by its
`url`; its state is plain attributes, which a test reads and changes under no lock: the cloud is at
rest while nobody asks it.
"""

from __future__ import annotations

import ipaddress
import json
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlencode

from werkzeug import Request, Response

from tests.fakes.kubernetes.server import start_server
from tests.waiting import PATIENCE

Json = dict[str, Any]
#: The public addresses of servers count from here.
FIRST_ADDRESS = ipaddress.ip_address("198.18.0.0")
#: More calls than any run makes.
FOREVER = 1_000_000
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Call:
    """A request as it came; `query` has all values of a name."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Json:
        return json.loads(self.text) if self.text else {}

    def find(self, name: str) -> str | None:
        """The first value of a name in the query."""
        return next(iter(self.query.get(name, [])), None)

    def get_number(self, name: str, default: int) -> int:
        return int(self.find(name) or default)

    @property
    def is_reading(self) -> bool:
        return self.method in {"GET", "HEAD"}

    def __str__(self) -> str:
        query = f"?{urlencode(self.query, doseq=True)}" if self.query else ""
        return f"{self.method} {self.path}{query}"


@dataclass
class Answer:
    """`body` is JSON, or where it is a string, text as it is."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):  # noqa: N818 - an answer of the API, raised where it is found
    """The API says no; each cloud words it by `build_refusal`."""

    def __init__(self, status: int, code: str = "", message: str = "", **details: Any) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.details = status, code, message, details
        self.headers: dict[str, str] = {}


@dataclass(frozen=True)
class Fault:
    """What happens to a call instead of an answer.

    Attributes:
        refusal: the API answers this and has done nothing; None: there is no answer.
        acts: whether the API does what was asked all the same.
        hangs: whether the connection stays open, without a byte, until the client goes away; else
            it is cut.
    """

    refusal: Refused | None = None
    acts: bool = False
    hangs: bool = False


@dataclass
class Progress:
    """Something that takes time: `polls` looks at it, or `seconds` where a test measures time."""

    polls: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def look(self) -> bool:
        """Whether it is over; each look brings it nearer to its end."""
        if self.polls > 0:
            self.polls -= 1
            return False
        return time.monotonic() - self.began >= self.seconds


def route(method: str, path: str) -> Callable[[F], F]:
    """Have it answer `method` on paths that are of the pattern, whose groups are arguments."""

    def mark(function: F) -> F:
        function.route = method, re.compile(path)  # type: ignore[attr-defined]
        return function

    return mark


class Cloud:
    """An API at `url`.

    Attributes:
        base: what stands before the path of each route.
        calls: all that came, in order; also those that met a fault.
        polls: looks that something slow takes until it is done.
        seconds: the same in time, for who measures; and `latency` of each call.
    """

    base: ClassVar[str] = ""
    _routes: ClassVar[list[tuple[str, re.Pattern[str], Callable[..., Any]]]] = []

    def __init_subclass__(cls) -> None:
        found = [getattr(cls, name) for name in dir(cls)]
        cls._routes = [(*one.route, one) for one in found if hasattr(one, "route")]

    def __init__(self, *, polls: int = 0, seconds: float = 0.0, latency: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.polls, self.seconds, self.latency = polls, seconds, latency
        self._faults: list[tuple[Callable[[int, Call], bool], Fault, int]] = []
        self._lock = threading.RLock()
        self._server = start_server(self._handle, tls=False)
        self.url = f"http://127.0.0.1:{self._server.port}{self.base}"

    def close(self) -> None:
        if self._server.is_running():
            self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What a test asks for

    def fail_call(self, number: int, fault: Fault) -> None:
        """Let the `number`-th call from now on, counted from 1, meet `fault`."""
        at = len(self.calls) + number
        self._faults.append((lambda count, _: count == at, fault, 1))

    def fail_on(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls of `method` on paths with this pattern meet `fault`."""
        pattern = re.compile(path)
        self._faults.append(
            (
                lambda _, call: call.method == method and bool(pattern.search(call.path)),
                fault,
                times,
            )
        )

    def stop_at(self, number: int, fault: Fault) -> None:
        """Let the `number`-th call from now on meet `fault`, and refuse all after it.

        So a run that is killed there looks from here.
        """
        at = len(self.calls) + number
        self._faults.append((lambda count, _: count == at, fault, 1))
        refusal = Fault(Refused(403, "forbidden", "the run was ended here"))
        self._faults.append((lambda count, _: count > at, refusal, FOREVER))

    def heal(self) -> None:
        self._faults.clear()

    @property
    def has_faults(self) -> bool:
        """Whether some that were asked for have not happened yet."""
        return bool(self._faults)

    @contextmanager
    def record(self) -> Iterator[list[Call]]:
        """The calls of a block, there once it has ended."""
        before, calls = len(self.calls), list[Call]()
        yield calls
        calls += self.calls[before:]

    def start_progress(self) -> Progress:
        return Progress(self.polls, self.seconds)

    # What a cloud says in its own words

    def authorize(self, call: Call) -> None:
        """Raise `Refused` where the call's credentials do not allow it."""

    def build_refusal(self, refused: Refused) -> Answer:
        body = {"error": {"code": refused.code, "message": refused.message, **refused.details}}
        return Answer(refused.status, body, refused.headers)

    def read_call(self, request: Request) -> Call:
        return Call(
            request.method,
            request.path.removeprefix(self.base),
            dict(request.args.lists()),
            dict(request.headers),
            request.get_data(as_text=True),
        )

    def add_headers(self) -> dict[str, str]:
        """Headers of every answer."""
        return {}

    # The server

    def _handle(self, request: Request) -> Response:
        call = self.read_call(request)
        if self.latency:
            time.sleep(self.latency)
        with self._lock:
            self.calls.append(call)
            fault = self._take_fault(call)
            if fault is None or fault.acts:
                answer = self._answer(call)
            if fault is not None and fault.refusal is not None:
                answer = self.build_refusal(fault.refusal)
            elif fault is not None:
                return lose(request, hangs=fault.hangs)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        text = "" if answer.body is None else text
        headers = {**self.add_headers(), **answer.headers}
        return Response(text, answer.status, headers, content_type="application/json")

    def _take_fault(self, call: Call) -> Fault | None:
        for place, (is_meant, fault, times) in enumerate(self._faults):
            if is_meant(len(self.calls), call):
                self._faults[place] = is_meant, fault, times - 1
                if times == 1:
                    del self._faults[place]
                return fault
        return None

    def _answer(self, call: Call) -> Answer:
        try:
            self.authorize(call)
            for method, pattern, function in self._routes:
                if method == call.method and (match := pattern.fullmatch(call.path)):
                    found = function(self, call, *match.groups())
                    return found if isinstance(found, Answer) else Answer(200, found)
            raise Refused(404, "not_found", f"there is no {call.method} {call.path}")
        except Refused as refused:
            return self.build_refusal(refused)


class Project(Cloud):
    """A cloud whose state is things by kind and id, as the API shows them.

    Attributes:
        on_start, on_delete: called with a server that starts for the first time, or that is gone.
    """

    kinds: ClassVar[tuple[str, ...]]

    def __init__(self, **options: Any) -> None:
        self.things: dict[str, dict[Any, Json]] = {kind: {} for kind in self.kinds}
        self.on_start: Callable[[Json], object] = lambda _: None
        self.on_delete: Callable[[Json], object] = lambda _: None
        super().__init__(**options)

    def list_names(self, kind: str) -> list[str]:
        return sorted(one["name"] for one in self.things[kind].values())

    def get(self, kind: str, name: str) -> Json:
        return next(one for one in self.things[kind].values() if one["name"] == name)

    def show_all(self) -> dict[str, list[Json]]:
        """All there is, to be compared."""
        return {kind: list(self.things[kind].values()) for kind in self.kinds}


def lose(request: Request, *, hangs: bool) -> Response:
    """End the connection without a byte, at once or when the client has gone."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    if hangs:
        select.select([connection], [], [], PATIENCE)
    connection.shutdown(socket.SHUT_RDWR)
    return Response("")
