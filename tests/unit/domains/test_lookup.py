"""Where host names lead, and what is wrong with that. Nothing is asked but what is in the tests."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from nvoi.domains.lookup import find_public, list_faults, look_up, look_up_all
from nvoi.errors import NvoiError

SERVER = "203.0.113.10"
BY_IPV4 = "and the ingress takes visitors by IPv4: remove it"
UNKNOWN = "the address at which visitors reach the first server"


def build_resolver(records: Mapping[str, object]) -> Any:
    """Answers as getaddrinfo(3) does; a number is its error."""

    def resolve(name: str, _port: None, **_: object) -> list[tuple[Any, ...]]:
        found = records.get(name, socket.EAI_NONAME)
        if isinstance(found, int):
            raise socket.gaierror(found, "Temporary failure in name resolution")
        assert isinstance(found, list)
        return [(0, 0, 0, "", (text, 0)) for text in found]

    return resolve


def find(*texts: str) -> list[Any]:
    return [ipaddress.ip_address(text) for text in texts]


def test_an_address_is_itself_and_asks_nobody() -> None:
    assert look_up("127.0.0.11") == (ipaddress.ip_address("127.0.0.11"),)


def test_names_are_looked_up_and_one_that_does_not_exist_has_no_address() -> None:
    records = {"a.example": [SERVER, SERVER], "b.example": ["fe80::1%eth0", SERVER]}
    found = look_up_all(["a.example", "b.example", "c.example"], build_resolver(records))
    assert found["a.example"] == (ipaddress.ip_address(SERVER),)
    assert set(found["b.example"]) == {*find("fe80::1", SERVER)}
    assert found["c.example"] == ()
    assert look_up(f"{'x' * 64}.example") == ()


def test_a_resolver_that_does_not_answer_is_no_missing_record() -> None:
    resolve = build_resolver({"a.example": socket.EAI_AGAIN})
    with pytest.raises(NvoiError, match=r"a\.example cannot be looked up from here: Temporary"):
        look_up("a.example", resolve)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (SERVER, [SERVER]),
        ("server.example", [SERVER]),
        ("127.0.0.11", ["127.0.0.11"]),
        ("10.0.0.5", []),
        ("100.64.1.1", []),
        ("2001:db8::1", []),
        ("nowhere.example", []),
    ],
)
def test_the_public_reaches_a_server_at_addresses_that_are_not_private(
    host: str, found: list[str]
) -> None:
    records = {"server.example": [SERVER, "2001:db8::1", "10.0.0.5"]}
    resolve = build_resolver({**records, **{one: [one] for one in (SERVER, "127.0.0.11")}})
    known = resolve if host in {*records, SERVER, "127.0.0.11", "nowhere.example"} else None
    assert [str(one) for one in find_public(host, known or socket.getaddrinfo)] == found


@pytest.mark.parametrize(
    ("found", "wanted", "told"),
    [
        ([SERVER], [SERVER], []),
        ([], [SERVER], ["a.example has no address: set an A record to 203.0.113.10"]),
        (
            ["198.51.100.7"],
            [SERVER],
            ["a.example leads to 198.51.100.7: have its A record be 203.0.113.10 alone"],
        ),
        (
            [SERVER, "198.51.100.7"],
            [SERVER],
            ["a.example leads to 198.51.100.7: have its A record be 203.0.113.10 alone"],
        ),
        (
            ["2001:db8::1"],
            [SERVER],
            [
                "a.example has no A record: set one to 203.0.113.10",
                f"a.example has an AAAA record, 2001:db8::1, {BY_IPV4}",
            ],
        ),
        (["198.51.100.7"], [], []),
        (
            [],
            [],
            [f"a.example has no address: set an A record to {UNKNOWN}"],
        ),
    ],
)
def test_records_that_lack_or_lead_elsewhere_are_told_with_the_values_to_set(
    found: list[str], wanted: list[str], told: list[str]
) -> None:
    assert [*list_faults("a.example", find(*found), find(*wanted))] == told
