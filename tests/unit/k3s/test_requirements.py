"""What servers lack, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import NvoiError
from nvoi.k3s.facts import Facts, K3s, UsedPort
from nvoi.k3s.requirements import MEBIBYTE, check_all, find_faults, find_upgrade_fault
from nvoi.secret import Secret
from tests.unit.k3s.servers import GIBIBYTE, build_address, build_facts, build_k3s, build_server

MASTER, WORKER = build_server(1), build_server(2)


def look(facts: Facts, *, is_master: bool = True) -> list[str]:
    """What one server lacks."""
    return [*find_faults(MASTER if is_master else WORKER, facts, None)]


FOREIGN = build_k3s(role=None, is_ours=False, lines=("token: x",), applied="")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "armv7l"}, "Linux on armv7l"),
        ({"kernel": "FreeBSD"}, "FreeBSD on amd64"),
        ({"can_be_root": False, "root_problem": "sudo is not installed"}, "sudo is not installed"),
        ({"supervisor": None}, "neither systemd nor OpenRC"),
        ({"downloader": None}, "install curl"),
        ({"has_wireguard": False, "kernel_release": (5, 4)}, "kernel 5.4 has no WireGuard"),
        ({"clock_offset": 45.0}, "its clock is 45 s ahead of this machine's"),
        ({"clock_offset": -90.0}, "its clock is 90 s behind"),
        ({"cloud_init": "running"}, "cloud-init has not come to its end"),
        ({"memory": 980 * MEBIBYTE}, "has 980 MB of memory; the master needs 2.0 GB"),
        ({"disk": 500 * MEBIBYTE}, "has 500 MB free for /var/lib/rancher, 2.0 GB are needed"),
        ({"disk": 100 * MEBIBYTE, "k3s": build_k3s()}, "has 100 MB free for /var/lib/rancher"),
        ({"programs_disk": 90 * MEBIBYTE}, "has 90 MB free in /usr/local/bin"),
        ({"addresses": (), "source": None}, "give it a private_ip"),
        ({"k3s": FOREIGN}, "files in /etc/rancher/k3s that nvoi did not write"),
        ({"k3s": build_k3s("agent")}, "is the worker of a cluster and cannot become the master"),
    ],
)
def test_each_thing_that_is_missing_is_told(changes: dict[str, Any], told: str) -> None:
    assert [told in line for line in look(build_facts(**changes))] == [True]


def test_ports_of_the_ingress_are_free_and_those_of_k3s_its_own_where_it_runs() -> None:
    ports = (UsedPort("tcp", 6443, "k3s-server"), UsedPort("tcp", 443, "caddy"))
    taken = "caddy has port 443/tcp, which the ingress needs: stop it, or have it move"
    assert look(build_facts(used_ports=ports, k3s=build_k3s())) == [taken]
    inner = (UsedPort("tcp", 443, "caddy", is_inner=True),)
    assert look(build_facts(used_ports=inner)) == []
    both = look(build_facts(used_ports=ports))
    assert both == [
        "k3s-server has port 6443/tcp, which k3s needs: stop it, or have it move",
        taken,
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        # What a machine of 2 GB shows.
        {"memory": int(1.9 * GIBIBYTE)},
        {"clock_offset": 29.0},
        {"cloud_init": "done"},
        {"cloud_init": "error"},
        {"cloud_init": "disabled"},
        # A node that runs needs less room.
        {"disk": 300 * MEBIBYTE, "programs_disk": MEBIBYTE, "k3s": build_k3s()},
    ],
)
def test_what_is_good_enough(changes: dict[str, Any]) -> None:
    assert look(build_facts(**changes)) == []


def test_a_worker_needs_less_memory_than_the_master_and_is_no_master() -> None:
    assert look(build_facts(2, memory=470 * MEBIBYTE), is_master=False) == []
    assert len(look(build_facts(2, memory=300 * MEBIBYTE), is_master=False)) == 1
    (line,) = look(build_facts(2, k3s=build_k3s()), is_master=False)
    assert "is the master of a cluster and cannot become a worker" in line


def test_what_the_config_says_does_not_fit() -> None:
    server = build_server(1, private_ip="10.9.9.9")
    (line,) = find_faults(server, build_facts(), None)
    assert line == "private_ip 10.9.9.9 is none of its addresses (10.0.0.11)"
    (line,) = find_faults(MASTER, build_facts(k3s=build_k3s()), "v1.30.1+k3s1")
    assert "does not support downgrades" in line


ADDRESS = {"addresses": (build_address("eth0", "10.0.2.15/24"),), "source": "10.0.2.15"}
NODE = {"node-name": "shop-main-2"}
OF_GEM = build_k3s(is_of_gem=True, config={"node-ip": "10.0.0.11"}, applied="")
JOINED = {"node-name": "shop-work-1", "server": "https://10.0.0.11:6443"}
STRANGE = JOINED | {"server": "https://10.0.0.99:6443"}


def join(**changes: Any) -> K3s:
    return build_k3s("agent", is_of_gem=True, applied="", token=None, **changes)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            [build_facts(1, clock_offset=-20.0), build_facts(2, clock_offset=25.0)],
            "shop-main-2 (203.0.113.2): its clock is 45 s ahead of that of shop-main-1",
        ),
        (
            [build_facts(1, **ADDRESS), build_facts(2, **ADDRESS)],
            "has the address 10.0.2.15 as shop-main-1",
        ),
        (
            [
                build_facts(1, k3s=build_k3s()),
                build_facts(2, k3s=build_k3s("agent", config=NODE)),
                build_facts(3, k3s=build_k3s("agent", config=NODE)),
            ],
            "shop-main-3 (203.0.113.3): is the node 'shop-main-2', as shop-main-2",
        ),
        (
            [build_facts(1), build_facts(2, machine_id="machine-1")],
            "shop-main-2 (203.0.113.2): is the same machine as shop-main-1",
        ),
        (
            [
                build_facts(1, k3s=build_k3s()),
                build_facts(2, k3s=build_k3s("agent", token=Secret("other"))),
            ],
            "belongs to another cluster",
        ),
        (
            [build_facts(1, k3s=OF_GEM), build_facts(2, k3s=join(config=STRANGE))],
            "belongs to another cluster, that of https://10.0.0.99:6443",
        ),
    ],
    ids=["clocks", "address", "node", "machine", "cluster", "cluster of the gem"],
)
def test_servers_that_do_not_fit_together(found: list[Facts], told: str) -> None:
    servers = [build_server(number) for number in range(1, len(found) + 1)]
    named: Any = {server.name: one for server, one in zip(servers, found, strict=True)}
    with pytest.raises(NvoiError) as caught:
        check_all(servers, named, None)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "found",
    [
        [build_facts(1, k3s=OF_GEM), build_facts(2, k3s=join(config=JOINED))],
        # Its first installation was cut short.
        [build_facts(1), build_facts(2, k3s=build_k3s("agent", token=Secret("a"), applied=""))],
    ],
    ids=["of the gem", "cut short"],
)
def test_a_worker_that_is_taken(found: list[Facts]) -> None:
    named: Any = dict(zip(("shop-main-1", "shop-main-2"), found, strict=True))
    assert check_all([MASTER, WORKER], named, None) == named


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        ("v1.35.5+k3s1", "v1.35.5+k3s1"),
        ("v1.35.5+k3s1", "v1.35.6+k3s1"),
        ("v1.35.5+k3s2", "v1.35.5+k3s1"),
        ("v1.35.5+k3s1", "v1.36.4+k3s1"),
        ("v1.36.4+k3s-of-somebody", "v1.36.4+k3s1"),
        ("v1.36.4+k3s1", "v1.30.1+rke2r1"),
        ("v1.36.2-rc1+k3s1", "v1.36.2+k3s1"),
        (None, "v1.36.4+k3s1"),
    ],
)
def test_upgrades_that_are_supported(installed: str | None, wanted: str) -> None:
    assert find_upgrade_fault(installed, wanted) is None


def test_a_downgrade_is_none() -> None:
    assert "does not support downgrades" in str(find_upgrade_fault("v1.36.4+k3s1", "v1.36.3+k3s1"))
    assert "does not support downgrades" in str(find_upgrade_fault("v1.36.4+k3s1", "v1.35.9+k3s1"))


def test_a_minor_release_is_not_skipped() -> None:
    fault = find_upgrade_fault("v1.34.4+k3s1", "v1.36.4+k3s1")
    assert "a release of v1.35 first" in str(fault)
