"""The nodes of the cluster: what they are, what apps mark them with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nvoi.errors import NvoiError
from nvoi.kubernetes.api import FIELD_MANAGER
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.names import SERVER_GROUP, build_label_value
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.naming import shorten
from nvoi.providers.provider import Server
from nvoi.ssh.host import Host

log = get_logger("nvoi.k3s")

MASTER_LABEL = "node-role.kubernetes.io/control-plane"
MARKER = "nvoi.io/"
MARKER_NAME = "app."
ADDRESS = "nvoi.io/address"
NO_TEXTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class ClusterNode:
    """A node as the cluster sees it.

    Attributes:
        name: its name.
        is_ready: whether it takes pods.
        state: that for people.
        is_master: whether it runs the cluster.
        is_cordoned: whether no new pods are given to it.
        version: its release of k3s.
        labels: all of them.
        annotations: the same.
    """

    name: str
    is_ready: bool
    state: str
    is_master: bool = False
    is_cordoned: bool = False
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_TEXTS)
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_TEXTS)

    @property
    def markers(self) -> frozenset[str]:
        """The labels by which apps say that they use it."""
        return frozenset(key for key in self.labels if key.startswith(MARKER + MARKER_NAME))

    @property
    def address(self) -> str | None:
        """``user@address:port``, where it is reached over SSH."""
        return self.annotations.get(ADDRESS)


def build_marker(app: str) -> str:
    """The label by which ``app`` says that it uses a node. Its name has at most 63 characters."""
    return MARKER + shorten(MARKER_NAME + build_label_value(app))


def format_address(host: Host) -> str:
    """A host as a node's annotation has it."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    return f"{host.user}@{address}:{host.port}"


def parse_address(text: str, name: str) -> Host | None:
    """The host of a node's annotation; None where it is none."""
    user, found, place = text.partition("@")
    address, _, port = place.rpartition(":")
    if not (found and user and address and port.isdecimal()):
        return None
    return Host(name, address.removeprefix("[").removesuffix("]"), int(port), user)


def list_nodes(cluster: Cluster) -> list[ClusterNode]:
    """All nodes of the cluster.

    Raises:
        NvoiError: it cannot be asked.
    """
    found = cluster.get(["nodes"])
    try:
        return [read_node(item) for item in found]
    except (KeyError, TypeError) as error:
        raise NvoiError(f"the cluster's answer about its nodes cannot be read: {error}") from error


def read_node(item: Mapping[str, Any]) -> ClusterNode:
    """A node of what the API has answered."""
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
        version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
    )


def ensure_marks(
    cluster: Cluster,
    nodes: Sequence[ClusterNode],
    servers: Mapping[str, Server],
    app: str,
) -> None:
    """Have the nodes of ``app`` say so, and to which group they belong; one call for all.

    Args:
        cluster: where.
        nodes: all there are.
        servers: the app's servers by the names of their nodes.
        app: its name.

    Raises:
        NvoiError: a node belongs to another group for other apps.
    """
    mine = [node for node in nodes if node.name in servers]
    check_groups(nodes, servers, app)
    changed = [
        build_marks(app, node, servers[node.name])
        for node in mine
        if not is_marked(app, node, servers[node.name])
    ]
    if changed:
        cluster.apply(changed, owner=build_owner(app))
    for node in mine:
        if node.is_cordoned:
            log.warning(
                "%s is cordoned and gets no new pods; `kubectl uncordon %s` ends that",
                node.name,
                node.name,
            )


def check_groups(nodes: Sequence[ClusterNode], servers: Mapping[str, Server], app: str) -> None:
    """Whether no node has another group's name for the sake of other apps.

    Args:
        nodes: all there are.
        servers: the app's servers by the names of their nodes.
        app: its name.

    Raises:
        NvoiError: one has.
    """
    lines = []
    for node in nodes:
        if node.name not in servers:
            continue
        group, others = node.labels.get(SERVER_GROUP), node.markers - {build_marker(app)}
        if group is not None and group != servers[node.name].group and others:
            apps = ", ".join(sorted(one.removeprefix(MARKER + MARKER_NAME) for one in others))
            lines.append(
                f"{servers[node.name].host}: is in the server group {group!r} for other apps "
                f"({apps}), and in {servers[node.name].group!r} here"
            )
    if lines:
        raise NvoiError(
            "\n".join(lines),
            hint="a server that several apps share is in a group of the same name in all of them",
        )


def is_marked(app: str, node: ClusterNode, server: Server) -> bool:
    """Whether a node has all its marks."""
    marks = build_marks(app, node, server)["metadata"]
    assert isinstance(marks, dict)  # noqa: S101 - of the line above; for the type checker
    labels, annotations = marks["labels"], marks["annotations"]
    return bool(
        labels.items() <= node.labels.items() and annotations.items() <= node.annotations.items()
    )


def build_marks(app: str, node: ClusterNode, server: Server) -> Manifest:
    """The marks of a node. Another app's way to reach it is as good as this one's."""
    own = build_marker(app)
    address = format_address(server.host)
    if node.address and node.markers - {own}:
        address = node.address
    return build_node(node.name, {SERVER_GROUP: server.group, own: "true"}, {ADDRESS: address})


def build_node(name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    """The part of a node that nvoi has a say in."""
    metadata = {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def build_owner(app: str) -> str:
    """Who sets an app's marks: each app owns its own, so that none removes another's."""
    return f"{FIELD_MANAGER}-node-{build_label_value(app)}"


def forget_app(cluster: Cluster, nodes: Sequence[ClusterNode], app: str) -> None:
    """Take the app's marker off ``nodes``; what else they are marked with stays."""
    own = build_marker(app)
    for node in nodes:
        if own in node.labels:
            reference = Reference("Node", node.name)
            cluster.change(reference, {"metadata": {"labels": {own: None}}})


def list_other_apps(nodes: Iterable[ClusterNode], app: str) -> list[str]:
    """The other apps that use any of ``nodes``."""
    markers = {marker for node in nodes for marker in node.markers} - {build_marker(app)}
    return sorted(marker.removeprefix(MARKER + MARKER_NAME) for marker in markers)
