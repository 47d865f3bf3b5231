"""A TCP listener on a loopback port of its own: a thread a connection, and nothing left over."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Callable

from tests.fakes.connection import BadRequestError, Connection
from tests.waiting import PATIENCE

HOST = "127.0.0.1"


class Listener:
    """Accepts connections and hands each to ``serve`` in a thread of its own.

    ``serve`` may leave by OSError, EOFError or BadRequestError: the client is gone or talks
    nonsense, which is no fault of the fake. The connection is closed when it returns.
    """

    def __init__(
        self, serve: Callable[[Connection], None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._serve = serve
        self._tls = tls
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        self._accepted = 0
        self.failed_handshakes = 0
        self._socket = bind(0)
        self.port: int = self._socket.getsockname()[1]
        self._acceptor: threading.Thread | None = None
        self._waker: socket.socket | None = None

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self._lock:
            return self._accepted

    def start(self) -> None:
        """Listen; also again after :meth:`pause`."""
        self._socket.listen(128)
        self._socket.setblocking(False)
        self._waker, wake = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, args=(wake,), daemon=True)
        self._acceptor.start()

    def pause(self) -> None:
        """Refuse connections and end the open ones; the port stays ours.

        A socket that is bound and does not listen answers with a reset and keeps
        others from being given its port.
        """
        # Bound before the other is closed: in between, anybody could be given the port.
        unheard = bind(self.port)
        self._stop()
        self._socket = unheard

    def close(self) -> None:
        """Stop for good: no socket and no thread is left."""
        self._stop()

    def _stop(self) -> None:
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        if self._acceptor is not None:
            join(self._acceptor)
            self._acceptor = None
        self._socket.close()
        with self._lock:
            threads = list(self._open.items())
        for connection, _ in threads:
            connection.interrupt()
        for _, thread in threads:
            join(thread)

    def _accept(self, wake: socket.socket) -> None:
        with wake, selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ)
            while all(key.fileobj is not wake for key, _ in selector.select()):
                with contextlib.suppress(OSError):  # the client may be gone by now
                    self._begin(self._socket.accept()[0])

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(True)  # BSD hands down the listener's O_NONBLOCK
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._accepted += 1
            connection = Connection(sock, self._accepted)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._open[connection] = thread
        thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            if self._tls is None or self._shake_hands(connection, self._tls):
                self._serve(connection)
        except (OSError, EOFError, BadRequestError):
            pass
        finally:
            connection.close()
            with self._lock:
                del self._open[connection]

    def _shake_hands(self, connection: Connection, tls: ssl.SSLContext) -> bool:
        try:
            connection.secure(tls)
        except OSError:
            with self._lock:
                self.failed_handshakes += 1
            return False
        return True


def bind(port: int) -> socket.socket:
    """A socket bound to a loopback port; 0 takes a free one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


def join(thread: threading.Thread) -> None:
    """Wait for a thread's end; raises AssertionError where it does not come."""
    thread.join(PATIENCE)
    if thread.is_alive():
        raise AssertionError(f"{thread.name} still runs after {PATIENCE:.0f} s")
