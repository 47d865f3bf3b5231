"""A TCP relay that cuts, stalls and refuses: the network between a run and a host."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import replace

from nvoi.ssh.host import Host

CHUNK = 1 << 16


class Relay:
    """Stands before a host. ``host`` is the host as it is reached through it."""

    def __init__(self, host: Host) -> None:
        self._target = (host.address, host.port)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._left: int | None = None
        self.accepted = 0
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host = replace(host, address="127.0.0.1", port=self.port)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Reset every connection there is. New ones are taken."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut_after(self, size: int) -> None:
        """Cut once the host was sent this many bytes more."""
        with self._lock:
            self._left = size

    def stall(self) -> None:
        """Keep every connection open, also new ones, and move nothing."""
        self._flows.clear()

    def resume(self) -> None:
        """Move again what comes."""
        self._flows.set()

    def refuse(self) -> None:
        """Take no new connections; those there are go on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def accept_again(self) -> None:
        """Take new connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """End it all."""
        self.refuse()
        self.resume()
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            host = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        with self._lock:
            self._sockets |= {client, host}
        ways = [(client, host, True), (host, client, False)]
        threads = [threading.Thread(target=self._move, args=way, daemon=True) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self._lock:
            self._sockets -= {client, host}
        client.close()
        host.close()

    def _move(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._flows.wait()
                if is_up and not self._count(len(data)):
                    self.cut()
                    return
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> bool:
        with self._lock:
            self.sent += size
            if self._left is None:
                return True
            self._left -= size
            if self._left > 0:
                return True
            self._left = None
            return False
