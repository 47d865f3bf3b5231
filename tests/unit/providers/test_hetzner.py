"""What Hetzner sells and shows, as records."""

from __future__ import annotations

from decimal import Decimal

from hcloud.servers import IPv4Address, IPv6Network, PublicNetwork

from nvoi.naming import build_key_name
from nvoi.providers.hetzner.api import describe_failure
from nvoi.providers.hetzner.inventory import find_address
from nvoi.providers.hetzner.offers import Catalog, Offer
from nvoi.providers.hetzner.plan import build_fingerprint
from nvoi.providers.hetzner.situation import describe_shortage, join

#: A key and its MD5, by `ssh-keygen -l -E md5`.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
MD5 = "cf:07:be:9d:68:ae:65:54:6d:a0:93:c3:6f:bd:0d:82"


def build_offer(type_: str, location: str, cores: int, price: str, *, stock: bool = True) -> Offer:
    zone = "us-east" if location == "ash" else "eu-central"
    shape = (type_, location, "x86", cores, 2.0 * cores, Decimal(price), "EUR")
    return Offer(*shape, zone=zone, is_available=stock)


def build_catalog(*offers: Offer) -> Catalog:
    zones = {one.location: one.zone for one in offers}
    return Catalog(offers, zones, "EUR", {"fsn1": Decimal("0.6")}, Decimal("0.05"), 1)


def build_public(four: IPv4Address | None, six: IPv6Network | None) -> PublicNetwork:
    return PublicNetwork(four, six, [], None, None)


GONE = build_offer("cx33", "fsn1", 4, "7", stock=False)


def test_the_nearest_type_is_the_cheapest_that_is_as_large() -> None:
    catalog = build_catalog(
        GONE,
        build_offer("cx23", "fsn1", 2, "4"),
        build_offer("cx53", "fsn1", 16, "20"),
        build_offer("cx43", "fsn1", 8, "12"),
        build_offer("cx33", "ash", 4, "5"),
        build_offer("cx33", "nbg1", 4, "9"),
    )
    assert [(one.name, one.location) for one in catalog.list_alternatives(GONE)] == [
        ("cx43", "fsn1"),
        # The same network zone comes before a lower price.
        ("cx33", "nbg1"),
    ]


def test_where_nothing_is_as_large_the_largest_is_the_nearest() -> None:
    catalog = build_catalog(
        GONE, build_offer("cx13", "fsn1", 1, "3"), build_offer("cx23", "fsn1", 2, "4")
    )
    told = describe_shortage(GONE, catalog)
    assert told == "cx33 is out of stock in fsn1; there is cx23 in fsn1 for EUR 4.00 a month"
    assert describe_shortage(GONE, build_catalog(GONE)) == "cx33 is out of stock in fsn1"


def test_a_server_costs_as_much_as_its_type_while_that_is_sold_and_its_address() -> None:
    catalog = build_catalog(GONE)
    assert catalog.get_server_price("cx33", "fsn1") == Decimal("7.6")
    assert catalog.get_server_price("cx22", "fsn1") == Decimal("0.6")


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


def test_a_list_of_right_values_has_an_end() -> None:
    assert join(["b", "a", "b"]) == "a, b"
    assert join(f"{number:02}" for number in range(30)).endswith("19, …")
    assert join([]) == "none"
