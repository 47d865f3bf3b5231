"""Which address a node has among the others, what collides, and what its pods are kept from."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from nvoi.command import build_script
from nvoi.k3s.facts import METADATA_UNIT, METADATA_UNIT_FILE, NO_DEVICE, Address, Facts, Network
from nvoi.kubernetes.pods import POD_NETWORK
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

#: k3s' own default, as that of the pods; told to it all the same: no server may be in either.
SERVICE_NETWORK = "10.43.0.0/16"
RANGES = (
    ("pods", ipaddress.IPv4Network(POD_NETWORK)),
    ("services", ipaddress.IPv4Network(SERVICE_NETWORK)),
)
#: Devices that k3s, containers and virtual machines make: no way from one server to another.
INNER_DEVICES = ("cni", "flannel", "kube-", "veth", "docker", "br-", "virbr", "podman", "lo", "lxc")
#: Source: RFC 1918, section 3, and RFC 6598, section 7.
PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
#: Where a cloud's metadata is: the user data that a server was made with and, with some clouds,
#: credentials, which whoever asks from the server is given. All clouds have it at a link-local
#: address (RFC 3927), which pods need nothing of; some also at one of IPv6, which k3s gives pods
#: none of. A rule on each node holds for all pods of the cluster from their first packet on; a
#: NetworkPolicy would hold for those of its namespace, and from some time after their start on.
METADATA = "169.254.0.0/16"
#: Before any other rule can let them through (iptables(8), TABLES).
RULE = f"PREROUTING -s {POD_NETWORK} -d {METADATA} -j DROP"
ENSURE = f"iptables -w -t raw -C {RULE} 2>/dev/null || iptables -w -t raw -I {RULE}"
#: systemd.unit(5), systemd.service(5).
UNIT = f"""\
[Unit]
Description=Keeps pods from the metadata of the cloud
Before=k3s.service k3s-agent.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{ENSURE}'

[Install]
WantedBy=multi-user.target
"""
#: Its arguments: the unit's name, and its file.
INSTALL = f"""\
set -eu
mkdir -p "${{2%/*}}"
cat >"$2.new" <<'END'
{UNIT}END
mv -f "$2.new" "$2"
systemctl daemon-reload
systemctl enable "$1"
systemctl restart "$1"
"""


def list_addresses(facts: Facts) -> dict[str, Address]:
    """The IPv4 addresses under which other servers may reach one, by their text."""
    return {
        str(one.interface.ip): one
        for one in facts.addresses
        if is_outer(one.device) and one.interface.version == 4  # noqa: PLR2004
    }


def is_outer(device: str) -> bool:
    return not device.startswith(INNER_DEVICES)


def is_inside(network: Network, outer: Sequence[ipaddress.IPv4Network]) -> bool:
    return isinstance(network, ipaddress.IPv4Network) and any(map(network.subnet_of, outer))


def choose_addresses(servers: Sequence[Server], facts: Mapping[str, Facts]) -> dict[str, str]:
    """The address of each node among the nodes, by the servers' names; the master comes first.

    That is the one the config gives, else the one that the node already has, else the one in a
    private network that all servers share, else the one that the server goes out with. A server
    that has none is left out.
    """
    preferred = find_shared_networks([facts[server.name] for server in servers])
    chosen: dict[str, str] = {}
    for server in servers:
        address = choose_address(server, facts[server.name], preferred)
        if address is None:
            continue
        chosen[server.name] = address
        own = list_addresses(facts[server.name]).get(address)
        network = find_network(own, facts[server.name]) if own else None
        if server.is_master and network is not None and is_inside(network, PRIVATE):
            preferred = [network]
    return chosen


def choose_address(server: Server, facts: Facts, preferred: Sequence[Network]) -> str | None:
    """The address of one node; the first of the ``preferred`` networks that it is in counts."""
    if server.private_ip:
        return server.private_ip
    own = list_addresses(facts)
    present = facts.k3s.config.get("node-ip")
    if facts.k3s.is_ours and isinstance(present, str) and present in own:
        return present
    for wanted in preferred:
        found = next((text for text, one in own.items() if one.interface.ip in wanted), None)
        if found:
            return found
    return facts.source or next(iter(own), None)


def find_device(address: str, facts: Facts) -> str | None:
    """The device that has one of the server's addresses, where the server could say it."""
    for one in facts.addresses:
        if str(one.interface.ip) == address and one.device != NO_DEVICE:
            return one.device
    return None


def find_shared_networks(hosts: Sequence[Facts]) -> list[Network]:
    """The private networks that every one of several servers has an address of its own in.

    That of the first server's default route comes first. Addresses that two servers have are
    none to be told apart by.
    """
    if len(hosts) < 2:  # noqa: PLR2004 - one server shares nothing
        return []
    own = list_addresses(hosts[0])
    first = sorted(own, key=lambda text: text != hosts[0].source)
    return [
        network
        for network in dict.fromkeys(find_network(own[text], hosts[0]) for text in first)
        if is_inside(network, PRIVATE) and network.prefixlen < network.max_prefixlen
        if is_shared(network, hosts)
    ]


def is_shared(network: Network, hosts: Sequence[Facts]) -> bool:
    """Whether each of the servers has an address in ``network`` that no other has."""
    found = [
        next((ip for ip, one in list_addresses(host).items() if one.interface.ip in network), None)
        for host in hosts
    ]
    return None not in found and len(set(found)) == len(hosts)


def find_network(address: Address, facts: Facts) -> Network:
    """The network of an address; clouds give single addresses and a route beside them."""
    own = address.interface.network
    if own.prefixlen < own.max_prefixlen:
        return own
    routes = [
        route.network
        for route in facts.routes
        if address.interface.ip in route.network
        if route.device == address.device and route.network.prefixlen < own.prefixlen
    ]
    return max(routes, key=lambda network: network.prefixlen, default=own)


def find_overlaps(facts: Facts) -> Iterator[str]:
    """The server's own networks that pods' or services' addresses would be taken from.

    A route to a wider network behind a gateway is none: what the cluster has is more exact.
    """
    taken_ranges = [taken for _, taken in RANGES]
    routes = [one for one in facts.routes if one.is_direct or is_inside(one.network, taken_ranges)]
    own = [(one.interface.network, one.device) for one in facts.addresses]
    own += [(one.network, one.device) for one in routes]
    for network, device in dict.fromkeys(own):
        for what, taken in RANGES:
            if is_outer(device) and network.version == taken.version and network.overlaps(taken):
                yield f"its network {network} ({device}) overlaps {taken}, which is for {what}"


def shuts_pods_out(facts: Facts) -> bool:
    """Whether a firewall of the server's keeps pods from the cluster's API and DNS."""
    pods = ipaddress.IPv4Network(POD_NETWORK)
    let_in = [one for one in facts.let_in if isinstance(one, ipaddress.IPv4Network)]
    return bool(facts.firewall) and not is_inside(pods, let_in)


def ensure_metadata_blocked(
    connections: Connections, servers: Sequence[Server], facts: Mapping[str, Facts]
) -> None:
    """Have all servers keep their pods from the metadata of their cloud, also after a restart."""
    wanted = hashlib.sha256(UNIT.encode()).hexdigest()
    hosts = [one.host for one in servers if facts[one.name].metadata_unit_checksum != wanted]
    command = build_script(METADATA_UNIT, INSTALL, METADATA_UNIT, METADATA_UNIT_FILE)
    if hosts:
        work_on_all(hosts, lambda host: connections.run(host, as_root(host, command)))
        names = ", ".join(host.name for host in hosts)
        log.info("%s: pods are kept from the metadata of the cloud", names)
