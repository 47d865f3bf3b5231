"""What is to be done on which server, from what they are like. All functions are pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nvoi.k3s.configuration import (
    LABEL_KEY,
    K3sSettings,
    Node,
    build_config,
    build_registries,
    build_stamp,
    checksum,
    read_config,
    read_token,
)
from nvoi.k3s.facts import Facts, K3s
from nvoi.k3s.installer import Work
from nvoi.k3s.networks import choose_addresses, find_device
from nvoi.k3s.nodes import ClusterNode, format_address
from nvoi.k3s.versions import choose_version
from nvoi.providers.provider import Server
from nvoi.secret import Secret

NOTHING = Work(writes=False, installs=False, starts=False)
TOKEN_BYTES = 32


@dataclass(frozen=True)
class Task:
    """One server, and what it is to be.

    Attributes:
        server: the server.
        node: its node.
        files: the texts of config.yaml and registries.yaml.
        stamp: what is noted once k3s runs with all of it.
        work: what is to be done for that.
        is_running: whether it is a node of the cluster already.
    """

    server: Server
    node: Node
    files: tuple[Secret, str]
    stamp: str
    work: Work
    is_running: bool

    @property
    def is_done(self) -> bool:
        """Whether all is as it should be."""
        return self.work == NOTHING


def plan(
    servers: Sequence[Server],
    facts: Mapping[str, Facts],
    settings: K3sSettings,
    nodes: Iterable[ClusterNode] = (),
) -> list[Task]:
    """A task for each server, the master's first.

    Args:
        servers: those of the config, the master first.
        facts: what they are like, by their names.
        settings: what the config says of k3s.
        nodes: the cluster's, where there is one and a new node is to get a name.
    """
    master = facts[servers[0].name].k3s
    token = master.token or Secret(secrets.token_hex(TOKEN_BYTES))
    version = choose_version(settings.version, master.version if master.role else None)
    addresses = choose_addresses(servers, facts)
    names = choose_names(servers, facts, nodes)
    tasks = []
    for server in servers:
        node = Node(
            name=names[server.name],
            group=server.group,
            ip=addresses[server.name],
            token=token,
            master_ip=None if server.is_master else addresses[servers[0].name],
            version=version,
            device=find_device(addresses[server.name], facts[server.name]),
        )
        files = build_config(node, settings), build_registries(settings)
        stamp = build_stamp(node, settings)
        k3s = facts[server.name].k3s
        work = find_work(k3s, version, files, stamp)
        tasks.append(Task(server, node, files, stamp, work, k3s.is_active))
    return tasks


def find_work(k3s: K3s, version: str, files: tuple[Secret, str], stamp: str) -> Work:
    """What has to be done on a server that has ``k3s``."""
    config, registries = files
    installs = k3s.program is None or k3s.role is None or k3s.version != version
    # Whoever changed a file may also have restarted k3s with it.
    same = k3s.registries_checksum == checksum(registries) and has_settings(k3s, config.reveal())
    starts = installs or not same or not k3s.is_active or k3s.applied != stamp
    writes = starts or k3s.config_checksum != checksum(config.reveal())
    return Work(writes=writes, installs=installs, starts=starts)


def has_settings(k3s: K3s, text: str) -> bool:
    """Whether its config says the same as ``text``, but for the label, which is set on the node."""
    wanted = read_config(text) | {LABEL_KEY: None}
    return {**k3s.config, LABEL_KEY: None} == wanted and k3s.token == read_token(text)


def choose_names(
    servers: Sequence[Server], facts: Mapping[str, Facts], nodes: Iterable[ClusterNode] = ()
) -> dict[str, str]:
    """The name of each server's node, by the server's: its own, or a new one nobody has."""
    names = {
        server.name: name
        for server in servers
        if (name := facts[server.name].k3s.node_name) and facts[server.name].k3s.is_ours
    }
    taken = {*names.values(), *(node.name for node in nodes)}
    for server in servers:
        if server.name in names:
            continue
        name, number = server.name, 2
        while name in taken:
            name, number = f"{server.name}-{number}", number + 1
        names[server.name] = name
        taken.add(name)
    return names


def find_stale(
    servers: Sequence[Server], facts: Mapping[str, Facts], nodes: Iterable[ClusterNode]
) -> list[ClusterNode]:
    """Dead nodes whose servers have been set up anew, by their addresses.

    k3s refuses a node whose name one had that knew another password (k3s documentation, "k3s
    agent", "Node registration").
    """
    new = {
        format_address(server.host)
        for server in servers
        if not (facts[server.name].k3s.is_ours and facts[server.name].k3s.node_name)
    }
    return [
        node for node in nodes if node.address in new and not node.is_ready and not node.is_master
    ]
