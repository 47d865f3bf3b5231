"""What is to be done where, from what servers are like, and the files that k3s reads there."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from nvoi.k3s.facts import Facts, K3s
from nvoi.k3s.install import build_setup, tell_insecure
from nvoi.k3s.nodes import ClusterNode, build_marker
from nvoi.k3s.plan import (
    INSTALL_URL,
    K3sSettings,
    Node,
    Work,
    build_config,
    build_stamp,
    build_tasks,
    build_url,
    choose_names,
    find_orphans,
    find_stale,
    find_work,
)
from nvoi.kubernetes.registry import build_credentials
from nvoi.secret import Secret
from tests.unit.k3s.servers import VERSION, build_address, build_facts, build_k3s, build_server

SERVERS = [build_server(1), build_server(2)]
SETTINGS = K3sSettings()
CONFIG, REGISTRIES = Secret("token: t\n"), Secret("{}\n")
GOOD = build_k3s(
    token=Secret("t"),
    lines=("token: t",),
    registries_checksum="ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
)


def build_all(*k3s: K3s) -> dict[str, Facts]:
    """The facts of servers that have these."""
    return {
        server.name: build_facts(number, k3s=one)
        for number, (server, one) in enumerate(zip(SERVERS, k3s, strict=True), 1)
    }


@pytest.mark.parametrize(
    ("k3s", "wanted"),
    [
        (GOOD, Work.NOTHING),
        (K3s(), Work.INSTALL),
        (replace(GOOD, version="v1.35.5+k3s1"), Work.INSTALL),
        (replace(GOOD, role=None), Work.INSTALL),
        # The installer writes its service without the gem's arguments.
        (replace(GOOD, is_of_gem=True), Work.INSTALL),
        (replace(GOOD, is_active=False), Work.START),
        (replace(GOOD, applied=""), Work.START),
        (replace(GOOD, lines=("token: t", "node-label: [a=b]")), Work.WRITE),
        (replace(GOOD, lines=("token: u",)), Work.START),
        (replace(GOOD, lines=("token: t", "disable: []")), Work.START),
        (replace(GOOD, registries_checksum="x"), Work.START),
    ],
)
def test_the_work_on_a_server(k3s: K3s, wanted: Work) -> None:
    assert find_work(k3s, VERSION, CONFIG, REGISTRIES, "stamp") == wanted


def test_the_stamp_changes_with_all_but_the_label() -> None:
    """Or k3s would not be started again where a run was killed that had written its files."""
    worker = Node("web-1", "web", "10.0.0.2", Secret("5eed"), "10.0.0.1", VERSION)

    def build(node: Node, registries: Secret = REGISTRIES) -> str:
        return build_stamp(node, build_config(node, SETTINGS), registries)

    assert build(replace(worker, group="front")) == build(worker)
    stamps = [
        build(replace(worker, version="v1.36.6+k3s1")),
        build(replace(worker, ip="10.0.0.3")),
        build(replace(worker, token=Secret("other"))),
        build(worker, Secret("other")),
    ]
    assert len({build(worker), *stamps}) == 5


def test_a_node_is_told_the_device_of_its_address_and_not_that_of_its_default_route() -> None:
    facts = build_facts(
        addresses=(build_address("eth0", "203.0.113.1/24"), build_address("eth1", "10.9.0.1/16")),
        source="203.0.113.1",
    )
    server = build_server(1, private_ip="10.9.0.1")
    (task,) = build_tasks([server], {server.name: facts}, SETTINGS)
    assert (task.node.ip, task.node.device) == ("10.9.0.1", "eth1")
    unnamed = build_facts(addresses=(build_address("-", "10.9.0.1/32"),))
    (task,) = build_tasks([server], {server.name: unnamed}, SETTINGS)
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
    assert find_stale(SERVERS, build_all(build_k3s(), K3s()), nodes, "shop") == [dead]
    joined = build_k3s("agent", config={"node-name": "old"})
    assert find_stale(SERVERS, build_all(build_k3s(), joined), nodes, "shop") == []


def test_a_node_whose_rented_server_was_made_again_is_stale_though_it_is_not_missed_yet() -> None:
    nodes = [
        ClusterNode("shop-main-1", is_ready=True, state="Ready", is_master=True),
        ClusterNode("shop-main-2", is_ready=True, state="Ready"),
        ClusterNode("shop-main-3", is_ready=True, state="Ready"),
    ]
    facts = build_all(build_k3s(), K3s())
    assert find_stale(SERVERS, facts, nodes, "shop") == []
    rented = [replace(server, is_rented=True) for server in SERVERS]
    assert find_stale(rented, facts, nodes, "shop") == [nodes[1]]
    # One of another app may have that name: of shop-main, whose group is `2`.
    for others, is_stale in (("shop", "shop-main"), True), (("shop-main",), False):
        marked = replace(nodes[1], labels={build_marker(app): "true" for app in others})
        found = find_stale(rented, facts, [nodes[0], marked], "shop")
        assert found == [marked] * is_stale
    names = choose_names(rented, facts, [nodes[0], marked])
    assert names["shop-main-2"] == "shop-main-2-2"


def test_what_is_left_of_a_cluster_without_a_master_is_told_from_a_run_that_was_cut_off() -> None:
    rented = [replace(server, is_rented=True) for server in SERVERS]
    worker = build_k3s("agent")
    assert find_orphans(rented, build_all(K3s(), worker)) == [rented[1]]
    assert find_orphans(rented, build_all(build_k3s(), worker)) == []
    # It has never been a node.
    assert find_orphans(rented, build_all(K3s(), replace(worker, applied=""))) == []
    assert find_orphans(SERVERS, build_all(K3s(), worker)) == []


@pytest.mark.parametrize(
    ("k3s", "wanted"),
    [
        (K3s(), True),
        (build_k3s(), False),
        (build_k3s(config={"secrets-encryption": True}), True),
        # Begun, and cut off before there was a cluster.
        (build_k3s(None, config={"secrets-encryption": True}), True),
    ],
)
def test_secrets_are_encrypted_in_new_clusters_and_as_before_in_others(
    k3s: K3s, wanted: bool
) -> None:
    server = build_server(1)
    facts = {server.name: build_facts(k3s=k3s)}
    (task,) = build_tasks([server], facts, SETTINGS)
    assert ("\nsecrets-encryption: true\n" in task.config.reveal()) is wanted
    (task,) = build_tasks([server], facts, replace(SETTINGS, encrypts=False))
    kept = wanted and k3s.role is not None
    assert ("\nsecrets-encryption: true\n" in task.config.reveal()) is kept


@pytest.mark.parametrize(
    ("k3s", "ingress", "disabled"),
    [
        (K3s(), False, ["traefik"]),
        (K3s(), True, []),
        (build_k3s(config={"disable": ["traefik"]}), False, ["traefik"]),
        (build_k3s(config={"disable": ["traefik"]}), True, []),
        # Another app may need it.
        (build_k3s(config={"disable": []}), False, []),
    ],
)
def test_traefik_runs_where_an_app_wants_it_and_stays(
    k3s: K3s, ingress: bool, disabled: list[str]
) -> None:
    server = build_server(1)
    settings = replace(SETTINGS, ingress=ingress)
    (task,) = build_tasks([server], {server.name: build_facts(k3s=k3s)}, settings)
    values = YAML(typ="safe", pure=True).load(task.config.reveal())
    assert values["disable"] == disabled


def test_an_address_of_ipv6_is_bracketed() -> None:
    assert build_url("fd00::1") == "https://[fd00::1]:6443"


@pytest.mark.parametrize(
    ("url", "downloader", "told"),
    [
        (INSTALL_URL, "curl", []),
        (INSTALL_URL, "wget", []),
        (INSTALL_URL, "busybox", ["shop-main-1: BusyBox wget"]),
        ("http://mirror.example/k3s", "busybox", ["k3s.install_url is not https"]),
    ],
)
def test_an_installer_that_may_be_anybodys_is_warned_of(
    caplog: pytest.LogCaptureFixture, url: str, downloader: str, told: list[str]
) -> None:
    caplog.set_level(logging.INFO, logger="nvoi")
    server = build_server(1)
    facts = {server.name: build_facts(1, downloader=downloader)}
    tell_insecure(url, build_tasks([server], facts, K3sSettings()), facts)
    assert len(caplog.messages) == len(told)
    assert all(text in one for text, one in zip(told, caplog.messages, strict=True))


def test_the_command_says_what_is_to_be_done_and_has_no_secret_in_its_words() -> None:
    task = build_tasks(SERVERS, build_all(K3s(), K3s()), K3sSettings(VERSION))[1]
    command = build_setup(task, "https://get.k3s.io", 60, installs=False, starts=True).reveal()
    sizes = f"{len(task.config.encode())} {len(task.registries.encode())}"
    words = f"agent {VERSION} https://get.k3s.io {sizes} {task.stamp} no yes 60 /opt/nvoi/registry"
    assert command.endswith(f" nvoi-k3s {words}")
    password = build_credentials(task.node.token).password
    assert not [secret for secret in (task.node.token, password) if secret.reveal() in command]
