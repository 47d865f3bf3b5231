"""The address of a node among the others, and networks that collide."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.k3s.facts import Facts
from nvoi.k3s.networks import choose_addresses, find_overlaps
from tests.unit.k3s.servers import (
    build_address,
    build_facts,
    build_k3s,
    build_route,
    build_server,
)

SERVERS = [build_server(1), build_server(2)]


def build(*addresses: str, source: str | None = None, **more: Any) -> Facts:
    """A server with addresses, each behind its device; it goes out with ``source``."""
    found = tuple(build_address(*one.split()) for one in addresses)
    return build_facts(1, addresses=found, **({"source": source} if source else {}), **more)


def choose(*found: Facts, private_ip: str | None = None) -> list[str]:
    servers = [build_server(1, private_ip=private_ip), SERVERS[1]][: len(found)]
    facts = {server.name: one for server, one in zip(servers, found, strict=True)}
    return [*choose_addresses(servers, facts).values()]


def test_a_private_network_that_all_share_is_preferred() -> None:
    found = [
        build(
            f"eth0 203.0.113.{number}/24",
            "docker0 172.17.0.1/16",
            f"eth1 10.0.0.{number}/16",
            source=f"203.0.113.{number}",
        )
        for number in (1, 2)
    ]
    assert choose(*found) == ["10.0.0.1", "10.0.0.2"]


def test_single_addresses_with_a_route_are_a_network() -> None:
    routes = (build_route("10.0.0.0/16", "enp7s0", is_direct=False),)
    found = [
        build(
            f"eth0 203.0.113.{number}/32",
            f"enp7s0 10.0.{number}.2/32",
            source=f"203.0.113.{number}",
            routes=routes,
        )
        for number in (1, 2)
    ]
    assert choose(*found) == ["10.0.1.2", "10.0.2.2"]


def test_without_one_it_is_what_a_server_goes_out_with() -> None:
    first = build("eth0 203.0.113.1/24", source="203.0.113.1")
    second = build("eth0 10.8.0.2/24", source="10.8.0.2")
    assert choose(first, second) == ["203.0.113.1", "10.8.0.2"]


def test_the_config_is_first() -> None:
    assert choose(build_facts(1), build_facts(2), private_ip="192.168.7.1")[0] == "192.168.7.1"


def test_a_node_keeps_the_address_that_it_has_while_it_has_it() -> None:
    k3s = build_k3s(config={"node-ip": "192.168.7.1"})
    assert choose(build("eth0 10.0.0.11/24", "eth1 192.168.7.1/24", k3s=k3s)) == ["192.168.7.1"]
    assert choose(build_facts(1, k3s=k3s)) == ["10.0.0.11"]


def test_a_new_worker_is_where_the_master_is() -> None:
    k3s = build_k3s(config={"node-ip": "10.1.0.1"})
    master = build("eth0 10.0.0.11/24", "eth1 10.1.0.1/24", k3s=k3s)
    assert choose(master, build("eth0 10.0.0.12/24", "eth1 10.1.0.2/24"))[1] == "10.1.0.2"


@pytest.mark.parametrize(
    ("address", "what"),
    [("10.42.3.4/24", "pods"), ("10.43.0.9/16", "services"), ("10.0.0.5/8", "pods")],
)
def test_an_own_network_in_the_clusters_is_told(address: str, what: str) -> None:
    assert any(what in one for one in find_overlaps(build(f"eth0 {address}", routes=())))


def test_so_is_a_route_into_them() -> None:
    facts = build_facts(1, routes=(build_route("10.42.8.0/24", "eth1", is_direct=False),))
    assert list(find_overlaps(facts)) == [
        "its network 10.42.8.0/24 (eth1) overlaps 10.42.0.0/16, which is for pods"
    ]


def test_what_k3s_has_made_and_wide_routes_are_none() -> None:
    routes = (
        build_route("10.0.0.0/8", "eth1", is_direct=False),
        build_route("10.42.0.0/16", "flannel-wg", is_direct=True),
        build_route("10.42.0.0/24", "cni0", is_direct=True),
    )
    own = ("eth0 10.0.0.11/24", "cni0 10.42.0.1/24", "flannel-wg 10.42.0.0/32")
    assert list(find_overlaps(build(*own, routes=routes))) == []
