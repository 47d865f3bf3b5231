"""What the survey prints on the systems that there are."""

from __future__ import annotations

import ipaddress

import pytest

from nvoi.k3s.facts import (
    HEADER,
    K3s,
    read_addresses,
    read_facts,
    read_routes,
    split_sections,
)
from nvoi.secret import Secret

UBUNTU = f"""
@nvoi architecture
x86_64
@nvoi kernel
Linux 6.8.0-71-generic
@nvoi cloud-init
waiting 15
state done
@nvoi root
yes
@nvoi os
PRETTY_NAME="Ubuntu 24.04.2 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
ID=ubuntu
@nvoi processors
2
@nvoi memory
3910164
@nvoi disk
34522156
34522150
@nvoi clock
1764000000
@nvoi machine
3d1219c7c4c5404aaa1f6d2a48adfda4
@nvoi supervisor
systemd
@nvoi downloader
curl
@nvoi wireguard
unknown
@nvoi k3s
program /usr/local/bin/k3s
version k3s version v1.36.5+k3s1 (0d0b5c1a)
role agent
state active
registries 60303ae2
applied fd61a03a
@nvoi listening
tcp 00000000:192B 1234
tcp 00000000000000000000000000000000:192B 1234
udp 00000000:CA6C 0
@nvoi holders
1234 nginx
@nvoi addresses
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host noprefixroute \\       valid_lft forever
2: eth0    inet 203.0.113.7/32 metric 100 scope global dynamic eth0\\       valid_lft 86002sec
2: eth0    inet6 2001:db8::7/64 scope global \\       valid_lft forever preferred_lft forever
2: eth0    inet6 fe80::9400:4ff:fe0c:1/64 scope link \\       valid_lft forever
3: enp7s0    inet 10.0.0.3/32 brd 10.0.0.3 scope global dynamic enp7s0\\       valid_lft 86006sec
5: veth12@if2    inet 10.42.0.9/32 scope global veth12\\       valid_lft forever
@nvoi routes
default via 172.31.1.1 dev eth0 proto dhcp src 203.0.113.7 metric 100
10.0.0.0/16 via 10.0.0.1 dev enp7s0 proto dhcp src 10.0.0.3 metric 1002
10.0.0.1 dev enp7s0 proto dhcp scope link src 10.0.0.3 metric 1002
10.42.0.0/24 dev cni0 proto kernel scope link src 10.42.0.1
unreachable 192.168.9.0/24
@nvoi source
192.0.2.1 via 172.31.1.1 dev eth0 src 203.0.113.7 uid 0
@nvoi volumes
1000 770 /opt/nvoi/volumes/shop-main-data
@nvoi token
@nvoi config
{HEADER}
token: "s3cret"
node-name: "shop-web-2"
server: "https://10.0.0.2:6443"
@nvoi end
"""


def test_a_node_of_ubuntu() -> None:
    facts = read_facts(split_sections(UBUNTU), 1.5)
    assert (facts.architecture, facts.kernel, facts.kernel_release) == ("amd64", "Linux", (6, 8))
    assert facts.os_name == "Ubuntu 24.04.2 LTS"
    assert facts.processors == 2
    assert facts.memory == 3910164 * 1024
    assert (facts.disk, facts.programs_disk) == (34522156 * 1024, 34522150 * 1024)
    assert (facts.can_be_root, facts.clock_offset, facts.cloud_init) == (True, 1.5, "done")
    assert (facts.supervisor, facts.downloader, facts.has_wireguard) == ("systemd", "curl", True)
    assert facts.source == "203.0.113.7"
    assert facts.volumes == {"/opt/nvoi/volumes/shop-main-data": "1000 770"}
    assert [(one.protocol, one.port, one.program) for one in facts.used_ports] == [
        ("tcp", 6443, "nginx"),
        ("udp", 51820, ""),
    ]
    assert [(one.device, str(one.interface)) for one in facts.addresses] == [
        ("eth0", "203.0.113.7/32"),
        ("eth0", "2001:db8::7/64"),
        ("enp7s0", "10.0.0.3/32"),
        ("veth12", "10.42.0.9/32"),
    ]
    assert [(str(one.network), one.device, one.is_direct) for one in facts.routes] == [
        ("10.0.0.0/16", "enp7s0", False),
        ("10.0.0.1/32", "enp7s0", True),
        ("10.42.0.0/24", "cni0", True),
    ]


def test_its_k3s_and_no_secret_in_what_is_shown() -> None:
    k3s = read_facts(split_sections(UBUNTU), 0.0).k3s
    assert (k3s.version, k3s.role, k3s.is_active, k3s.is_ours) == (
        "v1.36.5+k3s1",
        "agent",
        True,
        True,
    )
    assert (k3s.registries_checksum, k3s.applied) == ("60303ae2", "fd61a03a")
    assert k3s.lines[1] == 'token: "s3cret"'
    assert k3s.config == {"node-name": "shop-web-2", "server": "https://10.0.0.2:6443"}
    assert k3s.node_name == "shop-web-2"
    assert k3s.token is not None
    assert k3s.token.reveal() == "s3cret"
    assert "s3cret" not in repr(k3s)


def test_a_bare_alpine_without_sudo() -> None:
    text = """
@nvoi architecture
aarch64
@nvoi kernel
Linux 5.4.72-0-virt
@nvoi cloud-init
@nvoi root
no sudo: a password is required
@nvoi os
NAME="Alpine Linux"
ID=alpine
VERSION_ID=3.20.3
@nvoi supervisor
openrc
@nvoi downloader
wget
@nvoi wireguard
unknown
@nvoi k3s
@nvoi addresses
- 10.0.0.5/32
- 127.0.0.1/32
@nvoi routes
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	0	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	0	00FFFFFF	0	0	0
@nvoi config
@nvoi end
"""
    facts = read_facts(split_sections(text), 0.0)
    assert (facts.architecture, facts.os_name, facts.supervisor) == (
        "arm64",
        "Alpine Linux",
        "openrc",
    )
    assert (facts.can_be_root, facts.root_problem) == (False, "sudo: a password is required")
    assert not facts.has_wireguard
    assert facts.k3s.role is None
    assert facts.source == "10.0.0.5"
    assert [(str(one.network), one.is_direct) for one in facts.routes] == [("10.0.0.0/24", True)]


def test_what_is_no_address_or_route_is_passed_over() -> None:
    assert list(read_addresses(["garbage", "2: eth0 inet nothing", ""])) == []
    assert read_facts({"listening": ["tcp", "tcp x:y 1", "", "a b c d"]}, 0.0).used_ports == ()


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("00000000", False),
        ("0100007F", True),
        ("0B00007F", True),
        ("7F000001", False),
        ("00000000000000000000000000000000", False),
        ("00000000000000000000000001000000", True),
    ],
)
def test_a_port_at_a_loopback_address_is_reached_from_inside_alone(
    address: str, inner: bool
) -> None:
    (port,) = read_facts({"listening": [f"tcp {address}:01BB 7"]}, 0.0).used_ports
    assert (port.port, port.is_inner) == (443, inner)
    assert read_facts({"disk": ["-"], "memory": ["x"]}, 0.0).disk == 0
    assert list(read_routes(["blackhole 10.0.0.0/8", "dev", "nonsense dev eth0"])) == []


def test_a_tunnel_has_its_own_address_and_not_its_peers() -> None:
    found = list(read_addresses(["4: wg0    inet 10.9.0.1 peer 10.9.0.2/32 scope global wg0"]))
    assert [one.interface for one in found] == [ipaddress.ip_interface("10.9.0.1/32")]


def test_without_a_token_in_its_config_it_is_the_one_beside_its_data() -> None:
    sections = {"config": ["node-name: a"], "token": ["K10abc::server:def"]}
    assert read_facts(sections, 0.0).k3s.token == Secret("K10abc::server:def")


GEM_UNIT = """\
@nvoi k3s
program /usr/local/bin/k3s
version k3s version v1.33.4+k3s1 (abc)
role {role}
state active
host Shop-Main-1
url https://10.0.0.11:6443
@nvoi unit
{unit}
@nvoi token
K10abc::server:of-the-gem
@nvoi config
{config}
@nvoi end
"""
GEM_SERVER = "\n".join(
    (
        *("bind-address=", "advertise-address=", "node-ip=10.0.0.11", "tls-san="),
        *("flannel-iface=eth0", "flannel-backend=", "disable=", "write-kubeconfig-mode="),
        *("cluster-cidr=", "service-cidr="),
    )
)
GEM_AGENT = "node-ip=10.0.0.12\nflannel-iface=eth0\nnode-name=shop-work-1"


def read_unit(role: str, unit: str, config: str = "") -> K3s:
    text = GEM_UNIT.format(role=role, unit=unit, config=config)
    return read_facts(split_sections(text), 0.0).k3s


@pytest.mark.parametrize(
    ("role", "unit", "name", "address"),
    [
        ("server", GEM_SERVER, "shop-main-1", "10.0.0.11"),
        ("agent", GEM_AGENT, "shop-work-1", "10.0.0.12"),
    ],
)
def test_k3s_that_the_gem_has_set_up_is_known_by_what_it_is_started_with(
    role: str, unit: str, name: str, address: str
) -> None:
    k3s = read_unit(role, unit)
    assert (k3s.is_of_gem, k3s.is_ours, k3s.node_name) == (True, True, name)
    assert k3s.config["node-ip"] == address
    assert k3s.token == Secret("K10abc::server:of-the-gem")


@pytest.mark.parametrize(
    ("unit", "config"),
    [
        ("", ""),
        ("", "a: ["),
        ("", "- a"),
        (f"{GEM_SERVER}\ntoken=", ""),
        (GEM_AGENT, ""),
        (GEM_SERVER, "token: x"),
    ],
)
def test_k3s_that_is_started_otherwise_is_somebody_else_s(unit: str, config: str) -> None:
    k3s = read_unit("server", unit, config)
    assert (k3s.is_of_gem, k3s.is_ours, k3s.node_name) == (False, False, None)
