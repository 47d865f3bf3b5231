"""What servers lack to be a node of the cluster. All functions are pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from nvoi.errors import NvoiError
from nvoi.k3s.facts import FOLDER, Facts, K3s
from nvoi.k3s.networks import choose_addresses, find_overlaps, list_addresses
from nvoi.k3s.plan import build_url, choose_version, is_orphan
from nvoi.kubernetes.ingress import PORTS as INGRESS_PORTS
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
RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc\d+)?\+k3s\d+")


def check_all(
    servers: Sequence[Server], found: Mapping[str, Facts | NvoiError], version: str | None
) -> dict[str, Facts]:
    """What all servers are like, by their names, where all can be nodes; the master is first.

    ``found`` says why one could not be asked; ``version`` is the release that the config names.

    Raises:
        NvoiError: tells everything that is missing on any server, a line each.
    """
    facts = {name: one for name, one in found.items() if isinstance(one, Facts)}
    errors = [one for one in found.values() if isinstance(one, NvoiError)]
    known = [server for server in servers if server.name in facts]
    lines = [
        f"{server.host}: {fault}"
        for server in known
        for fault in find_faults(server, facts[server.name], version)
    ]
    lines += compare_servers(known, facts)
    if not errors:
        lines += compare_addresses(servers, facts)
        lines += check_agents(servers[1:], facts, facts[servers[0].name].k3s, version)
    if not lines and len(errors) == 1:
        raise errors[0]
    lines = [*(str(error) for error in errors), *lines]
    if lines:
        count = f"{len(lines)} things are" if len(lines) > 1 else "something is"
        raise NvoiError(
            "\n".join([f"the servers cannot be used yet, {count} missing:", *lines]),
            hint="nothing was installed yet; put it right and deploy again",
            output=[line for error in errors for line in error.output],
        )
    return facts


def find_faults(server: Server, facts: Facts, version: str | None) -> Iterator[str]:
    yield from find_system_faults(facts)
    yield from find_room_faults(facts, is_master=server.is_master)
    yield from find_network_faults(server, facts)
    yield from find_k3s_faults(server, facts, version)


def find_system_faults(facts: Facts) -> Iterator[str]:
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
        yield "has neither systemd nor OpenRC, and k3s needs one of them"
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
    for one in facts.used_ports:
        # Where k3s runs, its ports are its own. Requests at those of the ingress are led into its
        # pod: nothing on the server itself listens there for it.
        is_public = one.port in INGRESS_PORTS
        if (is_public and not one.is_inner) or (not is_public and facts.k3s.role is None):
            has = f"{one.program} has" if one.program else "something has"
            who = "the ingress" if is_public else "k3s"
            yield (
                f"{has} port {one.port}/{one.protocol}, which {who} needs: stop it, or have it move"
            )
    yield from (f"{one}: give the server another network" for one in find_overlaps(facts))
    own = list_addresses(facts)
    if server.private_ip and server.private_ip not in own:
        yield f"private_ip {server.private_ip} is none of its addresses ({', '.join(own)})"
    if not server.private_ip and facts.source is None and not own:
        yield "has no address that other servers could reach it at: give it a private_ip"


def find_k3s_faults(server: Server, facts: Facts, version: str | None) -> Iterator[str]:
    k3s, wanted = facts.k3s, "server" if server.is_master else "agent"
    uninstall = "k3s-uninstall.sh" if k3s.role == "server" else "k3s-agent-uninstall.sh"
    if not facts.can_be_root:
        return
    if k3s.role is None:
        if (k3s.lines or k3s.registries_checksum) and not k3s.is_ours:
            yield f"has files in {FOLDER} that nvoi did not write: move them away"
    elif not k3s.is_ours:
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
    elif fault := find_upgrade_fault(k3s.version, version):
        yield fault


def compare_servers(servers: Sequence[Server], facts: Mapping[str, Facts]) -> Iterator[str]:
    yield from compare_clocks(servers, facts)
    machines: dict[str, Server] = {}
    names: dict[str, Server] = {}
    for server in servers:
        own = facts[server.name]
        other = machines.setdefault(own.machine_id or server.name, server)
        if other is not server:
            yield (
                f"{server.host}: is the same machine as {other.host} (machine-id "
                f"{own.machine_id}): name it once, or give a copy a machine-id of its own with "
                "`rm /etc/machine-id && systemd-machine-id-setup`"
            )
            continue
        name = own.k3s.node_name
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


def compare_addresses(servers: Sequence[Server], facts: Mapping[str, Facts]) -> Iterator[str]:
    """Whether each has an address of its own among the nodes. All servers' facts are there."""
    addresses = choose_addresses(servers, facts)
    owners: dict[str, Server] = {}
    for server in servers:
        address = addresses.get(server.name)
        other = owners.setdefault(address, server) if address else server
        # Where it is the same machine, that is said already.
        known = facts[server.name].machine_id
        if other is not server and not (known and known == facts[other.name].machine_id):
            yield (
                f"{server.host}: has the address {address} as {other.host} has: give each a "
                "private_ip at which the others reach it"
            )


def check_agents(
    agents: Sequence[Server], facts: Mapping[str, Facts], master: K3s, version: str | None
) -> Iterator[str]:
    """What is wrong with workers that have k3s already, in the cluster of ``master``."""
    for server in agents:
        k3s = facts[server.name].k3s
        if k3s.role != "agent" or not k3s.is_ours:
            continue
        if master.role is None and is_orphan(server, k3s):
            # It leaves what is left of its cluster, and joins the new one.
            continue
        master_url = build_url(str(master.config.get("node-ip")))
        is_strange = k3s.is_of_gem and k3s.config.get("server") != master_url
        if is_strange or (k3s.applied and k3s.token != master.token):
            url = k3s.config.get("server") or build_url("?")
            yield (
                f"{server.host}: belongs to another cluster, that of {url}: remove it there, and "
                "its k3s with `k3s-agent-uninstall.sh`"
            )
        elif not version and (
            fault := find_upgrade_fault(k3s.version, choose_version(None, master.version))
        ):
            yield f"{server.host}: {fault}"


def find_upgrade_fault(installed: str | None, wanted: str | None) -> str | None:
    """Why a node cannot go from one release to the other; None where it can, or one is unknown.

    Sources: Kubernetes documentation, "Version Skew Policy": minor releases are not skipped and
    nothing goes back; k3s documentation, "Manual Upgrades".
    """
    old, new = parse_release(installed), parse_release(wanted)
    if old is None or new is None:
        return None
    if new < old:
        return (
            f"k3s {installed} cannot go back to {wanted}: Kubernetes does not support downgrades. "
            f"Set k3s.version to {installed} or newer"
        )
    (major, minor, _), (new_major, new_minor, _) = old, new
    if new_major == major and new_minor > minor + 1:
        return (
            f"k3s {installed} cannot go to {wanted} at once: Kubernetes takes one minor release "
            f"after the other. Set k3s.version to a release of v{major}.{minor + 1} first"
        )
    return None


def parse_release(text: str | None) -> tuple[int, int, int] | None:
    """``v1.36.5+k3s1`` as numbers; None for what is no release of k3s."""
    found = RELEASE.fullmatch(text or "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def show(size: int) -> str:
    """``512 MB``, or ``1.9 GB`` from a gigabyte on."""
    megabytes = size / MEBIBYTE
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"  # noqa: PLR2004
