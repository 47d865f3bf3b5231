"""What answers the visitors of an app in the place of its pods."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Visitors:
    """Answers every request with ``status``.

    Args:
        wait: called before each answer.
    """

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.status = 200
        self.requests: list[tuple[str, str]] = []
        visitors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                visitors.requests.append((self.headers["Host"], self.path))
                wait()
                self.send_response(visitors.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
