"""The public check: what answers mean, and how long it goes on."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
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


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[Way]:
    """Have one connection served so; the way there."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                serve(connection)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield lead_to(server.getsockname()[1])
        thread.join()


def lead_to(port: int, **settings: Any) -> Way:
    return Way("here", lambda: urllib3.HTTPSConnectionPool("127.0.0.1", port, **settings))


def test_a_certificate_of_another_name_is_told_as_tls(edge: Edge) -> None:
    tls = network.build_tls({"SSL_CERT_FILE": str(edge.authority)})
    way = lead_to(edge.port, ssl_context=tls, server_hostname="other.example.com")
    with pytest.raises(BadAnswerError, match=r"^TLS: the certificate is not good for www"):
        ask_once(SITE, way)


def test_a_certificate_that_nobody_vouches_for_is_told_as_tls(edge: Edge) -> None:
    environ = {"HTTPS_PROXY": edge.environ["HTTPS_PROXY"]}
    with pytest.raises(BadAnswerError, match=r"^TLS: the certificate is not good for www"):
        ask_once(SITE, Way("here", build_connect(SITE.url, environ)))


def test_traefiks_own_certificate_is_told_as_one_that_has_yet_to_come(tmp_path: Path) -> None:
    # It has signed itself, as the one of an authority.
    authority, file = trustme.CA(), tmp_path / "own.pem"
    file.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    with (
        listening(lambda one: tls.wrap_socket(one, server_side=True).close()) as way,
        pytest.raises(
            BadAnswerError, match=f"^TLS: there is no certificate for {NAME} yet"
        ) as told,
    ):
        ask_once(SITE, way)
    assert "at port 80 of the first server" in told.value.hint


def test_what_speaks_no_tls_is_told_as_tls() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        listening(answer) as way,
        pytest.raises(BadAnswerError, match=r"^TLS: no connection can be made"),
    ):
        ask_once(SITE, way)


def test_who_does_not_answer_is_told_by_what_is_known_of_the_name() -> None:
    with pytest.raises(BadAnswerError, match=r"^DNS: www.example.com has no address there"):
        ask_once(SITE, Way("here", build_connect("https://name.invalid", {})))
    with socket.create_server(("127.0.0.1", 0)) as server:
        way = lead_to(server.getsockname()[1])
    with pytest.raises(BadAnswerError, match=r"^the connection was refused or lost"):
        ask_once(SITE, way)
    # Through a server of the cluster nothing but the end of the connection is seen.
    with pytest.raises(BadAnswerError, match=r"^DNS: "):
        ask_once(SITE, replace(way, resolves=lambda: False))
