"""One request at a time over real sockets: whatever the other side does, an attempt ends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nvoi.log.clock import read_seconds
from nvoi.log.counts import Counts
from nvoi.log.delivery import Delivery, Destination
from nvoi.log.transport import Answer, Transport, TransportError
from nvoi.protocol import LogBatch, Run
from tests.fakes.connection import Connection
from tests.fakes.listener import HOST, Listener
from tests.fakes.received import Headers
from tests.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("bare_network")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#: More than the buffers of two sockets hold.
MUCH = bytes(32 << 20)

Serve = Callable[[Connection], None]


@contextlib.contextmanager
def listen(serve: Serve) -> Iterator[str]:
    """The address of a server that does ``serve`` with each connection."""
    listener = Listener(serve)
    listener.start()
    try:
        yield f"http://{HOST}:{listener.port}/api"
    finally:
        listener.close()


def say_nothing(connection: Connection) -> None:
    """Neither read nor write."""
    connection.wait(None)


def drip(connection: Connection) -> None:
    """Send an answer that never ends, a byte at a time."""
    while not connection.wait(0.01):
        connection.write(b"x")


class Site:
    """A server that answers everything the same, and keeps the heads of what came."""

    def __init__(self, answer: bytes = OK) -> None:
        self._answer = answer
        self.heads: list[tuple[int, str, Headers]] = []
        self.ended = threading.Event()

    def serve(self, connection: Connection) -> None:
        """Answer each request of a connection."""
        while (head := connection.read_head()) is not None:
            connection.read_body(head)
            self.heads.append((connection.number, head.target, head.headers))
            connection.write(self._answer)
        self.ended.set()


@contextlib.contextmanager
def connect(url: str, **environ: str) -> Iterator[Callable[..., int]]:
    """A function that posts to ``url``, and gives the status that was answered."""
    transport = Transport(url, environ=environ)

    def post(seconds: float = 10.0, body: bytes = b"{}") -> int:
        until = read_seconds() + seconds
        return transport.post(f"{url}/1/logs", body, {}, lambda: until).status

    try:
        yield post
    finally:
        transport.close()


def find_trouble(url: str, *, body: bytes = b"{}", **environ: str) -> str:
    """The kind of trouble that an attempt of a quarter of a second ends with."""
    with connect(url, **environ) as post, pytest.raises(TransportError) as caught:
        post(0.25, body)
    return caught.value.kind


@pytest.fixture(params=["as it is", "stopped"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's clock, which test libraries such as freezegun stop."""
    if request.param == "stopped":
        monkeypatch.setattr(time, "monotonic", lambda: 1000.0)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("serve", [say_nothing, drip])
@pytest.mark.parametrize("body", [b"{}", MUCH], ids=["little", "much"])
def test_an_attempt_ends_in_time_though_the_server_does_not(serve: Serve, body: bytes) -> None:
    with listen(serve) as url:
        assert find_trouble(url, body=body) == "timeout"


@pytest.mark.parametrize("serve", [say_nothing, drip])
def test_an_attempt_ends_in_time_though_the_proxy_does_not(serve: Serve) -> None:
    with listen(serve) as proxy:
        assert find_trouble("https://dashboard.test", HTTPS_PROXY=proxy) in {"timeout", "proxy"}


class Hurried(Transport):
    """The end of its delivery comes when the attempt is made up, and not begun yet."""

    delivery: Delivery

    def post(self, *attempt: Any) -> Answer:
        self.delivery.end_by(read_seconds(), read_seconds())
        return super().post(*attempt)


@pytest.mark.parametrize("serve", [say_nothing, drip])
@pytest.mark.parametrize("when", ["before", "while"])
def test_another_thread_brings_the_end_of_an_attempt_forward(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, when: str
) -> None:
    # Nothing else ends it.
    for name in ("READ_SECONDS", "TOTAL_SECONDS"):
        monkeypatch.setattr(f"nvoi.log.transport.{name}", 10 * PATIENCE)
    accepted = threading.Event()

    def accept(connection: Connection) -> None:
        accepted.set()
        serve(connection)

    with listen(accept) as url:
        transport = Hurried(url, environ={}) if when == "before" else Transport(url, environ={})
        counts = Counts(tell=lambda _: None)
        delivery = Delivery(Destination(url, "key", "1", Run()), transport, counts)
        if isinstance(transport, Hurried):
            transport.delivery = delivery
        batch = LogBatch([], 0)
        thread = threading.Thread(target=delivery.deliver, args=(batch,), daemon=True)
        thread.start()
        if when == "while":
            accepted.wait(PATIENCE)
            delivery.end_by(read_seconds(), read_seconds())
        thread.join(PATIENCE)
        assert not thread.is_alive()
        delivery.close()
    assert list(counts.troubles) == ["timeout"]


def test_a_server_that_reads_slowly_is_waited_for_though_connecting_may_take_less() -> None:
    def rest(connection: Connection) -> None:
        head = connection.read_head()
        assert head is not None
        connection.wait(0.6)
        connection.read_body(head)
        connection.write(OK)

    with listen(rest) as url:
        transport = Transport(url, environ={}, connect_seconds=0.3)
        assert transport.post(url, MUCH, {}, lambda: float("inf")).status == 200
        transport.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nnever more than this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: gzip\r\n\r\n",
    ],
    ids=["1.0", "204", "100", "103", "102-twice", "short-body", "bad-chunk", "gzip"],
)
def test_an_answer_counts_by_its_final_status(answer: bytes) -> None:
    site = Site(answer)
    with listen(site.serve) as url, connect(url) as post:
        assert {post(), post()} <= {200, 204}
    assert len(site.heads) == 2


def test_a_connection_is_kept_until_the_transport_is_closed() -> None:
    site = Site()
    with listen(site.serve) as url:
        with connect(url) as post:
            assert [post(), post(), post(body=MUCH)] == [200, 200, 200]
            assert not site.ended.is_set()
        assert site.ended.wait(PATIENCE)
    assert {number for number, *_ in site.heads} == {1}


def test_a_transport_that_is_used_after_its_end_reads_answers_as_before() -> None:
    site = Site(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    with listen(site.serve) as url:
        transport = Transport(url, environ={})
        for _ in range(2):
            assert transport.post(url, b"{}", {}, lambda: float("inf")).status == 200
            transport.close()


@pytest.mark.parametrize(
    ("before", "after", "authorization"),
    [
        ("http://", "http://token@", "Basic dG9rZW46"),
        ("http://", "http://me:p%40ss@", "Basic bWU6cEBzcw=="),
        ("http://", "http://me:w%C3%B6rd@", "Basic bWU6d8O2cmQ="),
        ("http://", "HTTP://", None),
        (HOST, "LocalHost", None),
    ],
)
def test_a_url_is_called_as_it_is_written(
    before: str, after: str, authorization: str | None
) -> None:
    site = Site()
    with listen(site.serve) as url, connect(url.replace(before, after)) as post:
        assert post() == 200
    ((_, target, headers),) = site.heads
    assert target == "/api/1/logs"
    assert headers.get("authorization") == authorization
    assert "@" not in headers["host"]


@pytest.mark.parametrize("authority", ["dashboard.test", "dashboard.test:", "dashboard.test:80"])
def test_a_port_that_is_left_out_is_the_schemes(authority: str) -> None:
    site = Site()
    with (
        listen(site.serve) as proxy,
        connect(f"http://{authority}/api", HTTP_PROXY=proxy, NO_PROXY="dashboard.test:81") as post,
    ):
        assert post() == 200
    ((_, target, headers),) = site.heads
    assert target.removeprefix("http://").replace(":80", "") == "dashboard.test/api/1/logs"
    assert headers["host"].replace(":80", "") == "dashboard.test"


def test_an_ipv6_address_is_called_directly() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        thread = threading.Thread(target=answer_once, args=(server,))
        thread.start()
        with connect(f"http://[::1]:{server.getsockname()[1]}") as post:
            assert post() == 200
        thread.join()


def answer_once(server: socket.socket) -> None:
    """Answer the first request, whatever it is."""
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(OK)
