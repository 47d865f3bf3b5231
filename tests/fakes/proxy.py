"""A forward proxy for HTTP and, by CONNECT, for TLS; it leads to loopback addresses only."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.fakes.connection import Connection, Head
from tests.fakes.listener import HOST, Listener
from tests.fakes.received import Headers
from tests.waiting import PATIENCE

CHUNK = 64 * 1024
HOP_BY_HOP = frozenset(("connection", "keep-alive", "proxy-connection", "proxy-authorization"))
LOOPBACK = frozenset((HOST, "localhost"))
REFUSED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Proxied:
    """One request to the proxy: ``POST http://…`` or ``CONNECT host:port``."""

    method: str
    target: str
    headers: Headers


class Proxy:
    """A proxy on a loopback port, from ``with`` to its end.

    Args:
        hosts: names that only this proxy can resolve, and the loopback ports behind them.
    """

    def __init__(self, hosts: Mapping[str, int] | None = None) -> None:
        self._hosts = dict(hosts or {})
        self._lock = threading.Lock()
        self._requests: list[Proxied] = []
        self._listener = Listener(self._serve)
        self.url = f"http://{HOST}:{self._listener.port}"

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def requests(self) -> list[Proxied]:
        """What was asked of the proxy, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    def _serve(self, connection: Connection) -> None:
        head = connection.read_head()
        if head is None:
            return
        with self._lock:
            self._requests.append(Proxied(head.method, head.target, head.headers))
        address = self._find_address(head)
        if address is None:
            connection.write(REFUSED)
            return
        origin = socket.create_connection(address, timeout=PATIENCE)
        connection.adopt(origin)
        origin.settimeout(None)
        if head.method == "CONNECT":
            connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            origin.sendall(build_request(head) + connection.read_body(head))
        relay(connection.sock, origin)

    def _find_address(self, head: Head) -> tuple[str, int] | None:
        absolute = f"//{head.target}" if head.method == "CONNECT" else head.target
        url = urlsplit(absolute)
        name = url.hostname or ""
        if name in self._hosts:
            return HOST, self._hosts[name]
        return (HOST, url.port or 80) if name in LOOPBACK else None


def build_request(head: Head) -> bytes:
    """The head as the origin is sent it: origin-form, without what was meant for the proxy."""
    url = urlsplit(head.target)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [f"{head.method} {path} HTTP/1.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head.headers.iteritems() if is_end_to_end(name)]
    return "\r\n".join((*lines, "", "")).encode()


def is_end_to_end(name: str) -> bool:
    """Whether a header is for the origin, not for the proxy (RFC 9110, 7.6.1)."""
    return name.lower() not in HOP_BY_HOP


def relay(client: socket.socket, origin: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, origin)
        selector.register(origin, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]  # both are sockets
                if not data:
                    return
                key.data.sendall(data)
