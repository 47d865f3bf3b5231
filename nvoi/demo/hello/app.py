"""A small web app: a page that greets, and a health page."""

import html
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = """<!doctype html>
<html lang="en">
<title>hello</title>
<h1>{greeting}</h1>
<p>This is release {release}.</p>
"""


class Handler(BaseHTTPRequestHandler):
    """Answers ``/`` and ``/health``."""

    def do_GET(self) -> None:
        """Send the page that was asked for."""
        if self.path == "/health":
            self.answer(200, "text/plain", "ok\n")
        elif self.path == "/":
            greeting = html.escape(os.environ.get("GREETING", "Hello"))
            self.answer(200, "text/html", PAGE.format(greeting=greeting, release=Path.cwd().name))
        else:
            self.answer(404, "text/plain", "There is no such page.\n")

    def answer(self, status: int, kind: str, text: str) -> None:
        """Send ``text``."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve this machine on ``$PORT``."""
    port = int(os.environ["PORT"])
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"listening on port {port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
