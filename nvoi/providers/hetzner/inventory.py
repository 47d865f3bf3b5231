"""What a project at Hetzner has: hcloud's objects by kind, and what they tell of each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hcloud.firewalls import FirewallRule
from hcloud.servers import PublicNetwork

#: In the order in which they can be deleted.
SERVER, VOLUME, FIREWALL, NETWORK, KEY = "server", "volume", "firewall", "network", "SSH key"
INITIALIZING = "initializing"

#: Of a rule: its direction, protocol and port, and whom it lets through.
Rule = tuple[str, str, str | None, frozenset[str]]


@dataclass(frozen=True)
class Record:
    """``data`` is the object of hcloud, which asks the API where a part of another is looked at."""

    kind: str
    id: int
    name: str
    labels: Mapping[str, str] = field(compare=False)
    data: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def is_server(self) -> bool:
        return self.kind == SERVER

    @property
    def is_data(self) -> bool:
        return self.kind == VOLUME

    @property
    def type(self) -> str:
        """The server type."""
        return str(self.data.server_type.name)

    @property
    def location(self) -> str:
        return str(self.data.location.name)

    place = location

    @property
    def size(self) -> int:
        """GB of a volume."""
        return int(self.data.size)

    @property
    def holder(self) -> int | None:
        """The id of the server that a volume is attached to."""
        server = self.data.server
        return int(server.id) if server else None

    @property
    def addresses(self) -> dict[int, str]:
        """The private addresses of a server by the ids of networks."""
        return {one.network.id: one.ip for one in self.data.private_net or []}

    @property
    def firewalls(self) -> set[int]:
        """The ids of those that a server is behind."""
        return {one.firewall.id for one in self.data.public_net.firewalls or []}

    @property
    def subnets(self) -> dict[str, str]:
        """The network zones of a network's subnets by their ranges."""
        return {one.ip_range: one.network_zone for one in self.data.subnets or []}

    @property
    def rules(self) -> set[Rule]:
        return {read_rule(one) for one in self.data.rules or []}


def build_record(kind: str, data: Any) -> Record:
    return Record(kind, data.id, data.name, data.labels or {}, data)


def list_busy(records: Iterable[Record]) -> Iterable[str]:
    """What Hetzner still works on, as far as records tell."""
    for one in records:
        if one.is_server and (one.data.locked or one.data.status == INITIALIZING):
            yield f"{one} is {one.data.status}"
        if one.is_data and one.data.status != one.data.STATUS_AVAILABLE:
            yield f"{one} is being made"


def find_address(public: PublicNetwork) -> str | None:
    """The IPv4 address; of a server without one the first of its IPv6 network."""
    if public.ipv4 is not None:
        return str(public.ipv4.ip)
    return str(ipaddress.ip_network(public.ipv6.ip)[1]) if public.ipv6 is not None else None


def read_rule(rule: FirewallRule) -> Rule:
    addresses: Collection[str] = [*rule.source_ips, *rule.destination_ips]
    return rule.direction, rule.protocol, rule.port, frozenset(addresses)
