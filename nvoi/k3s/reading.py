"""Reading what the survey of a server printed. All functions are pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

from nvoi.k3s.configuration import read_config, read_token
from nvoi.k3s.facts import NO_DEVICE, Address, Facts, K3s, Listener, Network, Route

MARK = "@nvoi "
#: As uname(1) names machines, and as images and k3s do.
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
KIBIBYTE = 1024
RELEASE = re.compile(r"\bv\d+\.\d+\.\d+\S*")
KERNEL = re.compile(r"(\d+)\.(\d+)")
LISTENING = re.compile(r"(?P<protocol>tcp|udp) [0-9A-F]+:(?P<port>[0-9A-F]{4}) (?P<inode>\d+)")
#: The first Linux that has WireGuard of its own (kernelnewbies.org, "Linux 5.6").
WIREGUARD_KERNEL = (5, 6)

Sections = Mapping[str, list[str]]


def split_sections(text: str) -> dict[str, list[str]]:
    """The survey's output by its sections; empty lines are left out."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(MARK):
            lines = sections.setdefault(line.removeprefix(MARK), [])
        elif line.strip():
            lines.append(line)
    return sections


def is_whole(sections: Sections) -> bool:
    """Whether the survey came to its end."""
    return "end" in sections


def read_facts(sections: Sections, clock_offset: float) -> Facts:
    """What the survey found, where it came to its end.

    Args:
        sections: its output.
        clock_offset: as seen when the clock was told.
    """
    kernel, _, release = get_first(sections, "kernel").partition(" ")
    system = dict(read_pairs(sections.get("os", []), "="))
    answer, _, problem = get_first(sections, "root").partition(" ")
    init = dict(read_pairs(sections.get("cloud-init", []), " "))
    disks = read_disks(sections.get("disk", []))
    number = KERNEL.match(release)
    kernel_release = (int(number[1]), int(number[2])) if number else (0, 0)
    return Facts(
        architecture=read_architecture(get_first(sections, "architecture")),
        kernel=kernel,
        kernel_release=kernel_release,
        os_id=system.get("ID", ""),
        os_version=system.get("VERSION_ID", ""),
        os_name=system.get("PRETTY_NAME") or system.get("NAME", ""),
        memory=read_memory(get_first(sections, "memory")),
        disk=disks[0] if disks else 0,
        programs_disk=disks[-1] if disks else 0,
        clock_offset=clock_offset,
        can_be_root=answer == "yes",
        root_problem=problem,
        cloud_init=init.get("state", ""),
        cloud_init_detail=init.get("detail", ""),
        listeners=tuple(read_listeners(sections)),
        addresses=tuple(read_addresses(sections.get("addresses", []))),
        routes=tuple(read_routes(sections.get("routes", []))),
        source=read_source(sections),
        machine_id=get_first(sections, "machine"),
        supervisor=get_first(sections, "supervisor") or None,
        downloader=get_first(sections, "downloader") or None,
        k3s=read_k3s(sections),
        volumes=tuple(sections.get("volumes", [])),
        has_wireguard=kernel_release >= WIREGUARD_KERNEL
        or get_first(sections, "wireguard") == "yes",
        firewall=get_first(sections, "firewall"),
        let_in=tuple(read_networks(sections.get("firewall", [])[1:])),
    )


def get_first(sections: Sections, name: str) -> str:
    """The first line of a section; empty without one."""
    lines = sections.get(name)
    return lines[0].strip() if lines else ""


def read_architecture(machine: str) -> str:
    """The architecture by its usual name."""
    return ARCHITECTURES.get(machine, machine)


def read_pairs(lines: list[str], separator: str) -> Iterator[tuple[str, str]]:
    """``NAME=value`` of each line, without quotes, as os-release(5) has them."""
    for line in lines:
        name, found, value = line.partition(separator)
        if found:
            yield name.strip(), value.strip().strip("\"'")


def read_memory(line: str) -> int:
    """Bytes of ``MemTotal:  2014680 kB``, as proc_meminfo(5) has it."""
    words = line.split()
    return int(words[1]) * KIBIBYTE if len(words) > 1 and words[1].isdecimal() else 0


def read_disks(lines: list[str]) -> list[int]:
    """Free bytes of each line of ``df -P -k``; a header is passed over.

    The name of a file system may have spaces: the columns are counted from the percentage.
    """
    free = []
    for line in lines:
        words = line.split()
        ends = [index for index, word in enumerate(words) if re.fullmatch(r"\d+%|-", word)]
        place = ends[-1] - 1 if ends else -1
        if place >= 1 and words[place].lstrip("-").isdecimal():
            free.append(max(0, int(words[place])) * KIBIBYTE)
    return free


def read_listeners(sections: Sections) -> Iterator[Listener]:
    """Ports in use, of lines ``tcp 00000000:192B 12345`` and ``12345 nginx``."""
    programs = dict(read_pairs(sections.get("holders", []), " "))
    seen = set()
    for line in sections.get("listening", []):
        found = LISTENING.fullmatch(line)
        if found is None:
            continue
        program = programs.get(found["inode"], "")
        listener = Listener(found["protocol"], int(found["port"], 16), program)
        if listener not in seen:
            seen.add(listener)
            yield listener


def read_addresses(lines: list[str]) -> Iterator[Address]:
    """Of lines of ``ip -o addr``, or ``DEVICE ADDRESS/PREFIX``; loopback is left out."""
    for line in lines:
        words = line.split()
        if len(words) > 3 and words[2] in ("inet", "inet6"):  # noqa: PLR2004 - columns
            device, text = words[1].partition("@")[0], words[3]
        elif len(words) == 2:  # noqa: PLR2004 - columns
            device, text = words
        else:
            continue
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            continue
        if not (interface.ip.is_loopback or interface.ip.is_link_local):
            yield Address(device, interface)


def read_routes(lines: list[str]) -> Iterator[Route]:
    """Of lines of ``ip route``, or of /proc/net/route; the default one is left out."""
    for line in lines:
        words = line.split()
        found = read_kernel_route(words) or read_route(words)
        if found and found.network.prefixlen:
            yield found


def read_route(words: list[str]) -> Route | None:
    """``10.0.0.0/16 via 10.0.0.1 dev eth1``."""
    if "dev" not in words[:-1]:
        return None
    try:
        network = ipaddress.ip_network(words[0], strict=False)
    except ValueError:
        return None
    return Route(network, words[words.index("dev") + 1], "via" not in words)


def read_kernel_route(words: list[str]) -> Route | None:
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
    return Route(found, words[0], not any(gateway))


def read_networks(lines: list[str]) -> Iterator[Network]:
    """Of lines that are networks each; others are passed over."""
    for line in lines:
        try:
            yield ipaddress.ip_network(line.strip(), strict=False)
        except ValueError:
            continue


def read_source(sections: Sections) -> str | None:
    """The address after ``src`` in ``ip route get``; else the one beside the default route."""
    words = get_first(sections, "source").split()
    if "src" in words[:-1]:
        return words[words.index("src") + 1]
    default = next(
        (
            line.split()
            for line in sections.get("routes", [])
            if line.startswith("default ") or line.split()[1:2] == ["00000000"]
        ),
        None,
    )
    if default is None:
        return None
    device = default[default.index("dev") + 1] if "dev" in default[:-1] else default[0]
    addresses = read_addresses(sections.get("addresses", []))
    return next(
        (str(one.interface.ip) for one in addresses if one.device in (device, NO_DEVICE)), None
    )


def read_k3s(sections: Sections) -> K3s:
    """The k3s that there is."""
    found = dict(read_pairs(sections.get("k3s", []), " "))
    text = "\n".join(sections.get("config", []))
    version = RELEASE.search(found.get("version", ""))
    return K3s(
        program=found.get("program"),
        version=version[0] if version else None,
        role=found.get("role"),
        is_active=found.get("state") == "active",
        is_ours=found.get("ours") == "yes",
        config=read_config(text),
        config_checksum=found.get("config", ""),
        token=read_token(text, get_first(sections, "token")),
        registries_checksum=found.get("registries", ""),
        applied=found.get("applied", ""),
    )
