"""What servers lack to be a node of the cluster. All functions are pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nvoi.errors import NvoiError
from nvoi.k3s.configuration import FOLDER, K3sSettings, build_url
from nvoi.k3s.facts import Facts
from nvoi.k3s.networks import choose_addresses, find_overlaps, list_addresses
from nvoi.k3s.versions import choose_version, find_upgrade_fault
from nvoi.providers.provider import Server

MEBIBYTE = 1 << 20
#: Source: k3s documentation, "Requirements", "Hardware": 2 GB for a server, 512 MB for an agent.
MASTER_MEMORY = 2048 * MEBIBYTE
AGENT_MEMORY = 512 * MEBIBYTE
#: The part of it that has to be seen: firmware and kernel take some before they count.
SLACK = 0.85
#: The images of k3s' own parts, the app's, and room to unpack them.
DISK = 2048 * MEBIBYTE
#: What a node that runs already needs to go on.
LEAST_DISK = 256 * MEBIBYTE
#: The program itself is 75 MB (release v1.36), and is written beside the old one.
PROGRAMS_DISK = 200 * MEBIBYTE
#: Certificates of a cluster are good from the second on in which they are made.
CLOCK_SECONDS = 30
SUPPORTED = ("amd64", "arm64")


def check_all(
    servers: Sequence[Server],
    facts: Mapping[str, Facts],
    settings: K3sSettings,
    errors: Sequence[NvoiError] = (),
) -> None:
    """Whether all servers can be nodes.

    Args:
        servers: those of the config, the master first.
        facts: what they are like, by their names; those that could not be asked are missing.
        settings: what the config says of k3s.
        errors: why they could not be asked.

    Raises:
        NvoiError: tells everything that is missing on any server, a line each.
    """
    known = [server for server in servers if server.name in facts]
    lines = [
        f"{server.host}: {shortcoming}"
        for server in known
        for shortcoming in find_shortcomings(server, facts[server.name], settings)
    ]
    lines += compare_servers(known, facts)
    if not errors:
        lines += check_cluster(known, facts, settings)
    if not lines and len(errors) == 1:
        raise errors[0]
    lines = [*(str(error) for error in errors), *lines]
    if lines:
        count = f"{len(lines)} things are" if len(lines) > 1 else "something is"
        raise NvoiError(
            "\n".join([f"the servers cannot be used yet, {count} missing:", *lines]),
            hint="nothing was changed; put it right and deploy again",
            output=[line for error in errors for line in error.output],
        )


def find_shortcomings(server: Server, facts: Facts, settings: K3sSettings) -> list[str]:
    """What one server lacks, each with what to do about it."""
    found = [*find_system_faults(facts), *find_room_faults(facts, is_master=server.is_master)]
    found += [*find_network_faults(server, facts), *find_k3s_faults(server, facts, settings)]
    return found


def find_system_faults(facts: Facts) -> Iterator[str]:
    """What is wrong with its system, clock and rights."""
    if facts.kernel != "Linux" or facts.architecture not in SUPPORTED:
        system = f"{facts.kernel} on {facts.architecture}"
        yield f"runs {system}; k3s is installed on Linux on x86_64 or aarch64 only"
        return
    if not facts.can_be_root:
        why = f" ({facts.root_problem})" if facts.root_problem else ""
        yield (
            f"commands cannot run as root{why}: log in as root, or let the user use sudo without "
            "a password: NOPASSWD in sudoers(5)"
        )
    if facts.supervisor is None:
        yield "has neither systemd nor OpenRC, one of which has to start k3s"
    if facts.downloader is None:
        yield "has neither curl nor wget to download k3s with: install curl"
    if not facts.has_wireguard:
        release = ".".join(map(str, facts.kernel_release))
        yield f"its kernel {release} has no WireGuard: Linux 5.6 or newer, or its module, is needed"
    if abs(facts.clock_offset) > CLOCK_SECONDS:
        way = "ahead of" if facts.clock_offset > 0 else "behind"
        yield (
            f"its clock is {abs(facts.clock_offset):.0f} s {way} this machine's, "
            f"{CLOCK_SECONDS} s are allowed: have both set by NTP, such as with systemd-timesyncd"
        )
    if facts.cloud_init in ("running", "not started", "not run"):
        yield "cloud-init has not come to its end: see `cloud-init status --long` there"


def find_room_faults(facts: Facts, *, is_master: bool) -> Iterator[str]:
    """What is wrong with its memory and disk."""
    memory = MASTER_MEMORY if is_master else AGENT_MEMORY
    if 0 < facts.memory < memory * SLACK:
        what = "the master" if is_master else "a node"
        yield f"has {show(facts.memory)} of memory; {what} needs {show(memory)}"
    disk = LEAST_DISK if facts.k3s.role else DISK
    if facts.disk < disk:
        yield f"has {show(facts.disk)} free for /var/lib/rancher, {show(disk)} are needed"
    if facts.programs_disk < PROGRAMS_DISK and not facts.k3s.program:
        free = show(facts.programs_disk)
        yield f"has {free} free in /usr/local/bin, {show(PROGRAMS_DISK)} are needed"


def find_network_faults(server: Server, facts: Facts) -> Iterator[str]:
    """What is wrong with its ports and networks."""
    if facts.k3s.role is None:
        for one in facts.listeners:
            has = f"{one.program} has" if one.program else "something has"
            yield f"{has} port {one.port}/{one.protocol}, which k3s needs: stop it, or have it move"
    yield from (f"{one}: give the server another network" for one in find_overlaps(facts))
    own = [str(one.interface.ip) for one in list_addresses(facts)]
    if server.private_ip and server.private_ip not in own:
        yield f"private_ip {server.private_ip} is none of its addresses ({', '.join(own)})"
    if not server.private_ip and facts.source is None and not own:
        yield "has no address that other servers could reach it at: give it a private_ip"


def find_k3s_faults(server: Server, facts: Facts, settings: K3sSettings) -> Iterator[str]:
    """What is wrong with the k3s that it has already."""
    k3s, wanted = facts.k3s, "server" if server.is_master else "agent"
    uninstall = "k3s-uninstall.sh" if k3s.role == "server" else "k3s-agent-uninstall.sh"
    if not facts.can_be_root:
        return
    if k3s.role is None:
        if (k3s.config_checksum or k3s.registries_checksum) and not k3s.is_ours:
            yield f"has files in {FOLDER} that nvoi did not write: move them away"
    elif k3s.is_foreign:
        backend = k3s.config.get("flannel-backend")
        flannel = f", flannel backend {backend}" if backend else ""
        yield (
            f"already has k3s {k3s.version or ''} that nvoi did not install ({k3s.role}{flannel}): "
            f"name another server, or remove it and all that it runs with `{uninstall}`"
        )
    elif k3s.role != wanted:
        was, becomes = ("master", "a worker") if k3s.role == "server" else ("worker", "the master")
        yield (
            f"is the {was} of a cluster and cannot become {becomes}: keep it as it is in the "
            f"config, or remove its k3s and all that it runs with `{uninstall}`"
        )
    elif k3s.version and settings.version:
        fault = find_upgrade_fault(k3s.version, settings.version)
        if fault:
            yield fault


def compare_servers(servers: Sequence[Server], facts: Mapping[str, Facts]) -> Iterator[str]:
    """What is wrong with several of them together."""
    yield from compare_clocks(servers, facts)
    machines: dict[str, Server] = {}
    names: dict[str, Server] = {}
    for server in servers:
        own = facts[server.name]
        other = machines.setdefault(own.machine_id, server) if own.machine_id else server
        if other is not server:
            yield (
                f"{server.host}: is the same machine as {other.host} (machine-id "
                f"{own.machine_id}): name it once, or give a copy a machine-id of its own with "
                "`rm /etc/machine-id && systemd-machine-id-setup`"
            )
            continue
        name = own.k3s.node_name if own.k3s.is_ours else None
        other = names.setdefault(name, server) if name else server
        if other is not server:
            yield f"{server.host}: is the node {name!r}, as {other.host} is: no two can be"


def compare_clocks(servers: Sequence[Server], facts: Mapping[str, Facts]) -> Iterator[str]:
    """Whether clocks that are each near this machine's are far from each other."""
    near = [one for one in servers if abs(facts[one.name].clock_offset) <= CLOCK_SECONDS]
    if not near:
        return
    first, *_, last = sorted([*near, near[0]], key=lambda one: facts[one.name].clock_offset)
    seconds = facts[last.name].clock_offset - facts[first.name].clock_offset
    if seconds > CLOCK_SECONDS:
        yield (
            f"{last.host}: its clock is {seconds:.0f} s ahead of that of {first.host}, "
            f"{CLOCK_SECONDS} s are allowed: have both set by NTP"
        )


def check_cluster(
    servers: Sequence[Server], facts: Mapping[str, Facts], settings: K3sSettings
) -> Iterator[str]:
    """What is wrong with the cluster they make. All servers' facts are there."""
    addresses = choose_addresses(servers, facts)
    owners: dict[str, Server] = {}
    for server in servers:
        address = addresses.get(server.name)
        other = owners.setdefault(address, server) if address else server
        if other is not server and is_different(facts, server, other):
            yield (
                f"{server.host}: has the address {address} as {other.host} has: give each a "
                "private_ip at which the others reach it"
            )
    master = servers[0]
    version = choose_version(settings.version, facts[master.name].k3s.version)
    for server in servers[1:]:
        k3s = facts[server.name].k3s
        if k3s.role != "agent" or not k3s.is_ours:
            continue
        if k3s.applied and k3s.token != facts[master.name].k3s.token:
            url = k3s.config.get("server") or build_url("?")
            yield (
                f"{server.host}: belongs to another cluster, that of {url}: remove it there, and "
                "its k3s with `k3s-agent-uninstall.sh`"
            )
        elif k3s.version and not settings.version:
            fault = find_upgrade_fault(k3s.version, version)
            if fault:
                yield f"{server.host}: {fault}"


def is_different(facts: Mapping[str, Facts], one: Server, other: Server) -> bool:
    """Whether two servers are told apart by their machine-id: else that is said already."""
    return (
        facts[one.name].machine_id != facts[other.name].machine_id or not facts[one.name].machine_id
    )


def find_architectures(
    servers: Sequence[Server], facts: Mapping[str, Facts]
) -> dict[str, list[str]]:
    """The names of the servers by their architecture."""
    found: dict[str, list[str]] = {}
    for server in servers:
        found.setdefault(facts[server.name].architecture, []).append(server.name)
    return found


def show(size: int) -> str:
    """``512 MB``, or ``1.9 GB`` from a gigabyte on."""
    megabytes = size / MEBIBYTE
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"  # noqa: PLR2004
