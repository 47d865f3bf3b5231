from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme
from pytest_httpserver import HTTPServer
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from werkzeug import Request, Response

from nvoi.errors import AccessError, ConnectionLostError, RequestError, UsageError
from nvoi.http import Client, build_connect, find_refill
from nvoi.log.masking import add_secrets
from nvoi.parallel import CancelledError, Task
from tests.ports import find_port
from tests.waiting import PATIENCE


class Heard(list[str]):
    """What a client tells of trouble."""

    def __call__(self, error: RequestError | None) -> None:
        self.append(error.message if error else "well")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client(httpserver: HTTPServer, heard: Heard) -> Client:
    def connect() -> HTTPConnectionPool:
        return HTTPConnectionPool(httpserver.host, httpserver.port)

    return Client(connect, pause=0.01, listen=heard)


def drop(request: Request) -> Response:
    """Lose the connection before the answer."""
    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response()


def answer_in_turn(httpserver: HTTPServer, *answers: Callable[[Request], Response]) -> None:
    for one in answers:
        httpserver.expect_ordered_request("/x").respond_with_handler(one)


def well(request: Request) -> Response:
    return Response('{"a": 1}')


def busy(request: Request) -> Response:
    return Response("", 503, headers={"Retry-After": "0"})


def test_json_is_sent_and_read(client: Client, httpserver: HTTPServer, heard: Heard) -> None:
    httpserver.expect_request(
        "/x", method="PATCH", query_string={"q": "a b"}, json={"b": [1]}, headers={"X-Y": "z"}
    ).respond_with_json({"a": 1})
    answer = client.request(
        "PATCH", "/x", query={"q": "a b"}, body={"b": [1]}, headers={"X-Y": "z"}
    )
    assert answer.read() == {"a": 1}
    assert heard == []


def test_one_who_does_not_answer_is_asked_again_and_told_once(
    client: Client, httpserver: HTTPServer, heard: Heard
) -> None:
    answer_in_turn(httpserver, drop, busy, drop, well)
    assert client.request("GET", "/x").read() == {"a": 1}
    assert heard == ["the connection was refused or lost", "well"]
    assert client.trouble is None


def test_one_who_never_answers_is_given_up(client: Client, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_handler(drop)
    with pytest.raises(RequestError, match="refused or lost") as caught:
        client.request("GET", "/x", patience=0.1)
    assert caught.value.is_silence


def test_a_port_where_nobody_listens_is_told_in_the_system_s_words() -> None:
    client = Client(lambda: HTTPConnectionPool("127.0.0.1", find_port()))
    with pytest.raises(RequestError, match="refused or lost: Connection refused") as caught:
        client.request("GET", "/x?token=s3cr3t", headers={"X": "s3cr3t"}, patience=0)
    assert caught.value.is_silence
    assert "s3cr3t" not in str(caught.value)


def test_what_may_have_been_heard_is_not_sent_again_unless_nothing_was_done(
    client: Client, httpserver: HTTPServer
) -> None:
    answer_in_turn(httpserver, busy, well, drop)
    assert client.request("POST", "/x", body={}).status == 200
    with pytest.raises(RequestError, match="refused or lost"):
        client.request("POST", "/x", body={})
    httpserver.check()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        # As long as it says: urllib3 would come back after 6 hours.
        ("100000", 100_000),
        ("9" * 5000, 1_000_000),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 1_000_000),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0),
        ("-7", 0),
        ("1.5", 0),
        ("soon", 0),
    ],
)
def test_a_server_is_left_alone_for_as_long_as_it_asks(
    client: Client,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    header: str,
    seconds: int,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("nvoi.parallel.sleep", slept.append)
    answer_in_turn(httpserver, lambda _: Response("", 429, headers={"Retry-After": header}), well)
    client.request("GET", "/x", patience=2_000_000)
    assert [min(int(each), 1_000_000) for each in slept] == [seconds]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"message": "no such thing"}', "HTTP 404: no such thing"),
        ('{"error": {"code": "gone", "message": "it is gone"}}', "HTTP 404: it is gone"),
        ('{"errors": [{"message": "first"}, {"message": "second"}]}', "HTTP 404: first"),
        ('{"errors": [{"code": "DENIED", "message": "no"}]}', "HTTP 404: DENIED: no"),
        ('{"message": "the pass word is s3cr3t-0f-it"}', "HTTP 404: the pass word is [REDACTED]"),
        (r'{"message": "no\r\n[ERROR]\u2028 no\u001b[2J\u0007"}', "HTTP 404: no [ERROR] no\ufffd"),
        ("<html>s3cr3t", "HTTP 404"),
        ('["s3cr3t"]', "HTTP 404"),
    ],
)
def test_a_refusal_is_told_at_once_in_the_server_s_words(
    client: Client, httpserver: HTTPServer, body: str, message: str
) -> None:
    add_secrets("s3cr3t-0f-it")
    httpserver.expect_oneshot_request("/x").respond_with_data(body, 404)
    with pytest.raises(RequestError) as caught:
        client.request("GET", "/x")
    assert (caught.value.message, caught.value.status) == (message, 404)


def test_an_answer_that_is_no_json_shows_nothing_of_it(
    client: Client, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/x").respond_with_data("s3cr3t")
    with pytest.raises(RequestError) as caught:
        client.request("GET", "/x").read()
    assert caught.value.message == "the answer cannot be read: JSONDecodeError"


def test_a_way_that_is_lost_is_opened_again_but_one_that_never_was_or_is_shut_is_an_error(
    httpserver: HTTPServer,
) -> None:
    httpserver.expect_oneshot_request("/x").respond_with_handler(drop)
    httpserver.expect_request("/x").respond_with_handler(well)
    lost = ConnectionLostError("lost")
    failures: list[Exception | None] = [lost, None, lost, None, AccessError("no")]

    def connect() -> HTTPConnectionPool:
        failure = failures.pop(0)
        if failure is not None:
            raise failure
        return HTTPConnectionPool(httpserver.host, httpserver.port)

    client = Client(connect, pause=0.01)
    with pytest.raises(ConnectionLostError):
        client.request("GET", "/x")
    assert client.request("GET", "/x").status == 200
    client.close()
    with pytest.raises(AccessError):
        client.request("GET", "/x")


def test_a_server_that_cannot_be_trusted_is_told_at_once() -> None:
    own, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("127.0.0.1").configure_cert(context)
    trust = ssl.create_default_context(cadata=other.cert_pem.bytes().decode())
    with HTTPServer(ssl_context=context) as server:
        port = server.port
        client = Client(lambda: HTTPSConnectionPool("127.0.0.1", port, ssl_context=trust))
        with pytest.raises(RequestError, match="its certificate is not to be trusted"):
            client.request("GET", "/x")


def test_an_answer_is_read_as_it_comes_until_who_reads_is_cancelled() -> None:
    is_over = threading.Event()
    pieces: list[bytes] = []

    def send() -> Iterator[bytes]:
        yield b"one\n"
        yield b"two\n"
        is_over.wait()

    def read() -> None:
        with client.stream("/x") as found:
            for piece in found:
                pieces.append(piece)
                if piece == b"two\n":
                    task.cancel()

    with HTTPServer(threaded=True) as server:
        server.expect_request("/x").respond_with_handler(lambda _: Response(send()))
        client = Client(lambda: HTTPConnectionPool(server.host, server.port))
        task = Task(read)
        task.start()
        with pytest.raises(CancelledError):
            task.future.result(timeout=PATIENCE)
        is_over.set()
    assert pieces == [b"one\n", b"two\n"]


def test_a_public_server_is_asked_again_after_its_connection_was_lost(
    httpserver: HTTPServer,
) -> None:
    answer_in_turn(httpserver, drop, well)
    client = Client(build_connect(httpserver.url_for("/"), {}), pause=0.01)
    assert client.request("GET", "/x").read() == {"a": 1}


@pytest.mark.parametrize("url", ["", "host", "ftp://host"])
def test_what_is_no_address_of_a_server_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="it is no URL"):
        build_connect(url, {})


def test_a_post_is_repeated_where_the_refusal_says_that_nothing_was_done(
    httpserver: HTTPServer,
) -> None:
    def locked(request: Request) -> Response:
        return Response('{"error": {"code": "locked", "message": "busy"}}', 423)

    answer_in_turn(httpserver, locked, well)
    client = Client(
        lambda: HTTPConnectionPool(httpserver.host, httpserver.port),
        pause=0.01,
        is_temporary=lambda error: error.status == 423,
        is_undone=lambda error: error.status == 423,
    )
    assert client.request("POST", "/x", body={}).read() == {"a": 1}


def test_bytes_are_sent_as_they_are_and_all_else_as_json(httpserver: HTTPServer) -> None:
    kinds = {"Content-Type": "text/plain"}
    httpserver.expect_request("/x", method="PATCH", data="#plain", headers=kinds).respond_with_data(
        ""
    )
    httpserver.expect_request("/x", method="PATCH", json={"a": 1}).respond_with_data("")
    client = Client(build_connect(httpserver.url_for("/"), {}))
    assert client.request("PATCH", "/x", body=b"#plain", headers=kinds).status == 200
    assert client.request("PATCH", "/x", body={"a": 1}).status == 200


@pytest.mark.parametrize(
    ("remaining", "seconds"), [("0", 1.0), ("3599", 3600.0), ("none", 0.0), ("3600", 3600.0)]
)
def test_a_limit_that_grows_again_says_when_to_come_back(remaining: str, seconds: float) -> None:
    reset = int(time.time()) + 3600
    headers = {
        "RateLimit-Limit": "3600",
        "RateLimit-Remaining": remaining,
        "RateLimit-Reset": str(reset),
    }
    found = find_refill(headers)
    assert (float(found) if found else 0.0) == pytest.approx(seconds, abs=2)
