"""What is to be done where, from what servers are like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvoi.k3s.configuration import K3sSettings, checksum
from nvoi.k3s.facts import Facts, K3s
from nvoi.k3s.installer import Work
from nvoi.k3s.nodes import ClusterNode
from nvoi.k3s.planning import NOTHING, choose_names, find_stale, find_work, plan
from nvoi.k3s.versions import DEFAULT_VERSION
from nvoi.secret import Secret
from tests.unit.k3s.servers import VERSION, build_address, build_facts, build_k3s, build_server

SERVERS = [build_server(1), build_server(2)]
FILES = (Secret("token: t\n"), "{}\n")
SETTINGS = K3sSettings()
GOOD = build_k3s(
    token=Secret("t"),
    config_checksum=checksum("token: t\n"),
    registries_checksum=checksum("{}\n"),
)
OTHER_LABEL = replace(GOOD, config_checksum="x", config={"node-label": ["a=b"]})


def build_all(*k3s: K3s) -> dict[str, Facts]:
    """The facts of servers that have these."""
    return {
        server.name: build_facts(number, k3s=one)
        for number, (server, one) in enumerate(zip(SERVERS, k3s, strict=True), 1)
    }


@pytest.mark.parametrize(
    ("k3s", "wanted"),
    [
        (GOOD, NOTHING),
        (K3s(), Work(writes=True, installs=True, starts=True)),
        (replace(GOOD, version="v1.35.5+k3s1"), Work(writes=True, installs=True, starts=True)),
        (replace(GOOD, role=None), Work(writes=True, installs=True, starts=True)),
        (replace(GOOD, is_active=False), Work(writes=True, installs=False, starts=True)),
        (replace(GOOD, applied=""), Work(writes=True, installs=False, starts=True)),
        (OTHER_LABEL, Work(writes=True, installs=False, starts=False)),
        (replace(GOOD, token=Secret("u")), Work(writes=True, installs=False, starts=True)),
        (replace(GOOD, config={"disable": []}), Work(writes=True, installs=False, starts=True)),
        (replace(GOOD, registries_checksum="x"), Work(writes=True, installs=False, starts=True)),
    ],
)
def test_the_work_on_a_server(k3s: K3s, wanted: Work) -> None:
    assert find_work(k3s, VERSION, FILES, "stamp") == wanted


def test_a_first_plan_makes_a_token_of_its_own() -> None:
    first, second = (plan(SERVERS, build_all(K3s(), K3s()), SETTINGS) for _ in range(2))
    tokens = {task.node.token.reveal() for task in first}
    assert len(tokens) == 1
    assert tokens != {task.node.token.reveal() for task in second}
    assert first[0].node.version == DEFAULT_VERSION
    assert first[1].node.master_ip == "10.0.0.11"


def test_a_cluster_keeps_its_token_and_release() -> None:
    found = build_all(build_k3s(version="v1.35.5+k3s1"), K3s())
    tasks = plan(SERVERS, found, SETTINGS)
    assert {task.node.token.reveal() for task in tasks} == {"token-of-the-cluster"}
    assert {task.node.version for task in tasks} == {"v1.35.5+k3s1"}


def test_a_node_is_told_the_device_of_its_address_and_not_that_of_its_default_route() -> None:
    facts = build_facts(
        addresses=(build_address("eth0", "203.0.113.1/24"), build_address("eth1", "10.9.0.1/16")),
        source="203.0.113.1",
    )
    server = build_server(1, private_ip="10.9.0.1")
    (task,) = plan([server], {server.name: facts}, SETTINGS)
    assert (task.node.ip, task.node.device) == ("10.9.0.1", "eth1")
    unnamed = build_facts(addresses=(build_address("-", "10.9.0.1/32"),))
    (task,) = plan([server], {server.name: unnamed}, SETTINGS)
    assert task.node.device is None


def test_nodes_keep_their_names_and_new_ones_take_none_of_theirs() -> None:
    found = build_all(build_k3s(config={"node-name": "shop-main-2"}), K3s())
    assert choose_names(SERVERS, found) == {
        "shop-main-1": "shop-main-2",
        "shop-main-2": "shop-main-2-2",
    }
    others = [ClusterNode("shop-main-2-2", is_ready=True, state="Ready")]
    assert choose_names(SERVERS, found, others)["shop-main-2"] == "shop-main-2-3"


def test_a_dead_node_of_a_server_that_is_new_is_stale() -> None:
    at = {"nvoi.io/address": "root@203.0.113.2:22"}
    dead = ClusterNode("old", is_ready=False, state="NotReady", annotations=at)
    alive = ClusterNode("alive", is_ready=True, state="Ready", annotations=at)
    elsewhere = ClusterNode("elsewhere", is_ready=False, state="NotReady")
    nodes = [dead, alive, elsewhere]
    assert find_stale(SERVERS, build_all(build_k3s(), K3s()), nodes) == [dead]
    joined = build_k3s("agent", config={"node-name": "old"})
    assert find_stale(SERVERS, build_all(build_k3s(), joined), nodes) == []
