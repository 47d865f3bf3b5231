"""k3s comes onto servers, and stays as the config says."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import ConnectionLostError, NvoiError
from nvoi.k3s.facts import CONFIG_FILE, STAMP_FILE
from nvoi.kubernetes.registry import REGISTRIES_FILE, build_credentials
from nvoi.secret import Secret
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.fakes.k3s_host import read_nodes, register_node
from tests.integration.k3s.conftest import NEW, OLD, Fleet
from tests.integration.ssh.conftest import Connect
from tests.waiting import wait_until


def test_servers_become_one_cluster_and_a_second_run_sends_nothing_but_two_questions(
    fleet: Fleet, connections: Connections
) -> None:
    worker = fleet.add(user="deploy", group="web")
    names = fleet.run(connections)
    assert names == {"shop-main-1": "shop-main-1", "shop-web-2": "shop-web-2"}
    nodes = read_nodes(fleet.cluster)
    master, other = nodes["shop-main-1"]["metadata"], nodes["shop-web-2"]["metadata"]
    assert master["labels"]["nvoi.io/server-name"] == "main"
    assert "node-role.kubernetes.io/control-plane" in master["labels"]
    assert other["labels"]["nvoi.io/server-name"] == "web"
    assert other["labels"]["nvoi.io/app.shop"] == "true"
    assert other["annotations"]["nvoi.io/address"] == (
        f"deploy@127.0.0.1:{fleet.servers[1].host.port}"
    )
    assert fleet.hosts[0].installations == [f"server {NEW} true"]
    assert worker.installations == [f"agent {NEW} true"]
    before = fleet.count_commands()
    fleet.run(connections)
    after = fleet.count_commands()
    asked = {name: after[name] - before[name] for name in after}
    # The survey of each, and the master's list of nodes.
    assert asked == {"shop-main-1": 2, "shop-web-2": 1}
    assert [host.starts for host in fleet.hosts] == [1, 1]
    assert [len(host.installations) for host in fleet.hosts] == [1, 1]


def test_the_master_runs_without_traefik_and_joins_over_wireguard(
    fleet: Fleet, connections: Connections
) -> None:
    fleet.settings = replace(
        fleet.settings,
        system_default_registry="mirror.example",
        mirrors={"docker.io": ("https://mirror.example",)},
    )
    worker = fleet.add()
    fleet.run(connections)
    config = fleet.hosts[0].read_config()
    assert config.pop("token")
    assert config == {
        "node-name": "shop-main-1",
        "node-ip": "10.0.0.11",
        "flannel-iface": "eth0",
        "node-label": ["nvoi.io/server-name=main"],
        "kubelet-arg": ["container-log-max-size=10Mi", "container-log-max-files=3"],
        "secrets-encryption": True,
        "flannel-backend": "wireguard-native",
        "disable": ["traefik"],
        "cluster-cidr": "10.42.0.0/16",
        "service-cidr": "10.43.0.0/16",
        "write-kubeconfig-mode": "0600",
        "system-default-registry": "mirror.example",
    }
    joined = worker.read_config()
    assert joined["server"] == "https://10.0.0.11:6443"
    assert not {"system-default-registry", "secrets-encryption"} & joined.keys()
    assert joined["kubelet-arg"] == config["kubelet-arg"]
    for host in fleet.hosts:
        mirrors = json.loads(host.read(REGISTRIES_FILE))["mirrors"]
        assert mirrors["10.43.0.100:5000"] == {"endpoint": ["http://10.43.0.100:5000"]}
        assert mirrors["docker.io"] == {"endpoint": ["https://mirror.example"]}


def test_only_root_may_read_the_token_and_nobody_is_told_it(
    fleet: Fleet, connections: Connections, logged: pytest.LogCaptureFixture
) -> None:
    worker = fleet.add(user="deploy")
    fleet.run(connections)
    fleet.run(connections)
    token = fleet.hosts[0].read_config()["token"]
    password = build_credentials(Secret(token)).password.reveal()
    assert password in worker.read(REGISTRIES_FILE)
    assert password not in logged.text
    assert token == worker.read_config()["token"]
    assert len(token) == 64
    assert token not in logged.text
    for host in fleet.hosts:
        for path in (CONFIG_FILE, REGISTRIES_FILE):
            mode = (host.root / path.lstrip("/")).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
        assert not list((host.root / "etc/rancher/k3s").glob(".nvoi*"))
    data = fleet.hosts[0].root / "opt/nvoi/registry"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE(data.parent.stat().st_mode) == 0o711
    assert not worker.has("/opt/nvoi/registry")


def test_hosts_are_installed_side_by_side(fleet: Fleet, connections: Connections) -> None:
    for _ in range(2):
        fleet.add()
    for host in fleet.hosts:
        # No installer goes on before all three are there.
        host.set_fault("meet", "3")
    fleet.run(connections)
    assert len(read_nodes(fleet.cluster)) == 3


def test_what_is_not_as_it_should_be_is_put_right_without_the_installer(
    fleet: Fleet, connections: Connections
) -> None:
    worker = fleet.add(group="web")
    fleet.run(connections)
    wanted = worker.read(REGISTRIES_FILE)
    (worker.root / REGISTRIES_FILE.lstrip("/")).write_text("{}\n")
    fleet.run(connections)
    assert worker.read(REGISTRIES_FILE) == wanted
    assert [host.starts for host in fleet.hosts] == [1, 2]
    # Its service was stopped.
    (worker.folder / "k3s-agent.active").unlink()
    fleet.run(connections)
    assert [host.starts for host in fleet.hosts] == [1, 3]
    # Another mirror is told to every node.
    fleet.settings = replace(fleet.settings, mirrors={"docker.io": ("https://mirror.example",)})
    fleet.run(connections)
    assert "https://mirror.example" in worker.read(REGISTRIES_FILE)
    assert [host.starts for host in fleet.hosts] == [2, 4]
    # A group that is renamed changes the label, and restarts nothing.
    fleet.change(1, group="front")
    fleet.run(connections)
    node = read_nodes(fleet.cluster)["shop-web-2"]
    assert node["metadata"]["labels"]["nvoi.io/server-name"] == "front"
    assert '"nvoi.io/server-name=front"' in worker.read(CONFIG_FILE)
    assert [host.starts for host in fleet.hosts] == [2, 4]
    assert [len(host.installations) for host in fleet.hosts] == [1, 1]


def test_a_run_that_waited_for_the_lock_sees_what_the_other_one_did(
    fleet: Fleet, connections: Connections, connect: Connect
) -> None:
    stale = fleet.look(connections)
    fleet.run(connect())
    token = fleet.hosts[0].read_config()["token"]
    fleet.run(connections, stale)
    assert fleet.hosts[0].read_config()["token"] == token
    assert fleet.hosts[0].starts == 1


class TestFaults:
    """What goes wrong on a host is said, and the next run goes on from there."""

    def test_a_full_disk(self, fleet: Fleet, connections: Connections) -> None:
        worker = fleet.add()
        worker.set_fault("full-disk")
        with pytest.raises(NvoiError, match=r"shop-main-2 .*: its disk is full \(free space"):
            fleet.run(connections)
        assert fleet.hosts[0].starts == 1
        assert not worker.has(STAMP_FILE)
        worker.clear_fault("full-disk")
        fleet.run(connections)
        assert sorted(read_nodes(fleet.cluster)) == ["shop-main-1", "shop-main-2"]
        assert len(fleet.hosts[0].installations) == 1

    def test_an_installer_that_cannot_be_had_or_does_not_end(
        self, fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
    ) -> None:
        host, script, settings = fleet.hosts[0], fleet.site.body, fleet.settings
        fleet.site.body = None
        with pytest.raises(NvoiError, match=r"cannot be had from http.*k3s\.install_url"):
            fleet.run(connections)
        assert "k3s.install_url is not https" in told.text
        fleet.site.body = b"<html>Please log in</html>"
        with pytest.raises(NvoiError, match="cannot be had") as caught:
            fleet.run(connections)
        assert any("gives no shell script" in line for line in caught.value.output)
        # Over TLS it is not taken from elsewhere.
        log = "#!/bin/sh\nprintf '%s\\n' \"$*\" >/opt/fake/curl.log\nexit 22\n"
        host.add_program("curl", log)
        fleet.settings = replace(settings, install_url="https://mirror.example/k3s")
        told.clear()
        with pytest.raises(NvoiError, match="cannot be had from https://mirror"):
            fleet.run(connections)
        (asked,) = host.read_log("curl.log")
        assert "-sSfL --proto-redir =https " in asked
        assert asked.endswith(" https://mirror.example/k3s")
        assert "is not https" not in told.text
        (host.root / "usr/local/bin/curl").unlink()
        fleet.site.body, fleet.settings = script, settings
        assert host.installations == []
        host.set_fault("broken-installer")
        with pytest.raises(NvoiError, match=r"installer of k3s v\S+ failed") as caught:
            fleet.run(connections)
        assert "[ERROR] Download failed" in caught.value.output
        host.clear_fault("broken-installer")
        # It is killed, and the next run goes on from there.
        host.set_fault("killed-installer")
        with pytest.raises(NvoiError, match="shop-main-1"):
            fleet.run(connections)
        assert host.has("/usr/local/bin/k3s")
        assert not host.has(STAMP_FILE)
        token = host.read_config()["token"]
        fleet.run(connections)
        assert host.read_config()["token"] == token
        assert list(read_nodes(fleet.cluster)) == ["shop-main-1"]

    def test_a_connection_that_breaks_while_it_installs(
        self, fleet: Fleet, connections: Connections
    ) -> None:
        host = fleet.hosts[0]
        host.set_fault("meet", "2")

        def cut() -> None:
            wait_until(lambda: len(host.installations) == 1, "the installer")
            fleet.machines[0].end_sessions()

        with ThreadPoolExecutor(1) as pool:
            cutting = pool.submit(cut)
            with pytest.raises(ConnectionLostError):
                fleet.run(connections)
            cutting.result()
        host.clear_fault("meet")
        fleet.run(connections)
        assert list(read_nodes(fleet.cluster)) == ["shop-main-1"]

    def test_a_service_that_crashes_again_and_again(
        self, fleet: Fleet, connections: Connections
    ) -> None:
        fleet.hosts[0].set_fault("crashes")
        with pytest.raises(NvoiError, match=r"k3s did not start.*journalctl") as caught:
            fleet.run(connections, seconds=60)
        assert any("flag provided but not defined" in line for line in caught.value.output)
        fleet.hosts[0].clear_fault("crashes")
        fleet.run(connections)
        assert len(fleet.hosts[0].installations) == 1

    def test_a_node_that_is_not_ready_or_does_not_reach_the_master(
        self, fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
    ) -> None:
        worker = fleet.add()
        fleet.run(connections)
        set_dead(fleet.cluster, "shop-main-2")
        with pytest.raises(NvoiError, match="shop-main-2 is NotReady: Kubelet stopped posting"):
            fleet.run(connections, seconds=1)
        assert fleet.run(connections, seconds=1, spare=["shop-main-2"])["shop-main-2"]
        (fleet.cluster.folder / "master").rename(fleet.cluster.folder / "unplugged")
        (worker.folder / "k3s-agent.active").unlink()
        with pytest.raises(NvoiError, match=r"must reach 10\.0\.0\.11 port 6443/tcp") as caught:
            fleet.run(connections, seconds=1)
        assert any("failed to get CA certs" in line for line in caught.value.output)
        # Where k3s cannot even be started on it, that is told, and is no more of a hindrance.
        node = fleet.cluster.find("Node", "shop-main-2")
        del node["metadata"]["labels"]["nvoi.io/app.shop"]
        fleet.cluster.add(node)
        told.clear()
        fleet.run(connections, seconds=1, spare=["shop-main-2"])
        assert told.text.count("k3s-agent did not start") == 1
        # Whose it is, other apps know all the same: it takes part again once it is back.
        node = fleet.cluster.find("Node", "shop-main-2")
        assert "nvoi.io/app.shop" in node["metadata"]["labels"]
        # One that was well has to be well again.
        register_node(fleet.cluster, "shop-main-2", ready=True)
        with pytest.raises(NvoiError, match="k3s-agent did not start"):
            fleet.run(connections, seconds=1, spare=["shop-main-2"])


def set_dead(cluster: ClusterState, name: str) -> None:
    """Have a node that does not answer."""
    register_node(cluster, name, ready=False)


def test_another_release_comes_to_one_node_after_the_other_the_master_first(
    fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    def read_releases() -> list[str]:
        nodes = read_nodes(fleet.cluster)
        return [nodes[name]["status"]["nodeInfo"]["kubeletVersion"] for name in sorted(nodes)]

    looks: dict[str, int] = {}

    def count_looks(item: Any) -> None:
        """How often nodes had been looked at when one was first seen with the new release."""
        info = item.get("status", {}).get("nodeInfo", {})
        if info.get("kubeletVersion") == NEW:
            name = item["metadata"]["name"]
            looks.setdefault(name, fleet.cluster.calls.count(["get", "nodes"]))

    fleet.cluster.listen(count_looks)
    fleet.add()
    fleet.settings = replace(fleet.settings, version=OLD)
    fleet.run(connections)
    # There is no way back.
    fleet.settings = replace(fleet.settings, version="v1.34.9+k3s1")
    with pytest.raises(NvoiError, match="does not support downgrades"):
        fleet.run(connections)
    assert [len(host.installations) for host in fleet.hosts] == [1, 1]
    # Where the config names no release, the cluster keeps its own.
    fleet.settings = replace(fleet.settings, version=None)
    assert fleet.add().installations == []
    fleet.run(connections)
    assert fleet.hosts[2].installations == [f"agent {OLD} true"]
    assert [host.starts for host in fleet.hosts] == [1, 1, 1]
    # One that fails leaves those after it alone.
    fleet.settings = replace(fleet.settings, version=NEW)
    fleet.hosts[1].set_fault("broken-installer")
    told.clear()
    with pytest.raises(NvoiError, match="shop-main-2"):
        fleet.run(connections)
    assert read_releases() == [NEW, OLD, OLD]
    fleet.hosts[1].clear_fault("broken-installer")
    fleet.run(connections)
    assert read_releases() == [NEW] * 3
    assert [host.installations[-1].split()[1] for host in fleet.hosts] == [NEW] * 3
    assert len(fleet.hosts[0].installations) == 2
    ready = [line.split(":")[0] for line in told.messages if " runs as node " in line]
    assert ready == ["shop-main-1", "shop-main-2", "shop-main-3"]
    # Each once the one before it is ready.
    assert looks["shop-main-1"] < looks["shop-main-2"] < looks["shop-main-3"]
