"""A callback receiver in few lines: it prints what a run sends, if the signature is right.

DEPLOY_KEY=<64 hex characters> python3 receiver.py [PORT]
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nvoi import verify

MOST_BYTES = 1024 * 1024


class Receiver(BaseHTTPRequestHandler):
    """Takes ``POST /…/<deploy id>/logs`` and ``…/status``."""

    protocol_version = "HTTP/1.1"  # the sender keeps its connection

    def do_POST(self) -> None:
        """Check the signature over the bytes as they came; only then look into them."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size) if size <= MOST_BYTES else b""
        genuine = verify(body, self.headers["X-Nvoi-Signature"], os.environ["DEPLOY_KEY"])
        self.close_connection = not genuine
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:
            event = json.loads(body)
            for line in event.get("logs", ()):
                print(line["logged_at"], line["level"].ljust(7), line["message"], flush=True)
            if "status" in event:
                print(event, flush=True)

    def log_message(self, *_: object) -> None:
        """Print nothing of the server's own."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
