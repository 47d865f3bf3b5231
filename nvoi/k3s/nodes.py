"""The nodes of the cluster: what they are, whether they are ready, what apps mark them with."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nvoi.errors import NvoiError
from nvoi.http import NO_TEXTS
from nvoi.kubernetes.api import FIELD_MANAGER
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.names import SERVER_GROUP, build_label_value
from nvoi.kubernetes.ownership import Reference
from nvoi.log.levels import get_logger
from nvoi.naming import shorten
from nvoi.providers.provider import Server
from nvoi.ssh.host import Host
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.k3s")

READY_SECONDS = 180.0
MASTER_LABEL = "node-role.kubernetes.io/control-plane"
MARKER = "nvoi.io/"
MARKER_NAME = "app."
ADDRESS = "nvoi.io/address"
#: Says of a cordoned node that nvoi has cordoned it, as its server left the config.
LEAVING = "nvoi.io/leaving"


@dataclass(frozen=True)
class ClusterNode:
    """A node as the cluster sees it.

    Attributes:
        state: for people, whether it is ready, and why not.
        is_cordoned: whether no new pods are given to it.
        since: when it became what it is, ready or not; None where that is not known.
        version: its release of k3s.
    """

    name: str
    is_ready: bool
    state: str
    is_master: bool = False
    is_cordoned: bool = False
    since: datetime | None = None
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def markers(self) -> frozenset[str]:
        """The labels by which apps say that they use it."""
        return frozenset(key for key in self.labels if key.startswith(MARKER + MARKER_NAME))

    @property
    def address(self) -> str | None:
        """``user@address:port``, where it is reached over SSH."""
        return self.annotations.get(ADDRESS)

    @property
    def is_leaving(self) -> bool:
        """Whether nvoi has cordoned it."""
        return self.is_cordoned and LEAVING in self.annotations

    def has_been_away(self, seconds: float) -> bool:
        """Whether it has not been ready for that long. Clocks may differ by some seconds."""
        if self.is_ready or self.since is None:
            return False
        return (datetime.now(UTC) - self.since).total_seconds() > seconds


def list_nodes(cluster: Cluster) -> list[ClusterNode]:
    found = cluster.get(["nodes"])
    try:
        return [read_node(item) for item in found]
    except (KeyError, TypeError) as error:
        raise NvoiError(f"the cluster's answer about its nodes cannot be read: {error}") from error


def read_node(item: Mapping[str, Any]) -> ClusterNode:
    metadata, status = item["metadata"], item.get("status") or {}
    conditions = status.get("conditions") or []
    ready: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Ready"), {})
    is_ready = ready.get("status") == "True"
    reason = ready.get("message") or ready.get("reason") or "it has not said anything yet"
    return ClusterNode(
        name=metadata["name"],
        is_ready=is_ready,
        state="Ready" if is_ready else f"NotReady: {reason}",
        is_master=MASTER_LABEL in (metadata.get("labels") or {}),
        is_cordoned=bool((item.get("spec") or {}).get("unschedulable")),
        since=find_time(ready.get("lastTransitionTime")),
        version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
    )


def find_time(text: str | None) -> datetime | None:
    """A time as the API writes it, in UTC (Kubernetes API conventions, "Units")."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def wait_until_ready(
    cluster: Cluster,
    names: Sequence[str],
    *,
    versions: Mapping[str, str] = NO_TEXTS,
    seconds: float = READY_SECONDS,
    spare: Collection[str] = (),
) -> list[ClusterNode]:
    """All nodes, once those in ``names`` are ready and run the release that ``versions`` names.

    Those in ``spare`` may be away: they have ``seconds`` from when they were last ready.
    """
    deadline = time.monotonic() + seconds

    def look() -> list[ClusterNode]:
        nodes, is_late = list_nodes(cluster), time.monotonic() >= deadline
        away = {node.name for node in nodes if is_late or node.has_been_away(seconds)}
        wanted = [name for name in names if name not in spare or name not in away]
        if lacking := find_lacking(nodes, wanted, versions):
            raise NotReadyError("; ".join(lacking))
        return nodes

    what = "the nodes to be ready"
    try:
        return wait_for(look, what=what, seconds=seconds, log=log, pause=0.2, longest_pause=3.0)
    except NotReadyError as seen:
        raise NvoiError(
            f"not all nodes are ready after {seconds:.0f} s: {seen}",
            hint="see `journalctl -u k3s` on the master and `journalctl -u k3s-agent` on a worker; "
            "between the servers 6443/tcp, 10250/tcp and 51820/udp must be open",
        ) from None


def find_lacking(
    nodes: Sequence[ClusterNode], names: Iterable[str], versions: Mapping[str, str]
) -> list[str]:
    known = {node.name: node for node in nodes}
    lacking = []
    for name in names:
        node, wanted = known.get(name), versions.get(name)
        if node is None:
            lacking.append(f"{name} is not in the cluster yet")
        elif not node.is_ready:
            lacking.append(f"{name} is {node.state}")
        elif wanted and node.version != wanted:
            lacking.append(f"{name} still runs {node.version or 'another release'}")
    return lacking


def format_address(host: Host) -> str:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return f"{host.user}@{address}:{host.port}"


def parse_address(text: str, name: str) -> Host | None:
    user, found, place = text.rpartition("@")
    address, _, port = place.rpartition(":")
    if not (found and user and address and port.isdecimal()):
        return None
    return Host(name, address.removeprefix("[").removesuffix("]"), int(port), user)


def build_marker(app: str) -> str:
    """The label by which ``app`` says that it uses a node. Its name has at most 63 characters."""
    return MARKER + shorten(MARKER_NAME + build_label_value(app))


def map_groups(nodes: Iterable[ClusterNode]) -> dict[str, str]:
    """The groups of nodes that are in one, by their names."""
    return {one.name: one.labels[SERVER_GROUP] for one in nodes if SERVER_GROUP in one.labels}


def find_groups(app: str, nodes: Iterable[ClusterNode]) -> set[str]:
    """The groups that an app's nodes are in."""
    own = build_marker(app)
    return {*map_groups(node for node in nodes if own in node.markers).values()}


def list_other_apps(nodes: Iterable[ClusterNode], app: str) -> list[str]:
    markers = {marker for node in nodes for marker in node.markers} - {build_marker(app)}
    return sorted(marker.removeprefix(MARKER + MARKER_NAME) for marker in markers)


def check_groups(nodes: Sequence[ClusterNode], servers: Mapping[str, Server], app: str) -> None:
    """See that no node has another group's name for the sake of other apps.

    ``servers`` are the app's by the names of their nodes.
    """
    lines = []
    for node in nodes:
        server, group = servers.get(node.name), node.labels.get(SERVER_GROUP)
        others = ", ".join(list_other_apps([node], app))
        if server is not None and others and group not in (None, server.group):
            lines.append(
                f"{server.host}: is in the server group {group!r} for other apps "
                f"({others}), and in {server.group!r} here"
            )
    if lines:
        raise NvoiError(
            "\n".join(lines),
            hint="a server that several apps share is in a group of the same name in all of them",
        )


def ensure_marks(
    cluster: Cluster,
    nodes: Sequence[ClusterNode],
    servers: Mapping[str, Server],
    app: str,
) -> bool:
    """Have the nodes of ``app`` say so, and to which group they belong.

    ``servers`` are the app's by the names of their nodes. Returns whether a node was changed.
    """
    check_groups(nodes, servers, app)
    mine = [node for node in nodes if node.name in servers]
    marked = [build_marks(app, node, servers[node.name]) for node in mine]
    changed = [new for node, new in zip(mine, marked, strict=True) if not is_marked(node, new)]
    if changed:
        # Each app owns its own marks, so that none removes another's.
        cluster.apply(changed, owner=f"{FIELD_MANAGER}-node-{build_label_value(app)}")
    for node in mine:
        if node.is_leaving:
            set_leaving(cluster, node, is_on=False)
        elif node.is_cordoned:
            log.warning(
                "%s is cordoned and gets no new pods; `kubectl uncordon %s` ends that",
                node.name,
                node.name,
            )
    return bool(changed) or any(node.is_leaving for node in mine)


def set_leaving(cluster: Cluster, node: ClusterNode, *, is_on: bool) -> None:
    """Cordon a node whose server leaves the config; or end that."""
    annotations = {LEAVING: "true" if is_on else None}
    change = {"spec": {"unschedulable": is_on or None}, "metadata": {"annotations": annotations}}
    cluster.change(Reference("Node", node.name), change)


def build_marks(app: str, node: ClusterNode, server: Server) -> dict[str, Any]:
    """The part of a node that nvoi has a say in: its group, its app, the way to it.

    Another app's way to reach it is as good as this one's.
    """
    own = build_marker(app)
    address = format_address(server.host)
    if node.address and node.markers - {own}:
        address = node.address
    labels = {SERVER_GROUP: server.group, own: "true"}
    metadata = {"name": node.name, "labels": labels, "annotations": {ADDRESS: address}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def keep_markers(
    cluster: Cluster, nodes: Sequence[ClusterNode], replaced: Mapping[str, ClusterNode], app: str
) -> bool:
    """Have nodes bear the markers that others than ``app`` had on those whose places they took.

    ``replaced`` are these by the names of the new ones. Returns whether a node was changed.
    """
    is_changed = False
    for node in nodes:
        old = replaced.get(node.name)
        lacking = old.markers - node.markers - {build_marker(app)} if old else ()
        if lacking:
            labels = dict.fromkeys(sorted(lacking), "true")
            cluster.change(Reference("Node", node.name), {"metadata": {"labels": labels}})
            is_changed = True
    return is_changed


def is_marked(node: ClusterNode, wanted: Mapping[str, Any]) -> bool:
    labels, annotations = wanted["metadata"]["labels"], wanted["metadata"]["annotations"]
    return bool(
        labels.items() <= node.labels.items() and annotations.items() <= node.annotations.items()
    )


def find_left(nodes: Sequence[ClusterNode], names: Collection[str], app: str) -> list[ClusterNode]:
    """The nodes that bear the app's marker and are no longer in its config; never the master.

    ``names`` are those of the nodes whose servers are in it.
    """
    marker = build_marker(app)
    return [
        node
        for node in nodes
        if marker in node.labels and node.name not in names and not node.is_master
    ]


def forget_app(cluster: Cluster, nodes: Sequence[ClusterNode], app: str) -> None:
    """Take the app's marker off ``nodes``; what else they are marked with stays."""
    own = build_marker(app)
    for node in nodes:
        if own in node.labels:
            cluster.change(Reference("Node", node.name), {"metadata": {"labels": {own: None}}})
