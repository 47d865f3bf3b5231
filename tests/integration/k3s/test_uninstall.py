"""Nodes that leave the config leave the cluster, and no other does."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import NvoiError
from nvoi.k3s import install
from nvoi.k3s.drain import hold_nodes, keep_nodes, list_claims, uninstall
from nvoi.k3s.facts import CONFIG_FILE
from nvoi.k3s.nodes import forget_app, list_nodes, list_other_apps
from nvoi.kubernetes.ownership import Reference
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import read_nodes, register_node
from tests.integration.k3s.conftest import Fleet


@pytest.fixture
def pair(fleet: Fleet, connections: Connections) -> Fleet:
    """A master and a worker that are a cluster."""
    fleet.add()
    fleet.run(connections)
    return fleet


def list_verbs(cluster: ClusterState) -> list[str]:
    """What the cluster was asked to do, and to which object."""
    return [" ".join(call) for call in cluster.calls if call[0] != "get"]


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


def leave(fleet: Fleet) -> None:
    """Name the last server no more."""
    fleet.servers.pop()


def test_a_server_that_leaves_the_config_is_drained_and_removed(
    pair: Fleet, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.k3s.drain.EVICT_SECONDS", 0.1)

    def check_kept() -> None:
        assert not read_nodes(pair.cluster)["shop-main-2"]["spec"].get("unschedulable")
        assert pair.hosts[1].removals == []

    leave(pair)
    # Not while its disk has data of the cluster's.
    add_disk(pair.cluster, "shop-main-1", None)
    add_disk(pair.cluster, "shop-main-1", "other")
    add_disk(pair.cluster, "shop-main-2")
    kube = pair.get_kube(connections)
    assert list_claims(kube, "shop-main-1") == ["default/other", "pvc-0"]
    assert list_claims(kube, "shop-main-3") == []
    with pytest.raises(NvoiError, match="shop-main-2 cannot be removed: its own disk has") as told:
        pair.run(connections)
    assert "default/data-db-shop-0" in str(told.value)
    check_kept()
    pair.cluster.remove("PersistentVolume", "pvc-2")
    # Nor while it cannot be drained.
    containers = [{"name": "theirs", "image": "theirs:1"}]
    spec = {"nodeName": "shop-main-2", "containers": containers}
    pod: dict[str, Any] = {"metadata": {"name": "theirs"}, "spec": spec}
    pair.cluster.add({"kind": "Pod", **pod})
    budget = {"times": 1000, "status": 429, "reason": "TooManyRequests"}
    pair.cluster.scenario(fail={"evict": budget})
    with pytest.raises(NvoiError, match="shop-main-2 cannot be drained and stays") as caught:
        pair.run(connections)
    assert "default/theirs: a PodDisruptionBudget forbids it" in "\n".join(caught.value.output)
    check_kept()
    # The answer to an eviction is lost: who is still there is asked for again.
    pair.cluster.scenario(fail={"evict": {}})
    pair.run(connections)
    assert list(read_nodes(pair.cluster)) == ["shop-main-1"]
    verbs = list_verbs(pair.cluster)
    assert verbs[-1] == "delete node shop-main-2"
    assert "cordon shop-main-2" in verbs
    assert pair.hosts[1].removals == ["k3s-agent"]
    assert not pair.hosts[1].has("/etc/rancher/k3s")
    assert pair.hosts[0].removals == []


def test_a_node_that_is_held_takes_pods_again_where_its_server_is_kept(
    pair: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    def is_cordoned(name: str) -> bool:
        return bool(read_nodes(pair.cluster)[name]["spec"].get("unschedulable"))

    kube = pair.get_kube(connections)
    worker = [node for node in list_nodes(kube) if node.name == "shop-main-2"]
    hold_nodes(kube, worker)
    assert is_cordoned("shop-main-2")
    keep_nodes(kube, worker)
    assert not is_cordoned("shop-main-2")
    # A run that was killed has left it so, and the config names it again.
    hold_nodes(kube, worker)
    pair.run(connections)
    assert not is_cordoned("shop-main-2")
    # What somebody else has cordoned stays so.
    kube.change(Reference("Node", "shop-main-2"), {"spec": {"unschedulable": True}})
    told.clear()
    pair.run(connections)
    keep_nodes(kube, worker)
    assert is_cordoned("shop-main-2")
    assert "kubectl uncordon shop-main-2" in told.text


def test_servers_that_are_gone_or_dead_are_removed_with_a_word_on_what_is_there(
    pair: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    pair.add()
    pair.run(connections)
    pair.machines[1].stop()
    add_disk(pair.cluster, "shop-main-3")
    for name in ("shop-main-2", "shop-main-3"):
        register_node(pair.cluster, name, ready=False)
        leave(pair)
    told.clear()
    pair.run(connections)
    assert list(read_nodes(pair.cluster)) == ["shop-main-1"]
    assert "cordon shop-main-2" not in list_verbs(pair.cluster)
    assert "run `k3s-agent-uninstall.sh` there" in told.text
    assert pair.hosts[2].removals == []
    assert "k3s stays on its server, as data of default/data-db-shop-0 is there" in told.text


def test_a_node_that_another_app_uses_loses_the_marker_only(
    pair: Fleet, connections: Connections
) -> None:
    # Two apps that call a server's group differently are told so.
    before = pair.hosts[1].read(CONFIG_FILE)
    pair.change(1, group="web")
    with pytest.raises(NvoiError, match=r"in the server group 'main' for other apps \(shop\)"):
        pair.run(connections, app="blog")
    labels = read_nodes(pair.cluster)["shop-main-2"]["metadata"]["labels"]
    assert labels["nvoi.io/server-name"] == "main"
    assert pair.hosts[1].read(CONFIG_FILE) == before
    pair.change(1, group="main")
    pair.run(connections, app="blog")
    leave(pair)
    pair.run(connections)
    labels = read_nodes(pair.cluster)["shop-main-2"]["metadata"]["labels"]
    assert "nvoi.io/app.shop" not in labels
    assert labels["nvoi.io/app.blog"] == "true"
    assert labels["nvoi.io/server-name"] == "main"
    assert pair.hosts[1].removals == []
    # An app that is deleted takes its marker with it.
    kube = pair.get_kube(connections)
    assert list_other_apps(list_nodes(kube), "blog") == ["shop"]
    forget_app(kube, list_nodes(kube), "shop")
    assert list_other_apps(list_nodes(kube), "blog") == []


def test_a_server_that_was_set_up_anew_takes_the_place_of_its_old_node(
    pair: Fleet, connections: Connections
) -> None:
    worker = pair.hosts[1]
    for path in ("etc/systemd/system/k3s-agent.service", "etc/rancher/k3s/config.yaml"):
        (worker.root / path).unlink()
    (worker.root / "etc/rancher/k3s/registries.yaml").unlink()
    (worker.folder / "k3s-agent.active").unlink()
    register_node(pair.cluster, "shop-main-2", ready=False)
    names = pair.run(connections)
    assert names["shop-main-2"] == "shop-main-2"
    assert "delete node shop-main-2" in list_verbs(pair.cluster)
    assert worker.removals == []


@pytest.fixture
def rented(pair: Fleet) -> Fleet:
    """The same, of servers at a cloud."""
    for index in range(2):
        pair.change(index, is_rented=True)
    return pair


def test_a_rented_worker_that_was_made_again_joins_under_its_own_name(
    rented: Fleet, connections: Connections
) -> None:
    rented.run(connections, app="blog")
    add_disk(rented.cluster, "shop-main-2")
    made = rented.replace(1)
    # What was on its own disk would begin empty.
    with pytest.raises(NvoiError, match="gone, and data was on its own disk: default/data-db-shop"):
        rented.run(connections)
    assert made.installations == []
    rented.cluster.remove("PersistentVolume", "pvc-0")
    # The cluster has not missed the old one yet.
    names = rented.run(connections)
    assert names["shop-main-2"] == "shop-main-2"
    assert "delete node shop-main-2" in list_verbs(rented.cluster)
    nodes = read_nodes(rented.cluster)
    assert list(nodes) == ["shop-main-1", "shop-main-2"]
    # Else this app could give a server away that another one uses.
    labels = nodes["shop-main-2"]["metadata"]["labels"]
    assert labels["nvoi.io/app.shop"] == labels["nvoi.io/app.blog"] == "true"


def test_what_is_left_of_a_rented_cluster_joins_that_of_a_new_master(
    rented: Fleet, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = rented.hosts[0].read_config()["token"]
    made, worker = rented.replace(0), rented.hosts[1]
    for name in read_nodes(rented.cluster):
        rented.cluster.remove("Node", name)
    monkeypatch.setattr(install, "STORAGE_FOLDER", "/opt/storage")
    disk = worker.root / "opt/storage/pvc-0"
    disk.mkdir(parents=True)
    with pytest.raises(NvoiError, match="shop-main-2: the cluster is gone with its master, and da"):
        rented.run(connections)
    assert (made.installations, worker.removals) == ([], [])
    disk.rmdir()
    rented.run(connections)
    assert worker.removals == ["k3s-agent"]
    assert sorted(read_nodes(rented.cluster)) == ["shop-main-1", "shop-main-2"]
    assert worker.read_config()["token"] == made.read_config()["token"] != token
    rented.run(connections)
    assert worker.removals == ["k3s-agent"]


def test_nodes_of_nobody_s_are_left_alone_and_no_new_one_gets_their_names(
    pair: Fleet, connections: Connections
) -> None:
    register_node(pair.cluster, "shop-main-3")
    pair.add()
    names = pair.run(connections)
    assert names["shop-main-3"] == "shop-main-3-2"
    assert "shop-main-3" in read_nodes(pair.cluster)


def test_servers_that_change_places_in_the_config_keep_their_nodes(
    pair: Fleet, connections: Connections
) -> None:
    pair.add()
    pair.run(connections)
    first, second, third = pair.servers
    pair.servers = [first, third]
    pair.change(1, name=second.name)
    names = pair.run(connections)
    assert names["shop-main-2"] == "shop-main-3"
    assert sorted(read_nodes(pair.cluster)) == ["shop-main-1", "shop-main-3"]
    assert [host.removals for host in pair.hosts] == [[], ["k3s-agent"], []]


def test_delete_takes_nvoi_s_k3s_off_every_server_that_can_be_reached(
    pair: Fleet, connections: Connections
) -> None:
    """``nvoi delete --cluster``."""
    master, worker = pair.hosts
    assert master.has("/opt/nvoi/registry")
    for host in pair.hosts:
        (host.root / "opt/nvoi/volumes/shop-main-data").mkdir(parents=True)
        (host.root / "opt/nvoi/datastore/20260101T031700Z").mkdir(parents=True)
    pair.machines[1].stop()
    with pytest.raises(NvoiError, match="shop-main-2"):
        uninstall(connections, pair.servers)
    assert master.removals == ["k3s"]
    pair.machines[1].start()
    # A k3s that is not nvoi's stays.
    config = worker.root / CONFIG_FILE.lstrip("/")
    own = config.read_text()
    config.write_text("token: x\n")
    with pytest.raises(NvoiError, match="not one that nvoi has installed"):
        uninstall(connections, pair.servers)
    assert worker.removals == []
    config.write_text(own)
    for _ in range(2):
        uninstall(connections, pair.servers)
    assert [host.removals for host in pair.hosts] == [["k3s"], ["k3s-agent"]]
    for host in pair.hosts:
        assert not host.has("/etc/rancher")
        assert not host.has("/usr/local/bin/k3s")
        assert not host.has("/opt/nvoi/registry")
        # There are Secrets in it.
        assert not host.has("/opt/nvoi/datastore")
        assert host.has("/opt/nvoi/volumes/shop-main-data")
