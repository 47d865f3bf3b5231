"""nvoi's log in a program of one's own: a job that a dashboard can follow live.

python3 embed.py                starts a receiver for itself, and prints what it was sent
python3 embed.py URL KEY        sends to a dashboard
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nvoi import CallbackStream, MaskingFilter, verify

# A logger below "nvoi" has the methods step, ok and success, and masks secrets.
log = logging.getLogger("nvoi.nightly")


def work() -> None:
    """The job itself: it only logs, and knows nothing of dashboards."""
    log.step("Fetch the orders")
    log.info("signing in with %s", "t0ken-of-the-shop")
    log.ok("%d orders", 42)
    try:
        print_labels()
    except TimeoutError:
        log.warning("no paper copies tonight", exc_info=True)
    log.success("All orders are in the books")


def print_labels() -> None:
    """A part of the job that goes wrong."""
    raise TimeoutError("the printer is out")


def run(url: str, key: str) -> None:
    """Run the job under a stream: ``started``, the log, then ``completed`` or ``failed``."""
    stream = CallbackStream(
        "nvoi.nightly",
        url,
        key,
        deploy_id=f"nightly-{uuid.uuid4()}",
        context={"git_ref": "main"},
        secrets=["t0ken-of-the-shop"],
        undelivered=tempfile.gettempdir(),
    )
    with stream:
        work()
    stats = stream.stats()
    print(f"{stats.delivered} of {stats.logged} records delivered, {stats.retries} retries")


@contextmanager
def serve(key: str) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A receiver on a free port: its URL, and what it was sent so far."""
    received: list[dict[str, object]] = []

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            genuine = verify(body, self.headers["X-Nvoi-Signature"], key)
            if genuine:
                received.append(json.loads(body))
            self.send_response(204 if genuine else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/callbacks", received
        server.shutdown()


def main(arguments: list[str]) -> None:
    """Send to the dashboard that is named, or to a receiver of our own."""
    console = logging.StreamHandler()
    # Records of other loggers reach this handler too; the filter masks them as well.
    console.addFilter(MaskingFilter())
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)-7s %(message)s", handlers=[console]
    )
    if arguments:
        run(*arguments)
        return
    key = secrets.token_hex(32)
    with serve(key) as (url, received):
        run(url, key)
    for event in received:
        print(json.dumps(event))


if __name__ == "__main__":
    main(sys.argv[1:])
