"""The address of a node among the others, and networks that collide."""

from __future__ import annotations

import pytest

from nvoi.k3s.networks import choose_addresses, find_overlaps
from tests.unit.k3s.servers import (
    build_address,
    build_facts,
    build_k3s,
    build_route,
    build_server,
)

SERVERS = [build_server(1), build_server(2)]


def test_a_private_network_that_all_share_is_preferred() -> None:
    facts = {
        server.name: build_facts(
            number,
            addresses=(
                build_address("eth0", f"203.0.113.{number}/24"),
                build_address("docker0", "172.17.0.1/16"),
                build_address("eth1", f"10.0.0.{number}/16"),
            ),
            source=f"203.0.113.{number}",
        )
        for number, server in enumerate(SERVERS, 1)
    }
    assert list(choose_addresses(SERVERS, facts).values()) == ["10.0.0.1", "10.0.0.2"]


def test_single_addresses_with_a_route_are_a_network() -> None:
    facts = {
        server.name: build_facts(
            number,
            addresses=(
                build_address("eth0", f"203.0.113.{number}/32"),
                build_address("enp7s0", f"10.0.{number}.2/32"),
            ),
            routes=(build_route("10.0.0.0/16", "enp7s0", is_direct=False),),
            source=f"203.0.113.{number}",
        )
        for number, server in enumerate(SERVERS, 1)
    }
    assert list(choose_addresses(SERVERS, facts).values()) == ["10.0.1.2", "10.0.2.2"]


def test_without_one_it_is_what_a_server_goes_out_with() -> None:
    facts = {
        SERVERS[0].name: build_facts(
            1, addresses=(build_address("eth0", "203.0.113.1/24"),), source="203.0.113.1"
        ),
        SERVERS[1].name: build_facts(
            2, addresses=(build_address("eth0", "10.8.0.2/24"),), source="10.8.0.2"
        ),
    }
    assert list(choose_addresses(SERVERS, facts).values()) == ["203.0.113.1", "10.8.0.2"]


def test_the_config_is_first() -> None:
    servers = [build_server(1, private_ip="192.168.7.1"), SERVERS[1]]
    facts = {server.name: build_facts(number) for number, server in enumerate(servers, 1)}
    assert choose_addresses(servers, facts)[servers[0].name] == "192.168.7.1"


def test_a_node_keeps_the_address_that_it_has_while_it_has_it() -> None:
    both = (build_address("eth0", "10.0.0.11/24"), build_address("eth1", "192.168.7.1/24"))
    k3s = build_k3s(config={"node-ip": "192.168.7.1"})
    facts = build_facts(1, addresses=both, k3s=k3s)
    server = SERVERS[0]
    assert choose_addresses([server], {server.name: facts})[server.name] == "192.168.7.1"
    moved = build_facts(1, k3s=k3s)
    assert choose_addresses([server], {server.name: moved})[server.name] == "10.0.0.11"


def test_a_new_worker_is_where_the_master_is() -> None:
    master = build_facts(
        1,
        addresses=(build_address("eth0", "10.0.0.11/24"), build_address("eth1", "10.1.0.1/24")),
        k3s=build_k3s(config={"node-ip": "10.1.0.1"}),
    )
    worker = build_facts(
        2, addresses=(build_address("eth0", "10.0.0.12/24"), build_address("eth1", "10.1.0.2/24"))
    )
    facts = {SERVERS[0].name: master, SERVERS[1].name: worker}
    assert choose_addresses(SERVERS, facts)[SERVERS[1].name] == "10.1.0.2"


@pytest.mark.parametrize(
    ("address", "what"),
    [("10.42.3.4/24", "pods"), ("10.43.0.9/16", "services"), ("10.0.0.5/8", "pods")],
)
def test_an_own_network_in_the_clusters_is_told(address: str, what: str) -> None:
    facts = build_facts(1, addresses=(build_address("eth0", address),), routes=())
    assert any(what in one for one in find_overlaps(facts))


def test_so_is_a_route_into_them() -> None:
    facts = build_facts(1, routes=(build_route("10.42.8.0/24", "eth1", is_direct=False),))
    assert list(find_overlaps(facts)) == [
        "its network 10.42.8.0/24 (eth1) overlaps 10.42.0.0/16, which is for pods"
    ]


def test_what_k3s_has_made_and_wide_routes_are_none() -> None:
    facts = build_facts(
        1,
        addresses=(
            build_address("eth0", "10.0.0.11/24"),
            build_address("cni0", "10.42.0.1/24"),
            build_address("flannel-wg", "10.42.0.0/32"),
        ),
        routes=(
            build_route("10.0.0.0/8", "eth1", is_direct=False),
            build_route("10.42.0.0/16", "flannel-wg", is_direct=True),
            build_route("10.42.0.0/24", "cni0", is_direct=True),
        ),
    )
    assert list(find_overlaps(facts)) == []
