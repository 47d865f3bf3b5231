"""Serves the dashboard: listens, runs uvicorn in this process, and ends when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from nvoi.dashboard.app import Complaints, build_app
from nvoi.dashboard.context import Dashboard, Settings
from nvoi.dashboard.database import Database, Reader, Writer
from nvoi.dashboard.feed import Feed
from nvoi.dashboard.projects import Keyring
from nvoi.dashboard.requests import is_this_machine
from nvoi.dashboard.retention import Retention
from nvoi.errors import UsageError
from nvoi.signals import list_handled

#: Seconds for a request's line and headers to come, from the connection's begin on or from the
#: first byte after an answer.
HEAD_SECONDS = 30.0
#: Bytes of an answer that wait for a slow reader, in this process and in the system, beside the
#: piece that is being sent; and seconds in which some of them have to go. A page that is cut off
#: connects again.
WAITING_BYTES, SYSTEM_BYTES, STALL_SECONDS = 16 * 1024, 128 * 1024, 30.0
#: Seconds that requests under way have once the server is to end.
GRACE_SECONDS = 3.0
#: Seconds that an idle connection is kept: longer than nginx keeps its own (60 s), which would
#: else send a request into one that is just being closed.
KEEP_ALIVE_SECONDS = 75
#: Open files that are enough.
MOST_FILES = 65_536
#: Connections that may wait to be accepted.
BACKLOG = 1024

_HINTS = {
    errno.EADDRINUSE: "name another port with --port; 0 takes any that is free",
    errno.EADDRNOTAVAIL: "name an address of this machine",
    errno.EACCES: "ports from 1024 on need no privilege",
}

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Protocol(H11Protocol):
    """One connection, whose client has to ask for something in time, and to take the answer.

    uvicorn itself waits for ever for a first request, for the rest of one that has begun, and for
    a client that reads nothing: a few thousand silent connections would take all files that the
    process may open, and all memory.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(WAITING_BYTES)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel(self._stall_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel(self._head_timer)
        self._cancel(self._stall_timer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if not self._is_waiting():
            self._cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _cancel(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        self._head_timer = None
        # A request that was held back behind another one may have begun meanwhile.
        if self._is_waiting():
            self.transport.close()

    def _abort(self) -> None:
        """Forget what waits, in the system too, which would offer it for minutes (socket(7))."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


_complaints = Complaints(logging.getLogger(__name__))


def handle_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what the event loop complains of.

    Without a file for another connection asyncio would log a thousand tracebacks a second.
    """
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        _complaints.warn(f"connections must wait: {error.strerror}")
    else:
        loop.default_exception_handler(context)


class _Server(uvicorn.Server):
    """uvicorn's server, whose open streams end with it, and whose signals are ours."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Asked to end, end: uvicorn would raise the signal again afterwards."""
        loop = asyncio.get_running_loop()
        numbers = list_handled()
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, end the streams, and let what is under way come to its end."""
        self._feed.close()
        timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._abort)
        await super().shutdown(sockets)
        timer.cancel()

    def _abort(self) -> None:
        """End the connections whose other side neither reads nor goes."""
        for connection in list(self.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()


def check_reach(settings: Settings) -> None:
    """Make sure that nobody reads the logs who should not; raise a UsageError where one could."""
    is_protected = settings.password is not None or settings.trust_proxy
    if not is_protected and not is_this_machine(settings.host):
        raise UsageError(
            f"--host {settings.host} lets others read every log, and nothing asks who they are",
            hint="add --password-file FILE, or --trust-proxy where a reverse proxy does ask",
        )


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; a UsageError where the address or the port cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise UsageError(f"cannot listen on --host {host}: {reason}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Its connections inherit it (tcp(7)); else the system would hold up to 4 MB for each.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BYTES)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on --host {host} --port {port}: {error.strerror}",
            hint=_HINTS.get(error.errno or 0, ""),
        ) from error
    return listening


def format_origin(host: str, port: int) -> str:
    """``http://HOST:PORT``; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_file_limit() -> None:
    """Let every page that may be open have its connection: many systems begin with 1024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS refuses what is above a limit of its own (setrlimit(2)).
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(
    settings: Settings, database: Database, keyring: Keyring, tell: Callable[[str], None]
) -> None:
    """Serve until a signal asks for its end: SIGINT, SIGTERM, SIGHUP or SIGQUIT.

    The database is locked for this process; ``tell`` is given the dashboard's URL once requests
    are answered.
    """
    raise_file_limit()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(open_socket(settings.host, settings.port))
        port = listening.getsockname()[1]
        writer, reader = Writer(database), Reader(database)
        stack.callback(reader.close)
        stack.callback(writer.close)
        retention = Retention(writer, keep=settings.keep, keep_days=settings.keep_days)
        url = settings.public_url or format_origin(settings.host, port)
        dashboard = Dashboard(settings, writer, reader, keyring, Feed(), url)
        server = _Server(build_config(build_app(dashboard)), dashboard.feed)
        asyncio.run(_run(server, listening, retention, lambda: tell(url)))


async def _run(
    server: _Server, listening: socket.socket, retention: Retention, tell: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handle_fault)
    sweeping = loop.create_task(retention.run())
    # The socket listens already: who connects now is answered in a moment.
    loop.call_soon(tell)
    await server.serve(sockets=[listening])
    sweeping.cancel()


def build_config(app: Starlette) -> uvicorn.Config:
    """Quiet, HTTP alone, and nothing read from the environment."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        # Who sent a request is decided where it is asked, by the options.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=BACKLOG,
        env_file=None,
    )
