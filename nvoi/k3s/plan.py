"""What is to be done on which server, from what they are like. All functions are pure."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from nvoi.k3s.facts import HEADER, Facts, K3s
from nvoi.k3s.networks import SERVICE_NETWORK, choose_addresses, find_device
from nvoi.k3s.nodes import ClusterNode, build_marker, format_address
from nvoi.kubernetes.names import SERVER_GROUP, build_checksum
from nvoi.kubernetes.pods import POD_NETWORK
from nvoi.kubernetes.registry import ADDRESS, build_credentials, build_registries_file
from nvoi.providers.provider import Server
from nvoi.secret import Secret

#: What is installed where the config names no release and there is no cluster yet.
DEFAULT_VERSION = "v1.36.5+k3s1"
INSTALL_URL = "https://get.k3s.io"
API_PORT = 6443
FLANNEL_BACKEND = "wireguard-native"
LABEL_KEY = "node-label"
ENCRYPTION_KEY = "secrets-encryption"
DISABLE_KEY, TRAEFIK = "disable", "traefik"
TOKEN_BYTES = 32


@dataclass(frozen=True)
class K3sSettings:
    """What the config says of k3s; without a ``version`` the one that there is stays.

    Attributes:
        system_default_registry: where k3s pulls its own images from.
        mirrors: the endpoints of other registries, by their names.
        encrypts: whether a new cluster encrypts the Secrets in its datastore.
        log_size: at this size a container's log goes on in another of ``log_files``.
        ingress: whether Traefik, which comes with k3s, is to run.
    """

    version: str | None = None
    install_url: str = INSTALL_URL
    system_default_registry: str | None = None
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    encrypts: bool = True
    log_size: str = "10Mi"
    log_files: int = 3
    ingress: bool = False


@dataclass(frozen=True)
class Node:
    """A node as it is to be set up; ``ip`` is its address among the nodes, which ``device`` has.

    Without a ``master_ip`` it is the master itself: then it encrypts the Secrets in its datastore
    or not, and does without the ``disabled`` parts of k3s.
    """

    name: str
    group: str
    ip: str
    token: Secret
    master_ip: str | None
    version: str
    device: str | None = None
    encrypts: bool = False
    disabled: tuple[str, ...] = (TRAEFIK,)

    @property
    def role(self) -> str:
        return "server" if self.master_ip is None else "agent"


class Work(IntEnum):
    """What is to be done on one server; each includes all before it."""

    NOTHING = 0
    WRITE = 1
    START = 2
    INSTALL = 3


@dataclass(frozen=True)
class ServerTask:
    """One server, and what it is to be; ``is_running`` is whether it is a node already.

    ``config`` is the text of config.yaml, which has the token, and ``registries`` that of
    registries.yaml, which has the registry's password. ``stamp`` is noted once k3s runs with both.
    """

    server: Server
    node: Node
    config: Secret
    registries: Secret
    stamp: str
    work: Work
    is_running: bool

    @property
    def installs(self) -> bool:
        return self.work >= Work.INSTALL

    @property
    def starts(self) -> bool:
        return self.work >= Work.START


def build_tasks(
    servers: Sequence[Server],
    facts: Mapping[str, Facts],
    settings: K3sSettings,
    nodes: Iterable[ClusterNode] = (),
) -> list[ServerTask]:
    """A task for each server, the master's first.

    ``nodes`` are the cluster's, where there is one and a new node is to get a name.
    """
    master = facts[servers[0].name].k3s
    token = master.token or Secret(secrets.token_hex(TOKEN_BYTES))
    version = choose_version(settings.version, master.version if master.role else None)
    addresses = choose_addresses(servers, facts)
    names = choose_names(servers, facts, nodes)
    tasks = []
    for server in servers:
        k3s = facts[server.name].k3s
        node = Node(
            name=names[server.name],
            group=server.group,
            ip=addresses[server.name],
            token=token,
            master_ip=None if server.is_master else addresses[servers[0].name],
            version=version,
            device=find_device(addresses[server.name], facts[server.name]),
            encrypts=encrypts(k3s, settings),
            # Another app may need what there is.
            disabled=() if settings.ingress or has_traefik(k3s) else (TRAEFIK,),
        )
        tasks.append(build_task(server, node, k3s, settings))
    return tasks


def build_task(server: Server, node: Node, k3s: K3s, settings: K3sSettings) -> ServerTask:
    config = build_config(node, settings)
    credentials = build_credentials(node.token)
    registries = build_registries_file(ADDRESS, settings.mirrors, credentials)
    stamp = build_stamp(node, config, registries)
    work = find_work(k3s, node.version, config, registries, stamp)
    return ServerTask(server, node, config, registries, stamp, work, k3s.is_active)


def encrypts(k3s: K3s, settings: K3sSettings) -> bool:
    """Whether Secrets are encrypted: what a cluster was begun with stays.

    To change it takes several restarts, with a command of k3s' between them (its documentation,
    "Secrets Encryption").
    """
    return settings.encrypts if k3s.role is None else bool(k3s.config.get(ENCRYPTION_KEY))


def has_traefik(k3s: K3s) -> bool:
    """Whether it was set up with Traefik, for an app that had it take visitors."""
    return k3s.config.get(DISABLE_KEY) == []


def choose_version(wanted: str | None, installed: str | None) -> str:
    """The release for a cluster: the config's, else the one that it has, else the default."""
    return wanted or installed or DEFAULT_VERSION


def choose_names(
    servers: Sequence[Server], facts: Mapping[str, Facts], nodes: Iterable[ClusterNode] = ()
) -> dict[str, str]:
    """The name of each server's node, by the server's: its own, or a new one nobody has."""
    names = {server.name: name for server in servers if (name := facts[server.name].k3s.node_name)}
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


def build_config(node: Node, settings: K3sSettings) -> Secret:
    """The text of config.yaml, which has the token. JSON's strings are YAML's.

    Sources: k3s documentation, "k3s server", "k3s agent" and "Basic Network Options". An agent
    is told of ``system-default-registry`` by its server. The pods' network does not follow
    ``node-ip``: without ``flannel-iface`` it takes the device of the default route.
    """
    values: dict[str, object] = {
        "token": node.token.reveal(),
        "node-name": node.name,
        "node-ip": node.ip,
        LABEL_KEY: [f"{SERVER_GROUP}={node.group}"],
        "kubelet-arg": [
            f"container-log-max-size={settings.log_size}",
            f"container-log-max-files={settings.log_files}",
        ],
    }
    if node.device is not None:
        values["flannel-iface"] = node.device
    if node.master_ip is not None:
        values["server"] = build_url(node.master_ip)
    else:
        values |= {
            "flannel-backend": FLANNEL_BACKEND,
            DISABLE_KEY: node.disabled,
            "cluster-cidr": POD_NETWORK,
            "service-cidr": SERVICE_NETWORK,
            "write-kubeconfig-mode": "0600",
        }
        if node.encrypts:
            values[ENCRYPTION_KEY] = True
        if settings.system_default_registry:
            values["system-default-registry"] = settings.system_default_registry
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    return Secret("\n".join([HEADER, *lines, ""]))


def build_url(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{API_PORT}"


def build_stamp(node: Node, config: Secret, registries: Secret) -> str:
    """What changes whenever k3s has to be started again to be as it should."""
    lines = config.reveal().splitlines()
    return build_checksum([node.version, *drop_label(lines), registries.reveal()])


def drop_label(lines: Sequence[str]) -> list[str]:
    """A config without the label, which is set on the node itself."""
    return [line for line in lines if not line.startswith(f"{LABEL_KEY}:")]


def find_work(k3s: K3s, version: str, config: Secret, registries: Secret, stamp: str) -> Work:
    # What the gem starts it with is in its service, which the installer writes anew.
    if k3s.program is None or k3s.role is None or k3s.version != version or k3s.is_of_gem:
        return Work.INSTALL
    lines = config.reveal().splitlines()
    same = drop_label(k3s.lines) == drop_label(lines)
    checksum = hashlib.sha256(registries.reveal().encode()).hexdigest()
    same = same and k3s.registries_checksum == checksum
    # Whoever changed a file may also have restarted k3s with it.
    if not same or not k3s.is_active or k3s.applied != stamp:
        return Work.START
    return Work.NOTHING if [*k3s.lines] == lines else Work.WRITE


def find_stale(
    servers: Sequence[Server], facts: Mapping[str, Facts], nodes: Iterable[ClusterNode], app: str
) -> list[ClusterNode]:
    """Nodes whose servers have been set up anew: dead ones by their addresses, rented ones by name.

    A rented server with a node's name, and none of nvoi's k3s, was made in the place of the one
    that the node was; the cluster may not have missed that yet. k3s refuses a node whose name one
    had that knew another password (k3s documentation, "k3s agent", "Node registration"). A name
    alone does not say it: ``shop-a-b-1`` may be of ``shop`` or, on a server of another account, of
    ``shop-a``, whose marker the node then has.
    """
    marker = build_marker(app)
    new = [server for server in servers if facts[server.name].k3s.node_name is None]
    names = {server.name for server in new if server.is_rented}
    addresses = {format_address(server.host) for server in new}
    return [
        node
        for node in nodes
        if (node.name in names and (marker in node.markers or not node.markers))
        or (node.address in addresses and not node.is_ready)
        if not node.is_master
    ]


def find_orphans(servers: Sequence[Server], facts: Mapping[str, Facts]) -> list[Server]:
    """Rented workers of a cluster that is gone with its master, whose server was made anew."""
    if facts[servers[0].name].k3s.role is not None:
        return []
    return [server for server in servers[1:] if is_orphan(server, facts[server.name].k3s)]


def is_orphan(server: Server, k3s: K3s) -> bool:
    """Whether it is a rented worker that had joined a cluster; asked where no master is left."""
    return server.is_rented and k3s.is_ours and k3s.role == "agent" and bool(k3s.applied)
