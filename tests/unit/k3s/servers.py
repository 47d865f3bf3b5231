"""Servers and facts for tests: what a healthy small machine is like."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from nvoi.k3s.facts import Address, Facts, K3s, NetworkRoute
from nvoi.kubernetes.cluster import Cluster
from nvoi.providers.provider import Server
from nvoi.secret import Secret
from nvoi.ssh.host import Host

GIBIBYTE = 1 << 30
VERSION = "v1.36.5+k3s1"


def build_server(number: int = 1, group: str = "main", **changes: object) -> Server:
    """A server; the first is the master."""
    name = f"shop-{group}-{number}"
    server = Server(name, group, Host(name, f"203.0.113.{number}"), is_master=number == 1)
    return replace(server, **changes)  # type: ignore[arg-type]


def build_facts(number: int = 1, **changes: object) -> Facts:
    """A server of 4 GB in a network 10.0.0.0/24, as it comes."""
    address = f"10.0.0.{10 + number}"
    facts = Facts(
        architecture="amd64",
        kernel_release=(6, 1),
        memory=4 * GIBIBYTE,
        disk=20 * GIBIBYTE,
        programs_disk=20 * GIBIBYTE,
        addresses=(build_address("eth0", f"{address}/24"),),
        routes=(build_route("10.0.0.0/24", "eth0", is_direct=True),),
        source=address,
        machine_id=f"machine-{number}",
        supervisor="systemd",
        downloader="curl",
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def build_k3s(role: str | None = "server", **changes: object) -> K3s:
    """A k3s of nvoi's that runs."""
    k3s = K3s(
        program="/usr/local/bin/k3s",
        version=VERSION,
        role=role,
        is_active=True,
        is_ours=True,
        token=Secret("token-of-the-cluster"),
        applied="stamp",
    )
    return replace(k3s, **changes)  # type: ignore[arg-type]


def build_address(device: str, text: str) -> Address:
    """An address with its network."""
    return Address(device, ipaddress.ip_interface(text))


def build_route(network: str, device: str, *, is_direct: bool) -> NetworkRoute:
    """A route to a network."""
    return NetworkRoute(ipaddress.ip_network(network), device, is_direct)


class Answers(Cluster):
    """A cluster that has these nodes."""

    def __init__(self, *nodes: Any) -> None:
        self.nodes = nodes

    def get(self, *_: object, **__: object) -> tuple[Any, ...]:
        return self.nodes
