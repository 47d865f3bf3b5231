"""HTTP servers for stand-ins: one function answers every request."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_httpserver import HTTPServer

if TYPE_CHECKING:
    from werkzeug import Request, Response

# It says each request, and each client that hangs up.
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)


class Server(HTTPServer):
    """One that stops at once."""

    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(poll_interval=0.01)


def serve(
    answer: Callable[[Request], Response], port: int = 0, tls: ssl.SSLContext | None = None
) -> Server:
    """Serve on a port of this machine, until it is told to stop."""
    server = Server("127.0.0.1", port, ssl_context=tls, threaded=True)
    server.expect_request(re.compile(".*")).respond_with_handler(answer)
    server.start()
    return server
