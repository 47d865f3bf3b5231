"""What servers are like is asked once, and all that they lack is told at once."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from nvoi.errors import ConnectionFailedError, NvoiError
from nvoi.k3s import read_script
from nvoi.k3s.drain import uninstall
from nvoi.k3s.facts import CONFIG_FILE, Facts, UsedPort, read_facts, split_sections
from nvoi.k3s.plan import K3sSettings
from nvoi.k3s.survey import find_token, survey
from nvoi.ssh.connections import Connections
from tests.fakes.k3s_host import register_node
from tests.integration.images.podman import BUSYBOX
from tests.integration.k3s.conftest import Fleet


def test_one_command_a_host_tells_what_it_is_like(fleet: Fleet, connections: Connections) -> None:
    fleet.add(user="deploy")
    (fleet.hosts[1].root / "opt/nvoi/volumes/shop-web-data").mkdir(parents=True)
    facts = fleet.survey(connections)
    assert fleet.count_commands() == {"shop-main-1": 1, "shop-main-2": 1}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert fleet.architectures == {"shop-main-1": machine, "shop-main-2": machine}
    for server in fleet.servers:
        own = facts[server.name]
        assert (own.kernel, own.architecture, own.can_be_root) == ("Linux", machine, True)
        assert own.kernel_release > (3, 0)
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert own.memory == pytest.approx(total, rel=0.01)
        assert own.disk > 0
        assert own.programs_disk > 0
        assert abs(own.clock_offset) < 10
        assert own.supervisor == "systemd"
        assert own.downloader in ("curl", "wget")
        assert own.used_ports == ()
        assert own.k3s.role is None
    assert facts["shop-main-1"].source == "10.0.0.11"
    assert facts["shop-main-1"].machine_id != facts["shop-main-2"].machine_id
    assert facts["shop-main-2"].volumes == {"/opt/nvoi/volumes/shop-web-data": "0 755"}


def test_a_master_tells_the_token_of_its_cluster_where_it_is_nvoi_s(
    fleet: Fleet, connections: Connections
) -> None:
    host = fleet.servers[0].host
    assert find_token(connections, host) is None
    fleet.run(connections)
    assert find_token(connections, host) == fleet.hosts[0].read_config()["token"]
    config = fleet.hosts[0].root / "etc/rancher/k3s/config.yaml"
    config.write_text("token: somebody-else-s\n")
    assert find_token(connections, host) is None


def test_a_host_with_busybox_alone_is_as_good(fleet: Fleet, connections: Connections) -> None:
    host = fleet.hosts[0]
    applets = "awk cat chmod cut date df grep head id ls mkdir mktemp mv rm sed sh sha256sum sleep"
    for name in f"{applets} sort sync tail tr uname wc wget".split():
        host.add_program(name, f'#!/bin/busybox sh\nexec /bin/busybox {name} "$@"\n')
    address = host.root / "usr/local/bin/ip"
    script = address.read_text()
    host.add_program("ip", "#!/bin/sh\nexit 1\n")
    facts = fleet.survey(connections)["shop-main-1"]
    assert facts.processors > 0
    assert facts.memory > 0
    assert facts.disk > 0
    assert facts.can_be_root
    assert facts.source in {str(one.interface.ip) for one in facts.addresses}
    host.add_program("ip", script)
    fleet.run(connections)
    assert host.starts == 1
    uninstall(connections, fleet.servers)
    assert host.removals == ["k3s"]


def test_a_wget_that_checks_no_certificates_is_told_from_another(tmp_path: Path) -> None:
    for name in ("awk", "cat", "cut", "date", "df", "grep", "head", "sed", "tail", "wget"):
        (tmp_path / name).symlink_to(BUSYBOX)
    words = ("ports", *("/nonexistent",) * 4)
    done = subprocess.run(
        [BUSYBOX, "sh", "-c", read_script("survey_as_root.sh"), "survey", *words],
        env={"PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    facts = read_facts(split_sections(done.stdout), 0.0)
    assert facts.downloader == "busybox"
    assert facts.processors > 0
    assert facts.memory > 0


def test_all_that_is_missing_is_told_at_once(fleet: Fleet, connections: Connections) -> None:
    worker = fleet.add(user="deploy", sudo=False)
    fleet.add()
    with socket.create_server(("127.0.0.1", 0)) as held:
        inode = os.fstat(held.fileno()).st_ino
        fleet.hosts[0].take_port("tcp", 6443, inode)
        worker.take_port("udp", 51820)
        fleet.hosts[2].set_address("10.42.7.9")
        with pytest.raises(NvoiError) as caught:
            fleet.look(connections)
    text = str(caught.value)
    program = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert f"shop-main-1 (127.0.0.1 port {fleet.servers[0].host.port}): {program} has port " in text
    assert "6443/tcp" in text
    assert "NOPASSWD in sudoers(5)" in text
    assert "something has port 51820/udp" in text
    assert "its network 10.42.7.0/24 (eth0) overlaps 10.42.0.0/16, which is for pods" in text
    assert "nothing was installed yet" in text
    assert len(text.splitlines()) == 5
    assert [host.installations for host in fleet.hosts] == [[], [], []]


def test_a_port_that_k3s_has_itself_is_not_missing(fleet: Fleet, connections: Connections) -> None:
    fleet.run(connections)
    fleet.hosts[0].take_port("tcp", 6443)
    fleet.look(connections)
    with socket.create_server(("127.0.0.1", 0)) as held:
        fleet.hosts[0].take_port("tcp", 443, os.fstat(held.fileno()).st_ino)
        found = survey(connections, fleet.servers, ingress=True)["shop-main-1"]
    assert isinstance(found, Facts)
    program = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert UsedPort("tcp", 443, program) in found.used_ports


def test_a_k3s_of_somebody_else_is_not_touched(fleet: Fleet, connections: Connections) -> None:
    host = fleet.hosts[0]
    fleet.run(connections)
    text = 'token: "theirs"\nflannel-backend: vxlan\n'
    (host.root / CONFIG_FILE.lstrip("/")).write_text(text)
    with pytest.raises(NvoiError, match=r"nvoi did not install.*flannel backend vxlan") as caught:
        fleet.run(connections)
    assert "k3s-uninstall.sh" in str(caught.value)
    assert host.read(CONFIG_FILE) == text
    assert host.starts == 1


UFW_RULES = """\
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
### tuple ### deny any any 0.0.0.0/0 any 10.0.0.0/8 in
### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in_tailscale0
"""


def test_a_firewall_that_shuts_pods_out_is_told_with_the_remedy(
    fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    folder = fleet.hosts[0].root / "etc"
    for name in ("ufw", "default", "firewalld/zones"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rules, enabled = folder / "ufw/user.rules", folder / "ufw/ufw.conf"
    rules.write_text(UFW_RULES)
    enabled.write_text("ENABLED=no\n")
    fleet.look(connections)
    assert "blocks the pods" not in told.text
    enabled.write_text("ENABLED=yes\n")
    fleet.look(connections)
    assert "shop-main-1: ufw blocks the pods" in told.text
    assert "ufw allow from 10.42.0.0/16 && ufw allow from 10.43.0.0/16" in told.text
    told.clear()
    rules.write_text(f"{UFW_RULES}### tuple ### allow any any 0.0.0.0/0 any 10.42.0.0/16 in\n")
    fleet.look(connections)
    enabled.unlink()
    fleet.hosts[0].add_program("systemctl", "#!/bin/sh\necho active\n")
    trusted = folder / "firewalld/zones/trusted.xml"
    trusted.write_text('<zone>\n  <source address="10.42.0.0/16"/>\n</zone>\n')
    fleet.look(connections)
    assert "blocks the pods" not in told.text
    trusted.unlink()
    fleet.look(connections)
    assert "shop-main-1: firewalld blocks the pods" in told.text
    assert "--zone=trusted --add-source=10.42.0.0/16" in told.text


def test_cloud_init_is_waited_for(
    fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
) -> None:
    fleet.hosts[0].set_cloud_init("running", "running", "done")
    facts = fleet.look(connections)
    assert facts["shop-main-1"].cloud_init == "done"
    fleet.hosts[0].set_cloud_init("error")
    fleet.look(connections)
    assert "shop-main-1: cloud-init failed: a module failed" in told.text


class TestUnreachable:
    """A server that does not answer ends the run before anything is changed."""

    def test_all_of_them_are_named_with_what_the_others_lack(
        self, fleet: Fleet, connections: Connections
    ) -> None:
        fleet.add()
        fleet.add()
        fleet.machines[1].stop()
        fleet.hosts[2].take_port("tcp", 10250)
        with pytest.raises(NvoiError) as caught:
            fleet.look(connections)
        assert "shop-main-2" in str(caught.value)
        assert "something has port 10250/tcp" in str(caught.value)
        fleet.machines[2].stop()
        with pytest.raises(NvoiError, match=r"(?s)2 things are missing.*main-2.*main-3"):
            fleet.look(connections)

    def test_a_dead_worker_is_told_as_the_cluster_sees_it(
        self, fleet: Fleet, connections: Connections, told: pytest.LogCaptureFixture
    ) -> None:
        fleet.add()
        fleet.run(connections)
        fleet.machines[1].stop()
        register_node(fleet.cluster, "shop-main-2", ready=False)
        fleet.settings = K3sSettings(
            install_url=fleet.site.url, mirrors={"docker.io": ("https://x",)}
        )
        with pytest.raises(ConnectionFailedError, match="shop-main-2"):
            fleet.run(connections)
        assert "the node shop-main-2: NotReady: Kubelet stopped posting" in told.text
        assert fleet.hosts[0].starts == 1
