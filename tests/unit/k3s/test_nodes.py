"""Nodes as the cluster sees them, and what they are marked with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nvoi.errors import NvoiError
from nvoi.k3s.nodes import (
    ClusterNode,
    build_marker,
    build_marks,
    find_lacking,
    find_left,
    format_address,
    list_nodes,
    parse_address,
    read_node,
    wait_until_ready,
)
from nvoi.ssh.host import Host
from tests.unit.k3s.servers import Answers, build_server

WORKER = build_server(2)
MARKS = {"nvoi.io/server-name": "main", "nvoi.io/app.shop": "true"}


def build_item(**status: object) -> dict[str, Any]:
    """A node as the API answers it."""
    metadata = {
        "name": "shop-main-1",
        "labels": {"node-role.kubernetes.io/control-plane": "true"} | MARKS,
    }
    return {"metadata": metadata, "spec": {"unschedulable": True}, "status": status}


def test_a_node_that_is_ready() -> None:
    condition = {"type": "Ready", "status": "True"}
    info = {"kubeletVersion": "v1.36.5+k3s1"}
    node = read_node(build_item(conditions=[condition], nodeInfo=info))
    assert (node.name, node.is_ready, node.state) == ("shop-main-1", True, "Ready")
    assert (node.is_master, node.is_cordoned, node.version) == (True, True, "v1.36.5+k3s1")
    assert node.markers == {"nvoi.io/app.shop"}
    assert node.address is None


def test_a_node_that_is_not() -> None:
    lost = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting"}
    assert read_node(build_item(conditions=[lost])).state == "NotReady: Kubelet stopped posting"
    assert read_node(build_item()).state == "NotReady: it has not said anything yet"


def test_a_node_that_may_be_away_is_not_waited_for_once_it_has_been_for_long() -> None:
    def build(since: datetime, status: str = "Unknown") -> dict[str, Any]:
        condition = {"type": "Ready", "status": status}
        return build_item(conditions=[condition | {"lastTransitionTime": since.isoformat()}])

    now = datetime.now(UTC)
    long_ago = now - timedelta(seconds=200)
    cluster = Answers(build(long_ago))
    (node,) = wait_until_ready(cluster, ["shop-main-1"], spare=["shop-main-1"], seconds=180)
    assert not node.is_ready
    with pytest.raises(NvoiError, match="not all nodes are ready"):
        wait_until_ready(cluster, ["shop-main-1"], seconds=0)
    # One that has just gone may come back in time, and is let go after that.
    assert not read_node(build(now)).has_been_away(180)
    assert wait_until_ready(Answers(build(now)), ["shop-main-1"], spare=["shop-main-1"], seconds=0)
    assert not read_node(build(long_ago, "True")).has_been_away(180)
    assert not read_node(build_item()).has_been_away(180)


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises(NvoiError, match="cannot be read"):
        list_nodes(Answers({}))


def test_what_is_still_lacking_is_told() -> None:
    ready = ClusterNode("a", is_ready=True, state="Ready", version="v1.35.5+k3s1")
    other = ClusterNode("b", is_ready=False, state="NotReady: cni plugin not initialized")
    told = find_lacking([ready, other], ["a", "b", "c"], {"a": "v1.36.5+k3s1"})
    assert told == [
        "a still runs v1.35.5+k3s1",
        "b is NotReady: cni plugin not initialized",
        "c is not in the cluster yet",
    ]
    assert find_lacking([ready], ["a"], {}) == []


@pytest.mark.parametrize(
    "host",
    [
        Host("x", "203.0.113.7", 22, "root"),
        Host("x", "2001:db8::7", 2222, "deploy"),
        # As the User of an ~/.ssh/config may be.
        Host("x", "web", 22, "me@example.com"),
    ],
)
def test_an_address_is_read_as_it_was_written(host: Host) -> None:
    assert parse_address(format_address(host), "x") == host


def test_an_app_s_marker_is_a_label_of_its_own_that_is_allowed() -> None:
    markers = {build_marker(app) for app in ("a" * 62, "a" * 63)}
    assert len(markers) == 2
    assert all(len(one.partition("/")[2]) <= 63 for one in markers)


@pytest.mark.parametrize("text", ["", "host", "root@host", "root@:22", "@host:22", "root@host:x"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text, "x") is None


def test_another_apps_way_to_a_node_is_not_overwritten() -> None:
    node = ClusterNode(
        "shop-main-2",
        is_ready=True,
        state="Ready",
        labels=MARKS,
        annotations={"nvoi.io/address": "admin@10.0.0.2:22"},
    )
    assert build_marks("blog", node, WORKER)["metadata"] == {
        "name": "shop-main-2",
        "labels": {"nvoi.io/server-name": "main", "nvoi.io/app.blog": "true"},
        "annotations": {"nvoi.io/address": "admin@10.0.0.2:22"},
    }


def build_node(name: str, *apps: str, is_master: bool = False) -> ClusterNode:
    """A node that is ready, with the marks of apps."""
    marks = {f"nvoi.io/app.{app}": "true" for app in apps}
    return ClusterNode(name, is_ready=True, state="Ready", is_master=is_master, labels=marks)


def test_nodes_that_left_are_those_with_the_marker_but_never_the_master() -> None:
    nodes = [
        build_node("a", "shop", is_master=True),
        *(build_node("b", "shop"), build_node("c", "blog"), build_node("d")),
        build_node("e", "shop"),
    ]
    assert [node.name for node in find_left(nodes, {"e"}, "shop")] == ["b"]
