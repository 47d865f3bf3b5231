"""Hosts and clients of requests."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.dashboard.context import Settings
from nvoi.dashboard.requests import (
    find_client,
    find_host,
    is_encrypted,
    is_foreign,
    is_forwarded,
    is_this_machine,
    names_own_host,
)

DIRECT = Settings()
PROXIED = Settings(trust_proxy=True)
PUBLIC = Settings(public_url="https://deploys.example.com")


def build_scope(*headers: tuple[str, str], client: str | None = "192.0.2.7") -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "http",
        "client": (client, 40000) if client else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("127.9.8.7", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("LocalHost.", True),
        # A name that somebody may make to lead here, or that leads elsewhere.
        ("dev.localhost", False),
        ("127.0.0.1.example.com", False),
        ("127.0.0.0/8", False),
        ("2130706433", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_localhost_and_its_addresses_are_this_machine(host: str, *, is_so: bool) -> None:
    assert is_this_machine(host) is is_so


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("LOCALHOST:8787", "localhost"),
        ("[::1]:8787", "::1"),
        ("example.com:", "example.com"),
        ("", None),
        ("::1", None),
        ("localhost@evil.example", None),
        ("localhost evil.example", None),
        ("localhost:80:80", None),
        ("[::1]evil.example", None),
        ("localhost:99999999", None),
    ],
)
def test_the_host_is_read_strictly(header: str, host: str | None) -> None:
    assert find_host(build_scope(("host", header))) == host
    assert find_host(build_scope(("host", header), ("host", header))) is None


@pytest.mark.parametrize(
    ("url", "host", "is_so"),
    [
        ("https://deploys.example.com:8443", "Deploys.Example.Com.:443", True),
        ("https://deploys.example.com", "127.0.0.1:8787", True),
        ("https://deploys.example.com", "deploys.example.com.evil.example", False),
        ("https://deploys.example.com", "", False),
        ("https://d\xe9p\xf4t.example", "xn--dpt-bma0d.example", True),
        ("http://[2001:db8::1]:8787", "[2001:DB8::1]:8787", True),
        ("http://[2001:db8::1]:8787", "[2001:db8::2]", False),
    ],
)
def test_a_request_is_for_the_public_urls_host_or_this_machine(
    url: str, host: str, *, is_so: bool
) -> None:
    assert names_own_host(build_scope(("host", host)), url) is is_so


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "forwarded", "x-forwarded-host", "x-real-ip", "via"]
)
def test_a_proxy_is_known_by_what_it_adds(name: str) -> None:
    assert is_forwarded(build_scope((name, "anything")))


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        (["198.51.100.1", "203.0.113.1"], "203.0.113.1"),
        (["198.51.100.1:80, 203.0.113.1:40001"], "203.0.113.1"),
        (["2001:db8::1"], "2001:db8::/64"),
        (["[2001:db8::1]:40001"], "2001:db8::/64"),
        (["203.0.113.1, unknown"], "192.0.2.7"),
        (["203.0.113.1:x"], "192.0.2.7"),
        ([], "192.0.2.7"),
    ],
)
def test_the_client_is_the_last_hop_behind_a_trusted_proxy_alone(
    values: list[str], client: str
) -> None:
    scope = build_scope(*(("x-forwarded-for", value) for value in values))
    assert find_client(scope, PROXIED) == client
    assert find_client(scope, DIRECT) == "192.0.2.7"


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        (None, "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_a_client_is_an_address_or_the_network_of_one(address: str | None, client: str) -> None:
    assert find_client(build_scope(client=address), DIRECT) == client


@pytest.mark.parametrize(
    ("settings", "proto", "is_so"),
    [
        (DIRECT, "https", False),
        (PROXIED, "https", True),
        (PROXIED, "https, http", False),
        (PROXIED, "", False),
        (PUBLIC, "", True),
        (Settings(public_url="http://deploys.example.com"), "https", False),
    ],
)
def test_whether_readers_speak_https(settings: Settings, proto: str, *, is_so: bool) -> None:
    assert is_encrypted(build_scope(("x-forwarded-proto", proto)), settings) is is_so


@pytest.mark.parametrize(
    ("headers", "is_so"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://127.0.0.1:8787"}, False),
        ({"origin": "HTTPS://Deploys.Example.com"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8787"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"origin": "http://127.0.0.1:9999"}, True),
        ({"origin": "https://deploys.example.com.evil.example"}, True),
        ({"origin": "https://evil.example", "x-forwarded-host": "evil.example"}, True),
    ],
)
def test_forms_of_other_sites_are_foreign(headers: dict[str, str], *, is_so: bool) -> None:
    scope = build_scope(("host", "127.0.0.1:8787"), *headers.items())
    assert is_foreign(scope, PUBLIC) is is_so


def test_a_trusted_proxy_tells_the_host_that_it_was_asked_for() -> None:
    scope = build_scope(("origin", "https://d.example"), ("x-forwarded-host", "d.example"))
    assert not is_foreign(scope, PROXIED)
