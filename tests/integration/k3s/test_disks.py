"""Data on a node's own disk is not lost with the node."""

from __future__ import annotations

import pytest

from nvoi.errors import NvoiError
from nvoi.k3s.disks import list_claims
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import read_nodes, register_node
from tests.integration.k3s.conftest import Fleet


def add_disk(cluster: ClusterState, node: str, claim: str | None = "data-db-shop-0") -> None:
    """Have a disk in the cluster, as the provisioner of k3s makes it on a node."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    reference = {"claimRef": {"namespace": "default", "name": claim}} if claim else {}
    cluster.add(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"pvc-{len(cluster.names('PersistentVolume', None))}"},
            "spec": {"nodeAffinity": affinity, **reference},
        }
    )


@pytest.fixture
def pair(fleet: Fleet, connections: Connections) -> Fleet:
    """A master and a worker that are a cluster."""
    fleet.add()
    fleet.run(connections)
    return fleet


def test_the_disks_of_a_node_are_told_from_those_of_others(
    fleet: Fleet, connections: Connections
) -> None:
    fleet.run(connections)
    add_disk(fleet.cluster, "shop-main-1", None)
    add_disk(fleet.cluster, "shop-main-1")
    add_disk(fleet.cluster, "shop-main-2", "other")
    kube = fleet.get_kube(connections)
    assert list_claims(kube, "shop-main-1") == ["default/data-db-shop-0", "pvc-0"]
    assert list_claims(kube, "shop-main-3") == []


def test_a_server_whose_disk_has_data_of_the_cluster_s_is_not_removed(
    pair: Fleet, connections: Connections
) -> None:
    add_disk(pair.cluster, "shop-main-2")
    pair.servers.pop()
    with pytest.raises(NvoiError, match="shop-main-2 cannot be removed: its own disk has") as told:
        pair.run(connections)
    assert "default/data-db-shop-0" in str(told.value)
    node = read_nodes(pair.cluster)["shop-main-2"]
    assert not node["spec"].get("unschedulable")
    assert pair.hosts[1].removals == []


def test_a_server_is_removed_where_the_data_is_on_another_one(
    pair: Fleet, connections: Connections
) -> None:
    add_disk(pair.cluster, "shop-main-1")
    pair.servers.pop()
    pair.run(connections)
    assert list(read_nodes(pair.cluster)) == ["shop-main-1"]
    assert pair.hosts[1].removals == ["k3s-agent"]


def test_a_dead_node_goes_and_its_server_keeps_the_data(
    pair: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    add_disk(pair.cluster, "shop-main-2")
    register_node(pair.cluster, "shop-main-2", ready=False)
    pair.servers.pop()
    pair.run(connections)
    assert list(read_nodes(pair.cluster)) == ["shop-main-1"]
    assert pair.hosts[1].removals == []
    assert "k3s stays on its server, as data of default/data-db-shop-0 is there" in told.text
