"""Paths, hosts and clients of requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvoi.dashboard.context import Settings
from nvoi.dashboard.requests import (
    find_client,
    find_host,
    is_asked_for,
    is_encrypted,
    is_foreign,
    is_forwarded,
    is_loopback,
)

DIRECT = Settings(Path("db"))
PROXIED = Settings(Path("db"), trust_proxy=True)


def build_scope(*headers: tuple[str, str], client: str | None = "192.0.2.7") -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "http",
        "client": (client, 40000) if client else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "LocalHost.", "::ffff:127.0.0.1"]
)
def test_names_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "2130706433",
        "example.com",
    ],
)
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8787", "localhost"),
        ("[::1]:8787", "::1"),
        ("[::1]", "::1"),
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


def test_two_hosts_are_none() -> None:
    assert find_host(build_scope(("host", "localhost"), ("host", "localhost"))) is None


@pytest.mark.parametrize(
    ("url", "host", "is_so"),
    [
        ("https://deploys.example.com", "deploys.example.com", True),
        ("https://deploys.example.com", "Deploys.Example.Com.:443", True),
        ("https://deploys.example.com:8443", "deploys.example.com", True),
        ("https://deploys.example.com", "127.0.0.1:8787", True),
        ("https://deploys.example.com", "evil.example", False),
        ("https://deploys.example.com", "deploys.example.com.evil.example", False),
        ("https://deploys.example.com", "", False),
        ("https://d\xe9p\xf4t.example", "xn--dpt-bma0d.example", True),
        ("http://[2001:db8::1]:8787", "[2001:DB8::1]:8787", True),
        ("http://[2001:db8::1]:8787", "[2001:db8::2]", False),
    ],
)
def test_a_request_is_for_the_public_urls_host_or_this_machine(
    url: str, host: str, is_so: bool
) -> None:
    assert is_asked_for(build_scope(("host", host)), url) is is_so


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "forwarded", "x-forwarded-host", "x-real-ip", "via"]
)
def test_a_proxy_is_known_by_what_it_adds(name: str) -> None:
    assert is_forwarded(build_scope((name, "anything")))


def test_forwarded_addresses_mean_nothing_without_a_trusted_proxy() -> None:
    scope = build_scope(("x-forwarded-for", "203.0.113.1"))
    assert find_client(scope, DIRECT) == "192.0.2.7"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["203.0.113.1"], "203.0.113.1"),
        (["198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        (["198.51.100.1", "203.0.113.1"], "203.0.113.1"),
        (["198.51.100.1:80, 203.0.113.1:40001"], "203.0.113.1"),
        (["2001:db8::1"], "2001:db8::/64"),
        (["[2001:db8::1]"], "2001:db8::/64"),
        (["[2001:db8::1]:40001"], "2001:db8::/64"),
        (["203.0.113.1, unknown"], "192.0.2.7"),
        (["203.0.113.1:x"], "192.0.2.7"),
        ([""], "192.0.2.7"),
        ([], "192.0.2.7"),
    ],
)
def test_behind_a_trusted_proxy_the_client_is_the_last_hop(values: list[str], client: str) -> None:
    scope = build_scope(*(("x-forwarded-for", value) for value in values))
    assert find_client(scope, PROXIED) == client


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    one, two = build_scope(client="2001:db8:1:2::1"), build_scope(client="2001:db8:1:2:a:b:c:d")
    other = build_scope(client="2001:db8:1:3::1")
    assert find_client(one, DIRECT) == find_client(two, DIRECT)
    assert find_client(one, DIRECT) != find_client(other, DIRECT)


def test_an_ipv4_address_is_the_same_in_its_ipv6_form() -> None:
    assert find_client(build_scope(client="::ffff:192.0.2.7"), DIRECT) == "192.0.2.7"


@pytest.mark.parametrize("client", [None, "testclient"])
def test_a_client_without_an_address_has_a_name_all_the_same(client: str | None) -> None:
    assert find_client(build_scope(client=client), DIRECT) == "unknown"


@pytest.mark.parametrize(
    ("settings", "proto", "is_so"),
    [
        (DIRECT, "https", False),
        (PROXIED, "https", True),
        (PROXIED, "http", False),
        (PROXIED, "https, http", False),
        (PROXIED, "", False),
        (Settings(Path("db"), public_url="https://deploys.example.com"), "", True),
        (Settings(Path("db"), public_url="http://deploys.example.com"), "https", False),
    ],
)
def test_whether_readers_speak_https(settings: Settings, proto: str, is_so: bool) -> None:
    assert is_encrypted(build_scope(("x-forwarded-proto", proto)), settings) is is_so


PUBLIC = Settings(Path("db"), public_url="https://deploys.example.com")


def build_form(**headers: str) -> dict[str, Any]:
    pairs = ((name.replace("_", "-"), value) for name, value in headers.items())
    return build_scope(("host", "127.0.0.1:8787"), *pairs)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8787"},
        {"origin": "https://deploys.example.com"},
        {"origin": "HTTPS://Deploys.Example.com"},
    ],
)
def test_our_own_forms_are_not_foreign(headers: dict[str, str]) -> None:
    assert not is_foreign(build_form(**headers), PUBLIC)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8787"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://deploys.example.com.evil.example"},
        {"origin": "https://evil.example", "x_forwarded_host": "evil.example"},
    ],
)
def test_forms_of_other_sites_are_foreign(headers: dict[str, str]) -> None:
    assert is_foreign(build_form(**headers), PUBLIC)


def test_a_trusted_proxy_tells_the_host_that_it_was_asked_for() -> None:
    scope = build_form(origin="https://d.example", x_forwarded_host="d.example")
    assert not is_foreign(scope, Settings(Path("db"), trust_proxy=True))
