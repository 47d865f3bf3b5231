"""The way to a receiver: TLS, CA bundles and proxies, as the environment names them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from nvoi.cli.undelivered import open_undelivered
from nvoi.protocol import StatusEvent
from tests.fakes.proxy import Proxy
from tests.fakes.receiver import Receiver
from tests.integration.log.accounts import get_messages, read_records, read_states
from tests.integration.streams import KEY, Run
from tests.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("bare_network")

#: A name that nobody but the test's proxy can resolve (RFC 2606).
NAME = "dashboard.test"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Receiver]:
    """A receiver with a certificate of the authority, for its address and its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", NAME).configure_cert(context)
    with Receiver(KEY, tls=context) as made:
        yield made


def tell(url: str, folder: Path, budget: float = 10.0) -> Run:
    """A whole run of one line."""
    with Run(url, folder, budget=budget) as run:
        run.log.info("hello")
    return run


def rename(url: str) -> str:
    """``url`` by the name that only the proxy knows."""
    return url.replace("127.0.0.1", NAME)


def get_port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_is_trusted_by_the_bundle_that_the_environment_names(
    secure: Receiver, bundle: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(bundle))
    run = tell(secure.url, tmp_path)
    secure.assert_protocol()
    assert secure.messages == ["hello"]
    assert secure.connections == 1
    assert run.file is None


@pytest.mark.parametrize(("name", "is_trusted"), [("127.0.0.1", False), ("elsewhere.test", True)])
def test_a_certificate_that_cannot_be_trusted_is_refused(
    authority: trustme.CA,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    *,
    name: str,
    is_trusted: bool,
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with Receiver(KEY, tls=context) as receiver:
        run = tell(receiver.url, tmp_path, budget=1.5)
        assert receiver.counts.requests == 0
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "certificate" in told[0]
    assert len(told) == 2


def test_a_receiver_that_speaks_no_tls_gets_nothing_over_https(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    run = tell(receiver.url.replace("http://", "https://"), tmp_path, budget=1.5)
    assert receiver.counts.requests == 0
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "TLS" in told[0]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_http_goes_through_the_proxy(
    receiver: Receiver, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy({NAME: get_port(receiver.url)}) as proxy:
        monkeypatch.setenv(name, proxy.url)
        run = tell(rename(receiver.url), tmp_path)
        assert {request.method for request in proxy.requests} == {"POST"}
        assert len(proxy.requests) == 3
    receiver.assert_protocol()
    assert receiver.messages == ["hello"]
    assert run.file is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_goes_through_the_proxy_by_connect(
    secure: Receiver,
    bundle: Path,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with Proxy({NAME: get_port(secure.url)}) as proxy:
        monkeypatch.setenv(name, proxy.url.replace("http://", "http://user:proxy-pass@"))
        tell(rename(secure.url), tmp_path)
        (asked,) = proxy.requests
        assert (asked.method, asked.target) == ("CONNECT", f"{NAME}:{get_port(secure.url)}")
        assert asked.headers["proxy-authorization"].startswith("Basic ")
    secure.assert_protocol()
    assert secure.messages == ["hello"]
    assert all("proxy-authorization" not in request.headers for request in secure.requests)


@pytest.mark.parametrize("exception", [NAME, f"other.test,{NAME}", "*"])
def test_no_proxy_names_what_is_reached_directly(
    receiver: Receiver, exception: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the test's name cannot be: only the proxy knows it."""
    with Proxy({NAME: get_port(receiver.url)}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exception)
        run = tell(rename(receiver.url), tmp_path, budget=0.5)
        assert proxy.requests == []
    assert get_messages(read_records(run.file)) == ["hello"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_directly_whatever_the_proxy(
    receiver: Receiver, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy:
        for name in ("HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        tell(receiver.url.replace("127.0.0.1", host), tmp_path)
        assert proxy.requests == []
    assert receiver.messages == ["hello"]


def test_a_proxy_that_does_not_connect_is_named_as_the_trouble(
    secure: Receiver, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://user:proxy-pass@"))
        run = tell(rename(secure.url), tmp_path, budget=0.5)
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "proxy" in told[0]
    assert "proxy-pass" not in "".join(told)


@pytest.mark.parametrize("url", ["gopher://x.test:1", "http://pass-word@:x", "::"])
def test_a_proxy_that_cannot_be_used_costs_the_callback_and_nothing_else(
    receiver: Receiver, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    run = tell(rename(receiver.url), tmp_path, budget=0.5)
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "proxy" in told[0]
    assert "pass-word" not in "".join(told)


def test_a_ca_bundle_that_cannot_be_read_costs_the_callback_and_nothing_else(
    secure: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    run = tell(secure.url, tmp_path, budget=0.5)
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "missing.pem" in told[0]


def test_a_user_in_the_url_is_sent_as_credentials_and_shown_to_nobody(
    receiver: Receiver, tmp_path: Path, told: list[str]
) -> None:
    tell(receiver.url.replace("http://", "http://someone:pass-word@"), tmp_path)
    receiver.assert_protocol()
    assert receiver.requests[0].headers["authorization"] == "Basic c29tZW9uZTpwYXNzLXdvcmQ="
    receiver.pause()
    tell(receiver.url.replace("http://", "http://someone:pass-word@"), tmp_path, budget=0.3)
    assert "pass-word" not in "".join(told)


def test_a_host_that_has_no_address_is_told_as_that(tmp_path: Path, told: list[str]) -> None:
    run = tell(f"http://{NAME}/api", tmp_path, budget=0.5)
    assert get_messages(read_records(run.file)) == ["hello"]
    assert "could not be resolved" in told[0] or "no answer in time" in told[0]


def test_a_trailing_slash_and_a_path_are_part_of_the_address(tmp_path: Path) -> None:
    for path in ("", "/a/b"):
        with Receiver(KEY, path=path) as receiver:
            tell(f"{receiver.url}/", tmp_path)
            receiver.assert_protocol()
            assert receiver.requests[0].path == f"{path}/run-1/status"


# -- stock verifiers ---------------------------------------------------------------------------


class Resolver:
    """A name server that does not answer until told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = threading.Event()
        self._asked: set[threading.Thread] = set()
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, *_: object, **__: object) -> None:
        self._asked.add(threading.current_thread())
        self._answers.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    def answer(self) -> None:
        """Say that there is no such name, and wait until those who asked have ended."""
        self._answers.set()
        for thread in self._asked:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_what_a_library_raises_that_blocks_the_network_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(*_: object, **__: object) -> None:
        raise RuntimeError("no sockets in unit tests")

    monkeypatch.setattr(socket, "getaddrinfo", block)
    run = tell(f"http://{NAME}/api/deploys", tmp_path, budget=5.0)
    assert set(run.stream.stats().troubles) == {"fault"}
    assert get_messages(read_records(run.file)) == ["hello"]
    assert read_states(run.file) == ["started", "completed"]


def test_a_look_up_that_no_deadline_reaches_is_left_behind_and_nothing_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    run = tell(f"http://{NAME}/api/deploys", tmp_path, budget=0.3)
    assert get_messages(read_records(run.file)) == ["hello"]
    resolver.answer()
    # What the thread had in hand is kept once, by whoever closed.
    assert set(run.stream.stats().troubles) == {"unreachable"}
    entries = [json.loads(line) for line in run.get_file().read_text().splitlines()[1:]]
    assert len({entry["id"] for entry in entries}) == len(entries)
    with open_undelivered(run.get_file()) as content:
        requests = list(content.read_requests())
    kept = [line for request in requests for line in getattr(request, "lines", ())]
    assert [json.loads(line)["message"] for line in kept] == ["hello"]
    states = [one.payload["status"] for one in requests if isinstance(one, StatusEvent)]
    assert states == ["started", "completed"]
