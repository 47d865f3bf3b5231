"""What a server is like, as records, and how they are read from what the survey printed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nvoi.secret import Secret

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: The lines of the survey's output by section.
Sections = Mapping[str, list[str]]

FOLDER = "/etc/rancher/k3s"
CONFIG_FILE = f"{FOLDER}/config.yaml"
#: What k3s was last started with; not there from before a change until k3s runs with it.
STAMP_FILE = f"{FOLDER}/nvoi-applied"
#: The unit that keeps pods from the cloud's metadata.
METADATA_UNIT = "nvoi-metadata"
METADATA_UNIT_FILE = f"/etc/systemd/system/{METADATA_UNIT}.service"
#: The first line of a config that nvoi wrote.
HEADER = "# Written by nvoi, which replaces it: what is to differ belongs in the deploy config."
#: What the Ruby gem nvoi 0.2 started k3s with, by its roles (getnvoi/cli v0.2.2, setup_k3s.rb).
GEM_ARGUMENTS = {
    "server": {"bind-address", "advertise-address", "node-ip", "tls-san", "flannel-iface"}
    | {"flannel-backend", "disable", "write-kubeconfig-mode", "cluster-cidr", "service-cidr"},
    "agent": {"node-ip", "flannel-iface", "node-name"},
}
SECRET_KEYS = ("token", "agent-token")

#: What a line of the survey's output begins with that names a section.
MARK = "@nvoi "
#: The device of an address where the server could not say it.
NO_DEVICE = "-"
#: The names of uname(1), and those of images and k3s.
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
KIBIBYTE = 1024
RELEASE = re.compile(r"\bv\d+\.\d+\.\d+\S*")
KERNEL = re.compile(r"(\d+)\.(\d+)")
LISTENING = re.compile(
    r"(?P<protocol>tcp|udp) (?P<address>[0-9A-F]+):(?P<port>[0-9A-F]{4}) (?P<inode>\d+)"
)
#: 127.0.0.0/8 and ::1 as proc(5) has them, each four bytes the other way round.
LOOPBACK = re.compile(r"[0-9A-F]{6}7F|0{24}01000000")
#: The first Linux that has WireGuard of its own (kernelnewbies.org, "Linux 5.6").
WIREGUARD_KERNEL = (5, 6)


@dataclass(frozen=True)
class Address:
    device: str
    interface: Interface


@dataclass(frozen=True)
class NetworkRoute:
    """A network that a server reaches; ``is_direct`` without a gateway between."""

    network: Network
    device: str
    is_direct: bool


@dataclass(frozen=True)
class UsedPort:
    """A port that is in use; ``program`` has it, where that can be seen.

    One that ``is_inner`` is reached from the server itself alone.
    """

    protocol: str
    port: int
    program: str = ""
    is_inner: bool = False


@dataclass(frozen=True)
class K3s:
    """The k3s that a server has; its ``role`` is ``server`` or ``agent`` where a service is set up.

    It ``is_ours`` where nvoi wrote its config, or the Ruby gem set it up: what it is started with
    is then in ``config``. That is without the token, and ``lines`` are those of the file, with it.
    ``registries_checksum`` is SHA-256 of registries.yaml, which may hold other people's passwords,
    ``applied`` the stamp of what it was last started with.
    """

    program: str | None = None
    version: str | None = None
    role: str | None = None
    is_active: bool = False
    is_ours: bool = False
    is_of_gem: bool = False
    config: Mapping[str, object] = field(default_factory=dict)
    token: Secret | None = None
    lines: tuple[str, ...] = field(default=(), repr=False)
    registries_checksum: str = ""
    applied: str = ""

    @property
    def node_name(self) -> str | None:
        name = self.config.get("node-name")
        return name if self.is_ours and isinstance(name, str) else None


@dataclass(frozen=True)
class Facts:
    """What a server is like. Sizes are in bytes; what is not known is empty, or 0.

    ``architecture`` is ``amd64``, ``arm64``, or what uname(1) says of any other. ``disk`` is what
    is free where k3s keeps its data, ``programs_disk`` where its program is. Its clock is
    ``clock_offset`` seconds ahead of this machine's. ``used_ports`` are those that k3s wants and
    something has. Loopback's addresses and the default route are left out; ``source`` is the
    address that it goes out with. ``downloader`` is ``curl``, ``wget``, or ``busybox`` for its
    wget. ``volumes`` are the folders of volumes, and those that note whose they are, each with its
    owner's number and its mode in octal digits, ``1000 770``. A ``firewall`` is ``ufw`` or
    ``firewalld`` where it does not let everyone in, and ``let_in`` has the networks that it does
    let in to all ports. ``metadata_unit_checksum`` is SHA-256 of the unit that keeps its pods
    from the cloud's metadata.
    """

    architecture: str
    kernel: str = "Linux"
    kernel_release: tuple[int, int] = (0, 0)
    os_name: str = ""
    processors: int = 0
    memory: int = 0
    disk: int = 0
    programs_disk: int = 0
    clock_offset: float = 0.0
    can_be_root: bool = True
    root_problem: str = ""
    cloud_init: str = ""
    cloud_init_detail: str = ""
    used_ports: tuple[UsedPort, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[NetworkRoute, ...] = ()
    source: str | None = None
    machine_id: str = ""
    supervisor: str | None = None
    downloader: str | None = None
    k3s: K3s = field(default_factory=K3s)
    volumes: Mapping[str, str] = field(default_factory=dict)
    has_wireguard: bool = True
    firewall: str = ""
    let_in: tuple[Network, ...] = ()
    metadata_unit_checksum: str = ""


def split_sections(text: str) -> dict[str, list[str]]:
    """The survey's output by its sections, without empty lines. A whole one has an ``end``."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(MARK):
            lines = sections.setdefault(line.removeprefix(MARK), [])
        elif line.strip():
            lines.append(line)
    return sections


def read_facts(sections: Sections, clock_offset: float) -> Facts:
    kernel, _, release = get_first(sections, "kernel").partition(" ")
    system = dict(read_pairs(sections.get("os", []), "="))
    answer, _, problem = get_first(sections, "root").partition(" ")
    init = dict(read_pairs(sections.get("cloud-init", []), " "))
    disks = [read_number(text) * KIBIBYTE for text in sections.get("disk", [])] or [0]
    number = KERNEL.match(release)
    kernel_release = (int(number[1]), int(number[2])) if number else (0, 0)
    machine, wireguard = get_first(sections, "architecture"), get_first(sections, "wireguard")
    return Facts(
        architecture=ARCHITECTURES.get(machine, machine),
        kernel=kernel,
        kernel_release=kernel_release,
        os_name=system.get("PRETTY_NAME") or system.get("NAME", ""),
        processors=read_number(get_first(sections, "processors")),
        memory=read_number(get_first(sections, "memory")) * KIBIBYTE,
        disk=disks[0],
        programs_disk=disks[-1],
        clock_offset=clock_offset,
        can_be_root=answer == "yes",
        root_problem=problem,
        cloud_init=init.get("state", ""),
        cloud_init_detail=init.get("detail", ""),
        used_ports=read_used_ports(sections),
        addresses=tuple(read_addresses(sections.get("addresses", []))),
        routes=tuple(read_routes(sections.get("routes", []))),
        source=read_source(sections),
        machine_id=get_first(sections, "machine"),
        supervisor=get_first(sections, "supervisor") or None,
        downloader=get_first(sections, "downloader") or None,
        k3s=read_k3s(sections),
        volumes=dict(map(read_volume, sections.get("volumes", []))),
        has_wireguard=kernel_release >= WIREGUARD_KERNEL or wireguard == "yes",
        firewall=get_first(sections, "firewall"),
        let_in=tuple(filter(None, map(find_network, sections.get("firewall", [])[1:]))),
        metadata_unit_checksum=get_first(sections, "metadata-unit"),
    )


def get_first(sections: Sections, name: str) -> str:
    lines = sections.get(name)
    return lines[0].strip() if lines else ""


def read_pairs(lines: list[str], separator: str) -> Iterator[tuple[str, str]]:
    """``NAME=value`` of each line, without quotes, as os-release(5) has them."""
    for line in lines:
        name, found, value = line.partition(separator)
        if found:
            yield name.strip(), value.strip().strip("\"'")


def read_number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def read_used_ports(sections: Sections) -> tuple[UsedPort, ...]:
    """Of lines ``tcp 00000000:192B 12345`` and ``12345 nginx``, each port once."""
    programs = dict(read_pairs(sections.get("holders", []), " "))
    found = filter(None, map(LISTENING.fullmatch, sections.get("listening", [])))
    ports = [
        UsedPort(
            one["protocol"],
            int(one["port"], 16),
            programs.get(one["inode"], ""),
            is_inner=bool(LOOPBACK.fullmatch(one["address"])),
        )
        for one in found
    ]
    return tuple(dict.fromkeys(ports))


def read_addresses(lines: list[str]) -> Iterator[Address]:
    """Of lines of ``ip -o addr``, or ``DEVICE ADDRESS/PREFIX``; loopback is left out."""
    for line in lines:
        match line.split():
            case [_, name, "inet" | "inet6", text, *_]:
                device = name.partition("@")[0]
            case [device, text]:
                pass
            case _:
                continue
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            continue
        if not (interface.ip.is_loopback or interface.ip.is_link_local):
            yield Address(device, interface)


def read_routes(lines: list[str]) -> Iterator[NetworkRoute]:
    """Of lines of ``ip route``, or of /proc/net/route; the default one is left out."""
    for line in lines:
        words = line.split()
        found = read_kernel_route(words)
        # ``10.0.0.0/16 via 10.0.0.1 dev eth1``.
        network = find_network(words[0]) if "dev" in words[:-1] else None
        if network and not found:
            found = NetworkRoute(network, words[words.index("dev") + 1], "via" not in words)
        if found and found.network.prefixlen:
            yield found


def read_volume(line: str) -> tuple[str, str]:
    """``1000 770 /opt/nvoi/volumes/shop-main-data``: the folder, then its owner and mode."""
    owner, mode, folder = line.split(" ", 2)
    return folder, f"{owner} {mode}"


def read_kernel_route(words: list[str]) -> NetworkRoute | None:
    """``eth0 0000000A 00000000 …``: device, network, gateway, and in the eighth column the mask.

    Source: proc(5), net/route; the bytes of each number are the other way round.
    """
    if len(words) < 8 or not all(len(words[n]) == 8 for n in (1, 2, 7)):  # noqa: PLR2004
        return None
    try:
        network, gateway, mask = (bytes.fromhex(words[n])[::-1] for n in (1, 2, 7))
    except ValueError:
        return None
    length = int.from_bytes(mask, "big").bit_count()
    found = ipaddress.IPv4Network((network, length), strict=False)
    return NetworkRoute(found, words[0], not any(gateway))


def find_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def read_source(sections: Sections) -> str | None:
    """The address after ``src`` in ``ip route get``; else one of the default route's device."""
    words = get_first(sections, "source").split()
    if "src" in words[:-1]:
        return words[words.index("src") + 1]
    routes = map(str.split, sections.get("routes", []))
    default = next((one for one in routes if "default" in one[:1] or "00000000" in one[1:2]), None)
    if default is None:
        return None
    device = default[default.index("dev") + 1] if "dev" in default[:-1] else default[0]
    addresses = read_addresses(sections.get("addresses", []))
    return next(
        (str(one.interface.ip) for one in addresses if one.device in (device, NO_DEVICE)), None
    )


def read_k3s(sections: Sections) -> K3s:
    found = dict(read_pairs(sections.get("k3s", []), " "))
    version = RELEASE.search(found.get("version", ""))
    lines = sections.get("config", [])
    config = read_yaml(lines)
    # Else the token that k3s keeps with its data.
    token = config.get("token") or get_first(sections, "token")
    arguments = dict(read_pairs(sections.get("unit", []), "="))
    known = GEM_ARGUMENTS.get(found.get("role", ""), set[str]())
    is_of_gem = bool(known) and not lines and known == arguments.keys()
    if is_of_gem:
        # Without a name of its own a node has its host's, in lower case.
        name = arguments.get("node-name") or found.get("host", "").lower()
        config = {**arguments, "node-name": name, "server": found.get("url", "")}
    return K3s(
        program=found.get("program"),
        version=version[0] if version else None,
        role=found.get("role"),
        is_active=found.get("state") == "active",
        is_ours=lines[:1] == [HEADER] or is_of_gem,
        is_of_gem=is_of_gem,
        config={key: value for key, value in config.items() if key not in SECRET_KEYS},
        token=Secret(token) if isinstance(token, str) and token else None,
        lines=tuple(lines),
        registries_checksum=found.get("registries", ""),
        applied=found.get("applied", ""),
    )


def read_yaml(lines: list[str]) -> dict[str, object]:
    """A document of plain YAML; empty where it is none."""
    try:
        values = YAML(typ="safe", pure=True).load("\n".join(lines))
    except (YAMLError, ValueError):
        return {}
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
