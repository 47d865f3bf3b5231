"""One accepted connection, read and written as HTTP/1.1 or broken off."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from io import BufferedReader

from tests.fakes.received import Headers

HEAD_LIMIT = 64 * 1024
NO_LINGER = struct.pack("ii", 1, 0)  # on, 0 seconds: close() sends RST instead of FIN


class BadRequestError(Exception):
    """What came is not an HTTP/1.x request."""


@dataclass(frozen=True)
class Head:
    """A request's first line and headers."""

    method: str
    target: str
    version: str
    headers: Headers

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to use the connection again (RFC 9112, 9.3)."""
        asked = self.headers.get("connection", "").lower()
        return asked != "close" and (self.version != "HTTP/1.0" or asked == "keep-alive")


class Connection:
    """One accepted connection: used by its own thread, interrupted by any other."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.number = number
        self.sock = sock
        self._others: list[socket.socket] = []
        self._reader: BufferedReader | None = None
        self._gone = threading.Event()
        self._swap = threading.Lock()

    def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands as a TLS server; raises ``ssl.SSLError`` where the client walks away."""
        with self._swap:
            wrapped = context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False
            )
            self.sock = wrapped
        if not self._gone.is_set():
            wrapped.do_handshake()

    def adopt(self, sock: socket.socket) -> None:
        """Let an interruption, and the end of this connection, end ``sock`` too."""
        with self._swap:
            self._others.append(sock)
            if self._gone.is_set():
                end(sock)

    def read_head(self) -> Head | None:
        """The next request's head; None where the client has closed the connection."""
        first = self._read_line()
        if not first:
            return None
        method, target, version = (*first.split(" "), "", "")[:3]
        if first.count(" ") != 2 or not version.startswith("HTTP/1."):
            raise BadRequestError(first)
        fields: list[tuple[str, str]] = []
        while line := self._read_line():
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequestError(line)
            fields.append((name, value.strip(" \t")))
        return Head(method, target, version, Headers(fields))

    def read_body(self, head: Head) -> bytes:
        """The body that ``Content-Length`` announces; raises EOFError where it stops short."""
        length = head.headers.get("content-length", "0")
        if "transfer-encoding" in head.headers or not length.isdecimal():
            raise BadRequestError("only a body with Content-Length is understood")
        body = self._get_reader().read(int(length))
        if len(body) < int(length):
            raise EOFError(f"{len(body)} of {length} bytes came")
        return body

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)

    def wait(self, seconds: float | None) -> bool:
        """Wait that long, or until interrupted: then True."""
        return self._gone.wait(seconds)

    @property
    def is_left(self) -> bool:
        """Whether the client, or this fake, has hung up: nobody waits for an answer."""
        try:
            # The plain method, also for TLS, whose sockets cannot peek.
            peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return self._gone.is_set() or not socket.socket.recv(self.sock, 1, peek)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def interrupt(self) -> None:
        """End what the connection's thread is doing, from another thread."""
        self._gone.set()
        with self._swap:
            for sock in (self.sock, *self._others):
                end(sock)

    def reset(self) -> None:
        """Close at once with a TCP reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.close()

    def close(self) -> None:
        """Close every socket of this connection; may be called twice."""
        if self._reader is not None:
            self._reader.close()
        with self._swap:
            for sock in (self.sock, *self._others):
                sock.close()

    def _get_reader(self) -> BufferedReader:
        if self._reader is None:
            self._reader = self.sock.makefile("rb")
        return self._reader

    def _read_line(self) -> str:
        line = self._get_reader().readline(HEAD_LIMIT)
        if line and not line.endswith(b"\n"):
            raise BadRequestError("a line of the head does not end")
        try:
            return line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            return line.rstrip(b"\r\n").decode("latin-1")


def end(sock: socket.socket) -> None:
    """Wake whoever blocks on ``sock``.

    The plain method, also for TLS: ``SSLSocket.shutdown`` would pull the TLS state from
    under the thread that is reading.
    """
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
