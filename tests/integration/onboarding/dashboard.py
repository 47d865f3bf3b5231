"""A dashboard that answers every request alike, and remembers what it was sent."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from nvoi import protocol


class Dashboard:
    """Serves on a loopback port, from ``with`` to its end.

    Args:
        status: of every answer.
        headers: of every answer.
        tls: makes it https.
    """

    def __init__(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.status = status
        #: Path, body, signature, and the three headers of Standard Webhooks.
        self.requests: list[tuple[str, bytes, str | None, tuple[str | None, ...]]] = []
        dashboard = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                names = ("webhook-id", "webhook-timestamp", "webhook-signature")
                webhook = tuple(self.headers[name] for name in names)
                signature = self.headers["X-Nvoi-Signature"]
                dashboard.requests.append((self.path, body, signature, webhook))
                self.send_response(dashboard.status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                # A client that refuses the certificate hangs up.
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/api/deploys"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def check_signatures(self, key: str) -> None:
        """Every request was signed with ``key`` in both ways."""
        for _, body, signature, (webhook_id, timestamp, webhook_signature) in self.requests:
            assert protocol.verify(body, signature, key)
            assert protocol.verify_webhook(
                body, webhook_signature, key, webhook_id=webhook_id, timestamp=timestamp
            )
