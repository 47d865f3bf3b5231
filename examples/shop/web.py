"""The shop's page: takes orders and lists them."""

import html
import os
import signal
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import psycopg
from database import connect

#: Bytes of a form, and characters of one of its fields.
LARGEST_FORM = 4096
LONGEST_FIELD = 100
LATEST = 50

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>shop</title>
<h1>Orders</h1>
<form method="post" action="/orders">
  <label>Your name <input name="customer" maxlength="100" required></label>
  <label>What you want <input name="item" maxlength="100" required></label>
  <button>Order</button>
</form>
<table>
<tr><th>No.</th><th>Customer</th><th>Item</th><th>State</th></tr>
{rows}
</table>
"""


def build_row(number: int, customer: str, item: str, done_by: str | None) -> str:
    """An order as a row of the table."""
    cells = (str(number), customer, item, f"done by {done_by}" if done_by else "open")
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def list_orders() -> str:
    """The latest orders as rows of the table."""
    with connect() as connection:
        orders = connection.execute(
            "SELECT id, customer, item, done_by FROM orders ORDER BY id DESC LIMIT %s", [LATEST]
        ).fetchall()
    return "\n".join(build_row(*order) for order in orders)


def place_order(customer: str, item: str) -> None:
    """Keep an order for the worker."""
    with connect() as connection:
        connection.execute("INSERT INTO orders (customer, item) VALUES (%s, %s)", [customer, item])


def read_form(body: bytes) -> tuple[str, str] | None:
    """Customer and item of a form that was sent, None where one is missing or too long."""
    form = parse_qs(body.decode(errors="replace"))
    customer, item = (form.get(name, [""])[0].strip() for name in ("customer", "item"))
    if not all(0 < len(text) <= LONGEST_FIELD and "\0" not in text for text in (customer, item)):
        return None
    return customer, item


class Handler(BaseHTTPRequestHandler):
    """Answers ``/``, ``/orders`` and ``/up``."""

    #: Seconds for a visitor to send a request; without it one could hold up the end.
    timeout = 10

    def do_GET(self) -> None:
        """Send the page that was asked for."""
        if self.path == "/up":
            # Without the database: Kubernetes restarts what fails this, which mends no database.
            self.answer(HTTPStatus.OK, "ok\n")
        elif self.path == "/":
            self.attempt(lambda: self.answer_page(PAGE.format(rows=list_orders())))
        else:
            self.answer(HTTPStatus.NOT_FOUND, "There is no such page.\n")

    def do_POST(self) -> None:
        """Take an order."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/orders":
            self.answer(HTTPStatus.NOT_FOUND, "There is no such page.\n")
        elif not length.isdecimal() or int(length) > LARGEST_FORM:
            self.answer(HTTPStatus.BAD_REQUEST, "This is no form of this shop.\n")
        else:
            order = read_form(self.rfile.read(int(length)))
            if order is None:
                self.answer(HTTPStatus.BAD_REQUEST, "A name and an item are needed.\n")
            else:
                self.attempt(lambda: self.take(*order))

    def take(self, customer: str, item: str) -> None:
        """Keep an order, and show it."""
        place_order(customer, item)
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def attempt(self, work: Callable[[], None]) -> None:
        """Do ``work``; where the database is away, say so."""
        try:
            work()
        except psycopg.Error as error:
            print(f"the database: {error}", flush=True)
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE, "Please try again in a moment.\n")

    def answer(self, status: HTTPStatus, text: str) -> None:
        """Send plain text."""
        self.send(status, "text/plain", text)

    def answer_page(self, text: str) -> None:
        """Send a page."""
        self.send(HTTPStatus.OK, "text/html", text)

    def send(self, status: HTTPStatus, kind: str, text: str) -> None:
        """Send ``text``."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log all requests but those of the health check, which are many."""
        if self.path != "/up":
            super().log_request(code, size)


class Server(ThreadingHTTPServer):
    """Waits at its end for the answers that are being made."""

    daemon_threads = False


def main() -> None:
    """Serve on ``$PORT`` until SIGTERM or Ctrl-C."""
    with Server(("", int(os.environ["PORT"])), Handler) as server:
        # shutdown() waits for the loop below, which this handler has interrupted.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever(poll_interval=0.1)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
