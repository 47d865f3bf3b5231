"""A port on this machine that leads to an address as a host sees it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

import paramiko

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.signals import LOOK_SECONDS
from nvoi.ssh.transport import BROKEN, close_channel

log = get_logger("nvoi.ssh")

LOOPBACK = "127.0.0.1"
#: Bytes that are moved at once: an SSH packet takes 32 KiB, RFC 4253, 6.1.
CHUNK = 1 << 16
#: Closing sends a reset: socket(7), SO_LINGER.
RESET = struct.pack("ii", 1, 0)


class Forward(ThreadingTCPServer):
    """Listens on a loopback port; each connection there becomes a channel of its own.

    A connection that fails is closed, and the others go on.

    Args:
        open_channel: opens the channel for one connection.
        target: how the log calls where it leads.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, open_channel: Callable[[], paramiko.Channel], target: str, local_port: int = 0
    ) -> None:
        self.open_channel = open_channel
        self.target = target
        self._lock = threading.Lock()
        self._pairs: set[Pair] = set()
        self._is_over = False
        try:
            super().__init__((LOOPBACK, local_port), Pair)
        except OSError as error:
            raise NvoiError(
                f"port {local_port} of this machine cannot be had: {error.strerror}",
                hint="is another program using it?",
            ) from error
        threading.Thread(target=self.serve_forever, args=(LOOK_SECONDS,), daemon=True).start()

    @property
    def local_port(self) -> int:
        return int(self.server_address[1])

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            self._is_over = True
            pairs = tuple(self._pairs)
        for pair in pairs:
            pair.close()

    @contextmanager
    def hold(self, pair: Pair) -> Iterator[None]:
        """End ``pair`` with the forward while the context lasts."""
        with self._lock:
            is_over = self._is_over
            self._pairs.add(pair)
        try:
            if is_over:
                pair.close()
            yield
        finally:
            with self._lock:
                self._pairs.discard(pair)


class Pair(BaseRequestHandler):
    """A local connection and its channel. What one side ends, the other may still answer."""

    request: socket.socket
    server: Forward
    _channel: paramiko.Channel

    def handle(self) -> None:
        with suppress(OSError):
            # Where the client has gone meanwhile, what is read from it tells so.
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._channel = self.server.open_channel()
        except (paramiko.ChannelException, NvoiError) as error:
            reason = error.text if isinstance(error, paramiko.ChannelException) else str(error)
            log.debug("%s: %s", self.server.target, reason)
            return
        with self.server.hold(self):
            back = threading.Thread(target=self._receive, daemon=True)
            back.start()
            self._send()
            back.join()
        close_channel(self._channel)
        # The server would first end it well, also where a reset is due.
        self.request.close()

    def close(self) -> None:
        """End both ways at once, from any thread."""
        is_whole = self._channel.eof_received
        close_channel(self._channel)
        with suppress(OSError):
            if is_whole:
                self.request.shutdown(socket.SHUT_RDWR)
            else:
                # Lost, and not ended: whoever reads must not take what it has for all.
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.request.shutdown(socket.SHUT_RD)

    def _send(self) -> None:
        # Neither side is read faster than the other takes it: sendall waits for the window.
        try:
            while data := self.request.recv(CHUNK):
                self._channel.sendall(data)
            self._channel.shutdown_write()
        except BROKEN:
            self.close()

    def _receive(self) -> None:
        try:
            while data := self._channel.recv(CHUNK):
                self.request.sendall(data)
            if self._channel.eof_received:
                self.request.shutdown(socket.SHUT_WR)
            else:
                self.close()
        except BROKEN:
            self.close()
