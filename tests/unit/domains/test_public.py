"""The public check: what answers mean, and how long it goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from nvoi import network
from nvoi.domains.domain import Site
from nvoi.domains.public import (
    SECONDS,
    BadAnswerError,
    Seen,
    Way,
    ask_once,
    judge,
    wait_for_answers,
)
from nvoi.errors import ServiceError
from nvoi.http import build_connect
from tests.fakes.edge import Edge

NAME = "www.example.com"
SITE = Site("web", "example.com", (NAME,), "shop-web", 80, "/up")
ANY = Site("web", "example.com", (NAME,), "shop-web", 80)
CLOUDFLARE = {"server": "cloudflare"}
PAGE = (
    '<title>www.example.com | 502: Bad gateway</title><div id="cf-error-details">Error 1033</div>'
)


class Clock:
    """A time that goes on while one sleeps, `pace` times as fast."""

    def __init__(self, pace: float) -> None:
        self.now = 0.0
        self._pace = pace

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self._pace


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    with Edge(NAME, folder=tmp_path) as found:
        yield found


def lead(edge: Edge) -> Way:
    """The way of a machine with a proxy before it."""
    return Way("here", build_connect(SITE.url, edge.environ))


def wait(way: Way, pace: float = 1.0) -> Clock:
    clock = Clock(pace)
    wait_for_answers(SITE, way, clock=lambda: clock.now, sleep=clock.sleep)
    return clock


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_an_answer_as_the_healthcheck_takes_it_is_good(status: int) -> None:
    assert judge(SITE, Seen(status, CLOUDFLARE, "")) == ""


def test_without_a_healthcheck_any_answer_of_the_apps_will_do_that_is_no_error_of_its() -> None:
    assert judge(ANY, Seen(404, CLOUDFLARE, "no such page")) == ""
    with pytest.raises(BadAnswerError, match=r"the app answered 500 to /$"):
        judge(ANY, Seen(500, CLOUDFLARE, "oh no"))


@pytest.mark.parametrize(
    ("status", "headers", "text", "words"),
    [
        (530, CLOUDFLARE, "error code: 1033", "error 1033: no cloudflared is connected"),
        (530, CLOUDFLARE, PAGE, "error 1033: no cloudflared is connected"),
        (530, CLOUDFLARE, "error code: 1016", "error 1016: the DNS record leads to a tunnel"),
        (409, CLOUDFLARE, "error code: 1014", "error 1014: the DNS record leads to a tunnel of an"),
        (530, CLOUDFLARE, "", "Cloudflare's own page, error 530"),
        (502, CLOUDFLARE, "error code: 502", "error 502: cloudflared does not reach the service"),
        (522, CLOUDFLARE, "error code: 522", "Cloudflare's own page, error 522"),
        (502, CLOUDFLARE, '{"error": "upstream"}', "the app answered 502 to /up"),
        (503, CLOUDFLARE, "an error 1033 was seen here by the app itself", "the app answered 503"),
        (404, CLOUDFLARE, "", "the app answered 404 to /up"),
        (502, {}, "error code: 502", "the app answered 502 to /up"),
    ],
)
def test_cloudflares_own_pages_are_told_from_the_apps(
    status: int, headers: dict[str, str], text: str, words: str
) -> None:
    with pytest.raises(BadAnswerError) as caught:
        judge(SITE, Seen(status, headers, text))
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (CLOUDFLARE | {"cf-mitigated": "challenge"}, "Just a moment..."),
        (CLOUDFLARE, "error code: 1020"),
    ],
)
def test_who_is_turned_away_by_the_accounts_own_rules_says_what_it_did_not_see(
    headers: dict[str, str], text: str
) -> None:
    assert "rules turn it away" in judge(SITE, Seen(403, headers, text))


def test_three_good_answers_in_a_row_are_waited_for(edge: Edge) -> None:
    statuses = iter([200, 503, 200, 200, 200])
    answers: list[int] = []

    class Turns(list[tuple[str, str]]):
        def append(self, item: tuple[str, str]) -> None:
            edge.status = next(statuses)
            answers.append(edge.status)

    edge.requests = Turns()
    clock = wait(lead(edge))
    assert answers == [200, 503, 200, 200, 200]
    assert 0 < clock.now < SECONDS


def test_it_is_given_up_after_a_minute_with_what_was_seen_last(edge: Edge) -> None:
    edge.status, edge.text = 530, "error code: 1033"
    with pytest.raises(ServiceError) as caught:
        wait(lead(edge), pace=20)
    message = "https://www.example.com does not answer well from here: Cloudflare's own page, error"
    assert caught.value.message.startswith(message)
    assert "cloudflared pods print" in caught.value.hint


def test_what_is_asked_is_what_a_visitor_asks(edge: Edge) -> None:
    wait(lead(edge))
    assert edge.requests == [(NAME, "/up")] * 3


def test_a_name_without_an_address_is_told_as_dns(edge: Edge) -> None:
    with pytest.raises(BadAnswerError, match=r"^DNS: www.example.com has no address there"):
        ask_once(SITE, Way("here", build_connect("https://name.invalid", {})))
    # Through a server of the cluster nothing but the end of the connection is seen.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    way = Way("the cluster", lambda: urllib3.HTTPSConnectionPool("127.0.0.1", port), lambda: False)
    with pytest.raises(BadAnswerError, match=r"^DNS: "):
        ask_once(SITE, way)


def test_a_certificate_of_another_name_is_told_as_tls(edge: Edge) -> None:
    def connect() -> urllib3.HTTPSConnectionPool:
        context = network.build_tls({"SSL_CERT_FILE": str(edge.authority)})
        return urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            edge.port,
            ssl_context=context,
            server_hostname="other.example.com",
        )

    with pytest.raises(BadAnswerError, match=r"^TLS: the certificate is not good for www"):
        ask_once(SITE, Way("the cluster", connect))


def test_a_certificate_that_nobody_vouches_for_is_told_as_tls(edge: Edge) -> None:
    environ = {"HTTPS_PROXY": edge.environ["HTTPS_PROXY"]}
    with pytest.raises(BadAnswerError, match=r"^TLS: the certificate is not good for www"):
        ask_once(SITE, Way("here", build_connect(SITE.url, environ)))


def test_what_speaks_no_tls_is_told_as_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def connect() -> urllib3.HTTPSConnectionPool:
            return urllib3.HTTPSConnectionPool("127.0.0.1", port)

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BadAnswerError, match=r"^TLS: no connection can be made"):
            ask_once(SITE, Way("here", connect))
        thread.join()


def test_nobody_who_answers_is_told_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    way = Way("here", lambda: urllib3.HTTPSConnectionPool("127.0.0.1", port))
    with pytest.raises(BadAnswerError, match=r"^the connection was refused or lost"):
        ask_once(SITE, way)
