"""JSON over HTTP: one way to ask, one policy of asking again, one reader of errors."""

from __future__ import annotations

import json
import math
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3 import exceptions
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util import Timeout

from nvoi import network, parallel
from nvoi.errors import (
    AccessError,
    ConnectionFailedError,
    HostKeyError,
    RequestError,
    UsageError,
)
from nvoi.log.delivery import parse_retry_after
from nvoi.log.masking import masker

JSON = "application/json"
#: Seconds until a connection is there, and without a byte of an answer.
CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 30.0
#: Seconds for which one who does not answer is asked again, and between the first two times;
#: each next pause is twice as long, up to the longest. Up to half of a pause is left out, so that
#: those who failed together do not all come back together.
PATIENCE = 60.0
PAUSE = 0.5
LONGEST_PAUSE = 5.0
#: Characters of a refusal that an error shows.
SHOWN = 300
#: Connections to a public server that are kept for the next requests.
CONNECTIONS = 16
BAD = 400
#: Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout (RFC 6585; RFC 9110, 15.6).
TEMPORARY = frozenset({429, 502, 503, 504})
#: The answers by which a server says that it has done nothing: even a POST may be sent again.
UNDONE = frozenset({429, 503})
NO_TEXTS: Mapping[str, str] = MappingProxyType({})

Pool = urllib3.HTTPConnectionPool


@dataclass(frozen=True)
class Answer:
    """What a server has answered: ``headers`` and ``body`` as they came."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def read(self) -> Any:
        """The JSON of the body.

        Raises:
            RequestError: it is none. Nothing of it is shown, which may hold anything.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            message = f"the answer cannot be read: {type(error).__name__}"
            raise RequestError(message, status=self.status) from None

    def read_object(self) -> dict[str, Any]:
        """The same of an answer that is to be an object, and raises where it is none."""
        found = self.read()
        if not isinstance(found, dict):
            raise RequestError("the answer cannot be read: it is no object", status=self.status)
        return found


@dataclass(frozen=True)
class Request:
    """What is sent, and for how many seconds its answer may be silent."""

    method: str
    path: str
    query: Mapping[str, str]
    body: object = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    seconds: float
    is_whole: bool = True


@dataclass(frozen=True)
class Failure:
    """A request that came to nothing, and whether it may be made again with more success."""

    error: RequestError | ConnectionFailedError
    may_pass: bool


@dataclass(eq=False)
class Client:
    """Asks one server, again and again while it does not answer. Usable from any thread.

    Args:
        connect: makes the pool of connections; called at the first request, and again after a
            connection failed.
        listen: called with the error once the server does not answer, and with None once all
            requests that failed have been answered.
        is_temporary: whether a refusal may be none the next moment, beside the usual statuses.
        is_undone: whether by a refusal the server says that it has done nothing, likewise.
    """

    connect: Callable[[], Pool]
    _: KW_ONLY
    headers: Mapping[str, str] = field(default_factory=lambda: NO_TEXTS)
    pause: float = PAUSE
    listen: Callable[[RequestError | None], None] = lambda _: None
    is_temporary: Callable[[RequestError], bool] = lambda _: False
    is_undone: Callable[[RequestError], bool] = lambda _: False

    def __post_init__(self) -> None:
        self._connecting = threading.Lock()
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._has_connected = False
        self._failing: dict[object, RequestError] = {}
        self._is_told = False

    @property
    def trouble(self) -> RequestError | None:
        """Why the server does not answer at present."""
        with self._lock:
            return next(reversed(self._failing.values()), None)

    @property
    def is_connected(self) -> bool:
        """Whether the way was opened, and not lost since."""
        return self._pool is not None

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_TEXTS,
        body: object = None,
        headers: Mapping[str, str] = NO_TEXTS,
        seconds: float = ANSWER_SECONDS,
        patience: float = PATIENCE,
    ) -> Answer:
        """Ask, and take the whole answer.

        Args:
            method: a POST whose connection was lost is not sent again: it may have been heard.
            body: sent as JSON, of another kind where ``headers`` name one; bytes as they are.
            seconds: how long the server may be silent.
            patience: seconds for which it is asked again.

        Raises:
            RequestError: it refused, or did not answer within ``patience``.
            ConnectionFailedError: the way there cannot be opened.
        """
        request = Request(method, path, query, body, headers, seconds)
        response = self._insist(request, patience)
        return Answer(response.status, response.headers, response.data)

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] = NO_TEXTS,
        headers: Mapping[str, str] = NO_TEXTS,
        seconds: float = ANSWER_SECONDS,
        patience: float = PATIENCE,
    ) -> Iterator[Iterator[bytes]]:
        """GET an answer piece by piece, as it comes. Who cancels the task ends it.

        Raises:
            RequestError: as :meth:`request`; also where the connection is lost on the way.
        """
        request = Request("GET", path, query, None, headers, seconds, is_whole=False)
        response = self._insist(request, patience)
        try:
            with parallel.hold(Stream(response)):
                yield read_pieces(response)
        finally:
            response.close()

    def _insist(self, request: Request, patience: float) -> urllib3.BaseHTTPResponse:
        """Send, and send again until there is a good answer or no hope of one."""
        deadline, pause, key = time.monotonic() + patience, self.pause, object()
        try:
            while isinstance(answer := self._try(request), Failure):
                left = deadline - time.monotonic()
                if not answer.may_pass or left <= 0:
                    raise answer.error
                self._note(key, answer.error)
                jittered = pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
                parallel.sleep(min(max(jittered, find_wait(answer.error)), left))
                pause = min(pause * 2, LONGEST_PAUSE)
            self._note(key, None)
            return answer
        finally:
            with self._lock:
                self._failing.pop(key, None)

    def _try(self, request: Request) -> urllib3.BaseHTTPResponse | Failure:
        parallel.check()
        pool: Pool | None = None
        try:
            pool = self._get_pool()
            answer = send(pool, request, self.headers)
            if answer.status < BAD:
                return answer
            error = read_refusal(answer)
        except (HTTPError, OSError) as failure:
            self._drop(pool)
            silence = describe_failure(failure)
            is_undone = request.method != "POST" or isinstance(failure, NewConnectionError)
            return Failure(silence, silence.is_silence and is_undone)
        except RequestError as failure:
            return Failure(failure, failure.is_silence)
        except (AccessError, HostKeyError):
            raise
        except ConnectionFailedError as failure:
            # One who was never reached may be none at all.
            return Failure(failure, may_pass=self._has_connected)
        is_undone = request.method != "POST" or error.status in UNDONE or self.is_undone(error)
        may_pass = error.status in TEMPORARY or self.is_temporary(error)
        return Failure(error, may_pass and is_undone)

    def _get_pool(self) -> Pool:
        with self._connecting:
            if self._pool is None:
                self._pool = self.connect()
                self._has_connected = True
            return self._pool

    def _drop(self, failed: Pool | None) -> None:
        """Have the next request connect anew; others may have seen to that meanwhile."""
        if self._pool is failed:
            self._pool = None
        if failed is not None:
            failed.close()

    def _note(self, key: object, error: RequestError | ConnectionFailedError | None) -> None:
        """Tell of trouble once, be it of one request or of many, and of its end."""
        with self._lock:
            if error is None:
                self._failing.pop(key, None)
            else:
                self._failing[key] = wrap(error)
            # A request that was given up meanwhile leaves it to the next one to tell of the end.
            before, after = self._is_told, bool(self._failing)
            self._is_told = after
        if before != after:
            self.listen(wrap(error) if error else None)


class Stream:
    """An answer that is being read, as another thread ends it."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def cancel(self) -> None:
        # It has ended by itself meanwhile.
        with suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()


def build_connect(url: str, environ: Mapping[str, str]) -> Callable[[], Pool]:
    """How a :class:`Client` connects to the server of ``url``.

    Args:
        environ: names a proxy and CAs, if any.

    Raises:
        UsageError: these cannot be used, or ``url`` is none.
    """

    def connect() -> Pool:
        # A pool that was closed is of no use, and a manager would hand it out again.
        manager = network.build_manager(url, environ, connections=CONNECTIONS)
        return manager.connection_from_url(url)

    try:
        connect()
    except (network.NetworkError, HTTPError, KeyError, ValueError) as error:
        reason = str(error) if isinstance(error, network.NetworkError) else "it is no URL"
        raise UsageError(f"{url}: {reason}") from error
    return connect


def send(pool: Pool, request: Request, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    """One request. Nothing is repeated or followed here."""
    body = request.body
    kind = {"Content-Type": JSON} if body is not None else {}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    query = f"?{urlencode(request.query)}" if request.query else ""
    return pool.urlopen(
        request.method,
        request.path + query,
        body=body,
        headers={"Accept": JSON, **kind, **headers, **request.headers},
        retries=False,
        redirect=False,
        timeout=Timeout(
            connect=min(CONNECT_SECONDS, request.seconds),
            read=None if math.isinf(request.seconds) else request.seconds,
        ),
        preload_content=request.is_whole,
    )


def read_pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The pieces of an answer.

    Raises:
        RequestError: the connection was lost before its end.
    """
    try:
        yield from response.stream()
    except (HTTPError, OSError) as failure:
        parallel.check()
        raise describe_failure(failure) from failure


def find_wait(error: RequestError | ConnectionFailedError) -> float:
    """The seconds that the server asks to be left alone for (RFC 9110, 10.2.3)."""
    text = error.retry_after if isinstance(error, RequestError) else None
    return parse_retry_after(text or "")


def wrap(error: RequestError | ConnectionFailedError) -> RequestError:
    if isinstance(error, RequestError):
        return error
    return RequestError(error.message, hint=error.hint, is_silence=True)


def describe_failure(error: HTTPError | OSError) -> RequestError:
    """The error of a request without an answer, in words that show nothing of the request."""
    cause = find_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RequestError(f"its certificate is not to be trusted: {cause.verify_message}")
    is_late = isinstance(error, exceptions.TimeoutError)
    if is_late and not isinstance(error, NewConnectionError):
        return RequestError("no answer came in time", is_silence=True)
    # The system's own words alone: others may quote the request.
    reason = cause.strerror if isinstance(cause, OSError) else None
    text = "the connection was refused or lost"
    return RequestError(f"{text}: {reason}" if reason else text, is_silence=True)


def find_cause(error: BaseException) -> BaseException:
    """The innermost of the errors that urllib3 has wrapped."""
    wrapped = error.args[-1] if error.args else None
    inner = wrapped if isinstance(wrapped, BaseException) else error.__cause__
    return find_cause(inner) if inner else error


def read_refusal(answer: urllib3.BaseHTTPResponse) -> RequestError:
    """The error of a bad answer, in the server's own words, masked and cut."""
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    text = clean_line(find_message(document))
    return RequestError(
        f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}",
        status=answer.status,
        document=document,
        retry_after=answer.headers.get("Retry-After") or find_refill(answer.headers),
    )


def clean_line(text: str) -> str:
    """What a server says, as errors show it: one line without control characters, masked, cut."""
    # A secret may be on several lines, or be whole only once these are one.
    text = masker.mask_text(" ".join(masker.clean_text(text).split()))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def find_refill(headers: Mapping[str, str]) -> str | None:
    """The seconds until one more request is allowed, of a limit that grows again steadily.

    ``RateLimit-Reset`` is the time when all of ``RateLimit-Limit`` are allowed again: Hetzner's
    API reference, "Rate Limiting".
    """
    try:
        limit, left = int(headers["RateLimit-Limit"]), int(headers["RateLimit-Remaining"])
        seconds = int(headers["RateLimit-Reset"]) - time.time()
    except (KeyError, ValueError):
        return None
    return str(math.ceil(max(seconds, 0.0) / max(limit - left, 1)))


def find_value(document: object, *keys: str) -> object:
    """What an answer has at the end of ``keys``; None where it is of another form.

    It may be anything, null and text too: its readers go by this, and by :func:`list_objects`.
    """
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def list_objects(document: object, *keys: str) -> list[dict[str, Any]]:
    """The objects of the list at the end of ``keys``, without what is of another form."""
    found = find_value(document, *keys)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def get_text(document: object, *keys: str) -> str:
    """The text at the end of ``keys``.

    Raises:
        RequestError: there is none.
    """
    found = find_value(document, *keys)
    if not isinstance(found, str) or not found:
        raise RequestError(f"the answer cannot be read: it has no {'.'.join(keys) or 'text'}")
    return found


def find_message(document: Any) -> str:
    """What an answer says of what went wrong.

    It is a ``message``, or an ``error`` or ``errors`` with one: Kubernetes API conventions,
    "Response Status Kind"; OCI Distribution Specification, "Error Codes"; Hetzner's and
    Cloudflare's API references, "Errors".
    """
    match document:
        case {"message": str(text)} | {"error": {"message": str(text)} | str(text)}:
            return text
        case {"errors": [{"code": str(code), "message": str(text)}, *_]}:
            return f"{code}: {text}"
        case {"errors": [{"message": str(text)}, *_]}:
            return text
    return ""
