"""What a server is like, as records."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nvoi.secret import Secret

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The device of an address where the server could not say it.
NO_DEVICE = "-"
EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Address:
    """One address of a server, with the network it is in."""

    device: str
    interface: Interface


@dataclass(frozen=True)
class Route:
    """A network that a server reaches; ``is_direct`` without a gateway between."""

    network: Network
    device: str
    is_direct: bool


@dataclass(frozen=True)
class Listener:
    """A port that is in use; ``program`` has it, where that can be seen."""

    protocol: str
    port: int
    program: str = ""


@dataclass(frozen=True)
class K3s:
    """The k3s that a server has.

    Attributes:
        program: where it is; None where there is none.
        version: its release, ``v1.36.4+k3s1``.
        role: ``server`` or ``agent``, where a service is set up; else None.
        is_active: whether that service runs.
        is_ours: whether its config is one that nvoi wrote.
        config: its config without the token.
        config_checksum: SHA-256 of the config's file.
        token: what nodes join with.
        registries_checksum: the same of registries.yaml.
        applied: the stamp of what it was last started with.
    """

    program: str | None = None
    version: str | None = None
    role: str | None = None
    is_active: bool = False
    is_ours: bool = False
    config: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    config_checksum: str = ""
    token: Secret | None = None
    registries_checksum: str = ""
    applied: str = ""

    @property
    def node_name(self) -> str | None:
        """The name that it has in its cluster."""
        name = self.config.get("node-name")
        return name if isinstance(name, str) else None

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else has set it up."""
        return self.role is not None and not self.is_ours


@dataclass(frozen=True)
class Facts:
    """What a server is like.

    Attributes:
        architecture: ``amd64``, ``arm64``, or what uname(1) says of any other.
        kernel: its name, ``Linux``.
        kernel_release: its first two numbers; (0, 0) where they cannot be read.
        os_id: ``debian``.
        os_version: ``12``.
        os_name: as people call it.
        memory: bytes.
        disk: bytes that are free where k3s keeps its data.
        programs_disk: bytes that are free where its program is.
        clock_offset: seconds that its clock is ahead of this machine's; behind is negative.
        can_be_root: whether commands can run as root.
        root_problem: why not.
        cloud_init: its state; empty where there is none.
        cloud_init_detail: what it says of an error.
        listeners: ports that k3s wants and something has.
        addresses: all but loopback's.
        routes: all but the default one.
        source: the address that it goes out with.
        machine_id: machine-id(5).
        supervisor: ``systemd`` or ``openrc``, where there is one.
        downloader: ``curl``, ``wget``, or ``busybox`` for its wget, where there is one.
        k3s: the k3s that it has.
        volumes: the folders of volumes that exist.
        has_wireguard: whether the kernel knows WireGuard.
        firewall: ``ufw`` or ``firewalld``, where one is on that does not let everyone in.
        let_in: the networks that it lets in to all ports.
    """

    architecture: str
    kernel: str = "Linux"
    kernel_release: tuple[int, int] = (0, 0)
    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    memory: int = 0
    disk: int = 0
    programs_disk: int = 0
    clock_offset: float = 0.0
    can_be_root: bool = True
    root_problem: str = ""
    cloud_init: str = ""
    cloud_init_detail: str = ""
    listeners: tuple[Listener, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    source: str | None = None
    machine_id: str = ""
    supervisor: str | None = None
    downloader: str | None = None
    k3s: K3s = field(default_factory=K3s)
    volumes: tuple[str, ...] = ()
    has_wireguard: bool = True
    firewall: str = ""
    let_in: tuple[Network, ...] = ()
