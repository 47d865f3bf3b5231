"""What Hetzner shows, as records."""

from __future__ import annotations

from hcloud.servers import IPv4Address, IPv6Network, PublicNetwork

from nvoi.naming import build_key_name
from nvoi.providers.hetzner.api import describe_failure, find_address
from nvoi.providers.hetzner.plan import build_fingerprint

#: A key and its MD5, by `ssh-keygen -l -E md5`.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
MD5 = "cf:07:be:9d:68:ae:65:54:6d:a0:93:c3:6f:bd:0d:82"


def build_public(four: IPv4Address | None, six: IPv6Network | None) -> PublicNetwork:
    return PublicNetwork(four, six, [], None, None)


def test_a_server_without_an_ipv4_address_is_reached_by_the_first_of_its_network() -> None:
    six = IPv6Network("2001:db8::/64", blocked=False, dns_ptr=[])
    four = IPv4Address("198.18.0.1", blocked=False, dns_ptr="")
    assert find_address(build_public(four, six)) == "198.18.0.1"
    assert find_address(build_public(None, six)) == "2001:db8::1"
    assert find_address(build_public(None, None)) is None


def test_a_key_has_the_fingerprint_of_the_api_and_a_name_of_its_own() -> None:
    assert build_fingerprint(KEY) == MD5
    assert build_key_name("shop", KEY).startswith("nvoi-shop-key-")
    assert build_key_name("shop", KEY) != build_key_name("shop", f"{KEY}B")
    assert len(build_key_name("x" * 99, KEY)) < 128


def test_why_an_action_has_failed_is_one_line() -> None:
    told = {"command": "create_server", "error": {"message": "no\n[ERROR] more"}}
    assert describe_failure(told) == "create_server failed: no [ERROR] more"
