"""A port on this machine that leads to an address as a host sees it."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

import paramiko

from nvoi.errors import ConnectionFailedError, NvoiError
from nvoi.log.levels import get_logger
from nvoi.ssh.connection import Connection
from nvoi.ssh.wire import close_channel

log = get_logger("nvoi.ssh")

LOOPBACK = "127.0.0.1"
#: Bytes that are moved at once: an SSH packet takes 32 KiB, RFC 4253, 6.1.
CHUNK = 1 << 16
BACKLOG = 128
#: Seconds that the end of a forward waits for its threads, which have been told to end.
END_SECONDS = 5.0


class Forward:
    """Listens on a loopback port; each connection there becomes a channel of its own.

    A connection that fails is closed, and the others go on. When the SSH connection has
    broken, those on it end, and the next one opens it again.

    Args:
        connection: the host that the channels go out from.
        address: where they lead to, as the host sees it.
        port: the same.
        local_port: where to listen; 0 for any that is free.

    Raises:
        NvoiError: the local port cannot be had.
    """

    def __init__(
        self, connection: Connection, address: str, port: int, *, local_port: int = 0
    ) -> None:
        self._connection = connection
        self._target = (address, port)
        self._lock = threading.Lock()
        self._open: set[Pair] = set()
        self._threads: set[threading.Thread] = set()
        self._is_over = False
        try:
            self._listener = socket.create_server((LOOPBACK, local_port), backlog=BACKLOG)
        except OSError as error:
            raise NvoiError(
                f"port {local_port} of this machine cannot be had: {error.strerror}",
                hint="is another program using it?",
            ) from error
        self.local_port: int = self._listener.getsockname()[1]
        self._wake, self._waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Listen no more, and end what is open."""
        with self._lock:
            self._is_over = True
            pairs, threads = tuple(self._open), tuple(self._threads)
        self._waker.close()
        for pair in pairs:
            pair.close()
        self._acceptor.join(END_SECONDS)
        for thread in threads:
            thread.join(END_SECONDS)
        self._wake.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            # Closing a listener does not wake who waits on it.
            ready, _, _ = select.select([self._listener, self._wake], [], [])
            if self._wake in ready:
                return
            with suppress(OSError):
                client, _ = self._listener.accept()
                self._start(client)

    def _start(self, client: socket.socket) -> None:
        def run() -> None:
            try:
                self._serve(client)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        address, port = self._target
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            channel = self._connection.open_tunnel(address, port)
        except (paramiko.ChannelException, ConnectionFailedError) as error:
            reason = error.text if isinstance(error, paramiko.ChannelException) else str(error)
            log.debug("%s: %s:%d: %s", self._connection.host.name, address, port, reason)
            client.close()
            return
        pair = Pair(client, channel)
        with self._lock:
            is_over = self._is_over
            self._open.add(pair)
        try:
            if not is_over:
                pair.run()
        finally:
            pair.close()
            client.close()
            with self._lock:
                self._open.discard(pair)


class Pair:
    """A local connection and its channel. What one side ends, the other may still answer."""

    def __init__(self, client: socket.socket, channel: paramiko.Channel) -> None:
        self._client = client
        self._channel = channel

    def run(self) -> None:
        """Move bytes both ways until both ways have ended."""
        back = threading.Thread(target=self._receive, daemon=True)
        back.start()
        self._send()
        back.join()

    def close(self) -> None:
        """End both ways at once, from any thread."""
        close_channel(self._channel)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _send(self) -> None:
        # Neither side is read faster than the other takes it: sendall waits for the window.
        try:
            while data := self._client.recv(CHUNK):
                self._channel.sendall(data)
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            self.close()

    def _receive(self) -> None:
        try:
            while data := self._channel.recv(CHUNK):
                self._client.sendall(data)
            if self._channel.closed and not self._channel.eof_received:
                # Lost, and not ended: whoever reads must not take what it has for all.
                self._reset()
            self._client.shutdown(socket.SHUT_WR)
        except (OSError, EOFError, paramiko.SSHException):
            self.close()

    def _reset(self) -> None:
        # A linger time of 0 makes close send a reset: socket(7), SO_LINGER.
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise OSError("the channel was lost")
