"""What an account has of an app, read from hcloud's objects into records of plain values.

hcloud's own ask the API for what they lack when it is looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hcloud.firewalls import BoundFirewall, FirewallRule
from hcloud.networks import BoundNetwork
from hcloud.servers import BoundServer, PublicNetwork
from hcloud.ssh_keys import BoundSSHKey
from hcloud.volumes import BoundVolume

R = TypeVar("R", bound="Record")

SERVER, VOLUME, NETWORK, FIREWALL, KEY = "server", "volume", "network", "firewall", "SSH key"
INITIALIZING = "initializing"


@dataclass(frozen=True)
class Record:
    id: int
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class ServerRecord(Record):
    """``networks`` has the private addresses by the networks' ids."""

    status: str
    is_locked: bool
    type: str
    location: str
    address: str | None
    networks: Mapping[int, str]
    firewalls: frozenset[int]

    @property
    def is_busy(self) -> bool:
        """Whether nothing can be done to it now."""
        return self.is_locked or self.status == INITIALIZING


@dataclass(frozen=True)
class VolumeRecord(Record):
    size: int
    location: str
    server: int | None
    device: str
    is_ready: bool


@dataclass(frozen=True)
class NetworkRecord(Record):
    """``subnets`` has their network zones by their ranges."""

    range: str
    subnets: Mapping[str, str]


@dataclass(frozen=True)
class FirewallRecord(Record):
    rules: frozenset[tuple[str, str, str | None, frozenset[str]]]


@dataclass(frozen=True)
class KeyRecord(Record):
    public_key: str


@dataclass(frozen=True)
class Listing(Generic[R]):
    """Resources of a kind by their names: those with the app's labels, and others so named."""

    own: dict[str, R] = field(default_factory=dict)
    others: dict[str, R] = field(default_factory=dict)

    def find(self, name: str) -> R | None:
        return self.own.get(name) or self.others.get(name)


@dataclass(frozen=True)
class Found:
    """What an account has of an app."""

    servers: Listing[ServerRecord]
    volumes: Listing[VolumeRecord]
    networks: Listing[NetworkRecord]
    firewalls: Listing[FirewallRecord]
    keys: Listing[KeyRecord]

    def list_busy(self) -> list[str]:
        """What Hetzner still works on, as far as records tell."""
        servers = [*self.servers.own.values(), *self.servers.others.values()]
        busy = [f"{SERVER} {one.name} is {one.status}" for one in servers if one.is_busy]
        return [
            *busy,
            *(
                f"{VOLUME} {one.name} is being made"
                for one in self.volumes.own.values()
                if not one.is_ready
            ),
        ]

    def list_disks(self, server: ServerRecord) -> list[VolumeRecord]:
        return [one for one in self.volumes.own.values() if one.server == server.id]

    def list_unwanted(
        self, servers: Collection[str], volumes: Collection[str]
    ) -> tuple[list[ServerRecord], list[VolumeRecord]]:
        """The app's that these names do not name."""
        return (
            [one for name, one in self.servers.own.items() if name not in servers],
            [one for name, one in self.volumes.own.items() if name not in volumes],
        )

    def list_kinds(self) -> Iterable[tuple[str, Listing[Any]]]:
        """All listings, in the order in which their resources can be deleted."""
        yield SERVER, self.servers
        yield VOLUME, self.volumes
        yield FIREWALL, self.firewalls
        yield NETWORK, self.networks
        yield KEY, self.keys


def read_server(server: BoundServer) -> ServerRecord:
    public = server.public_net
    firewalls = (public.firewalls if public else None) or []
    return ServerRecord(
        id=server.id or 0,
        name=server.name or "",
        labels=dict(server.labels or {}),
        status=server.status or "",
        is_locked=bool(server.locked),
        type=(server.server_type.name if server.server_type else None) or "",
        location=(server.location.name if server.location else None) or "",
        address=find_address(public) if public else None,
        networks={one.network.id or 0: one.ip for one in server.private_net or []},
        firewalls=frozenset(one.firewall.id for one in firewalls if one.firewall.id),
    )


def find_address(public: PublicNetwork) -> str | None:
    """The IPv4 address; of a server without one the first of its IPv6 network."""
    if public.ipv4 is not None:
        return public.ipv4.ip
    return str(ipaddress.ip_network(public.ipv6.ip)[1]) if public.ipv6 is not None else None


def read_volume(volume: BoundVolume) -> VolumeRecord:
    return VolumeRecord(
        id=volume.id or 0,
        name=volume.name or "",
        labels=dict(volume.labels or {}),
        size=volume.size or 0,
        location=(volume.location.name if volume.location else None) or "",
        server=volume.server.id if volume.server else None,
        device=volume.linux_device or "",
        is_ready=volume.status == "available",
    )


def read_network(network: BoundNetwork) -> NetworkRecord:
    return NetworkRecord(
        id=network.id or 0,
        name=network.name or "",
        labels=dict(network.labels or {}),
        range=network.ip_range or "",
        subnets={one.ip_range: one.network_zone or "" for one in network.subnets or []},
    )


def read_firewall(firewall: BoundFirewall) -> FirewallRecord:
    return FirewallRecord(
        id=firewall.id or 0,
        name=firewall.name or "",
        labels=dict(firewall.labels or {}),
        rules=frozenset(read_rule(rule) for rule in firewall.rules or []),
    )


def read_rule(rule: FirewallRule) -> tuple[str, str, str | None, frozenset[str]]:
    addresses = frozenset([*rule.source_ips, *rule.destination_ips])
    return rule.direction, rule.protocol, rule.port, addresses


def read_key(key: BoundSSHKey) -> KeyRecord:
    return KeyRecord(key.id or 0, key.name or "", dict(key.labels or {}), key.public_key or "")
