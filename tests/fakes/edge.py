"""Where visitors of a domain come to: TLS for its names, before the tunnels or instead of them."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import trustme
from werkzeug import Request, Response

from tests.fakes.kubernetes.server import Server
from tests.fakes.proxy import Proxy

HTTPS = 443


class Edge:
    """Answers to `names` with `status`, `text` and `headers`, from `with` to its end.

    Args:
        names: its certificate is for these.
        folder: where the file with its authority is written.
        is_public: whether it answers at port 443 too, of an address of its own.
        address: that, where it is known which it is to be.
    """

    def __init__(
        self, *names: str, folder: Path, is_public: bool = False, address: str = ""
    ) -> None:
        self.names = names
        #: Called before each answer.
        self.on_request: Callable[[], object] = lambda: None
        self.status, self.text = 200, "hello"
        self.headers: dict[str, str] = {"server": "cloudflare"}
        #: The host names and paths that were asked for.
        self.requests: list[tuple[str, str]] = []
        authority = trustme.CA()
        self.authority = folder / "edge.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self._context)
        self._server = self._start("127.0.0.1", 0)
        self.port = self._server.port
        self._proxy = Proxy(dict.fromkeys(names, self.port))
        #: That, which is empty where none can be had.
        self.address = address or (find_address() if is_public else "")
        self._public = self._start(self.address, HTTPS) if self.address else None

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__()
        for server in filter(None, (self._server, self._public)):
            server.stop()

    @property
    def environ(self) -> Mapping[str, str]:
        """By which a command comes here, and trusts it."""
        return {"HTTPS_PROXY": self._proxy.url, "SSL_CERT_FILE": str(self.authority)}

    @property
    def hosts(self) -> str:
        """The lines of hosts(5) by which a machine comes here."""
        return "".join(f"{self.address} {name}\n" for name in self.names)

    def _start(self, address: str, port: int) -> Server:
        server = Server(address, port, ssl_context=self._context, threaded=True)
        server.expect_request(re.compile(".*")).respond_with_handler(self._answer)
        server.start()
        return server

    def _answer(self, request: Request) -> Response:
        self.requests.append((request.headers["Host"], request.path))
        self.on_request()
        return Response(self.text, self.status, self.headers)


def find_address() -> str:
    """One of 127.0.0.0/8 whose port 443 is free; empty where that is root's alone."""
    for number in range(61, 100):
        with suppress(OSError):
            socket.create_server((f"127.0.0.{number}", HTTPS)).close()
            return f"127.0.0.{number}"
    return ""
