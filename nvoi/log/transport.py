"""One POST at a time over urllib3: keep-alive, TLS verified, each attempt bounded as a whole.

urllib3's time-outs are per read, so that a receiver which answers a byte a second holds a
request for as long as it likes. Here every read of an answer also asks when it has to end,
which another thread may bring forward while the request is under way.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - connecting imports it; a child forked then would hang on that
import http.client
import io
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import urllib3
from urllib3 import exceptions
from urllib3.util import Timeout

from nvoi import network
from nvoi.log.clock import read_seconds

#: Seconds to connect, between two bytes of an answer, and for an attempt as a whole.
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
TOTAL_SECONDS = 15.0

#: How often a waiting read looks whether its deadline was brought forward.
_SLICE_SECONDS = 0.1
#: Of an answer's body no more is read than this, for no longer than this.
_BODY_BYTES, _BODY_SECONDS = 16 * 1024, 0.3

#: What urllib3 raises: the first that fits has the kind and the text.
_TROUBLES = (
    (exceptions.ProxyError, "proxy", "the proxy did not connect: {reason}"),
    (exceptions.SSLError, "tls", "its TLS certificate or protocol was refused: {reason}"),
    (exceptions.NameResolutionError, "unreachable", "its host name could not be resolved"),
    # It is a ConnectTimeoutError in some versions, though no time ran out.
    (exceptions.NewConnectionError, "unreachable", "no connection: {reason}"),
    ((exceptions.TimeoutError, TimeoutError), "timeout", "no answer in time"),
    (OSError, "reset", "the connection was closed before an answer came"),
)


class TransportError(Exception):
    """No answer came. ``kind`` is one word, the same for all trouble of its kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """A receiver's answer; how the names of its headers are written does not matter."""

    status: int
    headers: Mapping[str, str]


#: Waits as :meth:`Transport._wait_for` does.
_Wait = Callable[[Any, Callable[[Any], int], Any], int]


class _BoundedReader(io.RawIOBase):
    """Reads a socket until the deadline. ``file``, made of the socket, keeps it open."""

    def __init__(self, sock: Any, file: Any, wait_for: _Wait) -> None:
        super().__init__()
        self._sock, self._file, self._wait_for = sock, file, wait_for

    def close(self) -> None:
        self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wait_for(self._sock, self._sock.recv_into, buffer)


class _BoundedResponse(http.client.HTTPResponse):
    """An answer, a proxy's to CONNECT too, that is read until the deadline."""

    def __init__(self, wait_for: _Wait, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp, wait_for))

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over interim answers (RFC 9110, 15.2); http.client does over 100 alone."""
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in the stubs
        interim = http.HTTPStatus.PROCESSING <= status < http.HTTPStatus.OK
        return version, http.HTTPStatus.CONTINUE if interim else status, reason


class Transport:
    """POSTs to the host of ``url``. Used by one thread at a time.

    ``environ``, the process's own where left out, names proxies and CA bundles, see
    :mod:`nvoi.network`.
    """

    def __init__(
        self,
        url: str,
        *,
        environ: Mapping[str, str] | None = None,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._connect_seconds = connect_seconds
        self._url = url
        #: When the attempt ends, in :func:`read_seconds`, whatever ``find_until`` says.
        self._deadline = float("inf")
        self._find_until: Callable[[], float] = lambda: float("inf")
        self._manager: urllib3.PoolManager | None = None

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], find_until: Callable[[], float]
    ) -> Answer:
        """Send ``body`` and wait for the answer, at most until what ``find_until`` says meanwhile.

        Raises:
            TransportError: no connection, no answer, or none that is HTTP.
        """
        began = read_seconds()
        self._find_until, self._deadline = find_until, began + TOTAL_SECONDS
        connect = min(self._connect_seconds, self._find_deadline() - began)
        if connect <= 0:
            raise TransportError("timeout", "no time was left for an attempt")
        manager = self._get_manager()
        auth = network.find_auth(self._url)
        try:
            response = manager.urlopen(
                "POST",
                url,
                body=body,
                headers={"Authorization": auth, **headers} if auth else headers,
                retries=False,
                redirect=False,
                timeout=Timeout(connect=connect, read=READ_SECONDS),
                preload_content=False,
            )
            return self._read(response)
        except exceptions.HTTPError as error:
            # A frame of urllib3's holds the error that holds the frame, and so our callers'
            # and the request: memory fills with these when a receiver is down.
            traceback.clear_frames(error.__traceback__)
            raise TransportError(*_describe(error)) from error
        except (OSError, ValueError) as error:
            raise TransportError("broken", f"the connection broke: {error}") from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> Answer:
        # The answer is in its status. A body that is read whole gives its connection back; one
        # that is slow or long is not worth the wait, and costs it.
        self._deadline = min(self._deadline, read_seconds() + _BODY_SECONDS)
        with contextlib.suppress(exceptions.HTTPError, OSError):
            response.read(_BODY_BYTES, decode_content=False)
        response.close()
        return Answer(response.status, response.headers)

    def _wait_for(self, sock: Any, act: Callable[[Any], int], data: Any) -> int:
        """``act(data)``, which reads from ``sock`` or writes to it; TimeoutError if it is late."""
        given = sock.gettimeout()
        idle_at = read_seconds() + READ_SECONDS
        try:
            while (remaining := min(self._find_deadline(), idle_at) - read_seconds()) > 0:
                sock.settimeout(min(remaining, _SLICE_SECONDS))
                with contextlib.suppress(TimeoutError):
                    return act(data)
        finally:
            # A handshake for TLS may follow, which takes the time of connecting.
            sock.settimeout(given)
        raise TimeoutError("the time for it is up")

    def _find_deadline(self) -> float:
        return min(self._deadline, self._find_until())

    def close(self) -> None:
        """Close the connection; a request after that makes a new one, as bounded."""
        manager, self._manager = self._manager, None
        if manager is not None:
            # Emptying the manager leaves closing to the garbage collector, sockets and all.
            manager.connection_from_url(self._url).close()
            manager.clear()

    def _get_manager(self) -> urllib3.PoolManager:
        """The manager of the connections, made with the first request.

        Raises:
            TransportError: the environment names a proxy or a CA bundle that cannot be used.
        """
        if self._manager is None:
            try:
                self._manager = network.build_manager(self._url, self._environ)
            except network.NetworkError as error:
                raise TransportError("environment", str(error)) from error
            pool: Any = self._manager.connection_from_url(self._url)
            pool.ConnectionCls = partial(self._build_connection, pool.ConnectionCls)
        return self._manager

    def _build_connection(self, build: Callable[..., Any], **options: Any) -> Any:
        """A connection of urllib3's whose requests are sent and answered until the deadline."""
        connection = build(**options)
        connection.send = partial(self._send, connection)
        connection.response_class = partial(_BoundedResponse, self._wait_for)
        return connection

    def _send(self, connection: Any, data: bytes) -> None:
        """Send ``data``, however slowly it goes: urllib3 gives it the time of connecting."""
        if connection.sock is None:
            connection.connect()
        rest = memoryview(data)
        while rest:
            rest = rest[self._wait_for(connection.sock, connection.sock.send, rest) :]


def _describe(error: exceptions.HTTPError) -> tuple[str, str]:
    """A kind and a text for what urllib3 raises. No text holds the URL."""
    cause = error.args[-1] if isinstance(error, exceptions.ProtocolError) else error
    for kinds, kind, text in _TROUBLES:
        if isinstance(cause, kinds):
            return kind, text.format(reason=_find_reason(cause))
    return "garbage", f"the answer was not HTTP ({type(cause).__name__})"


def _find_reason(error: BaseException) -> str:
    """The last part of a nested error's text, without its object's address."""
    while inner := error.__cause__ or getattr(error, "original_error", None):
        error = inner
    text = getattr(error, "strerror", None) or str(error)
    return text.split("> ")[-1].strip("() .") or type(error).__name__
