"""Which nodes belong to an app: marks those of the config, and lets go of those it left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from nvoi import parallel
from nvoi.errors import NvoiError
from nvoi.k3s.disks import list_claims
from nvoi.k3s.installer import build_removal
from nvoi.k3s.nodes import (
    ClusterNode,
    build_marker,
    ensure_marks,
    forget_app,
    format_address,
    parse_address,
)
from nvoi.k3s.readiness import READY_SECONDS, wait_until_ready
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.log.levels import get_logger
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import as_root

log = get_logger("nvoi.k3s")

UNINSTALL_SECONDS = 300
DRAIN_SECONDS = 300
#: Seconds until pods that are still there are evicted again.
EVICT_SECONDS = 2.0
MIRROR = "kubernetes.io/config.mirror"


def ensure_nodes(
    connections: Connections,
    cluster: Cluster,
    servers: Sequence[Server],
    names: Mapping[str, str],
    app: str,
    *,
    ready_seconds: float = READY_SECONDS,
    drain_seconds: int = DRAIN_SECONDS,
) -> None:
    """Have the config's nodes ready and marked, and no other node of the app's left.

    Args:
        connections: those of the run.
        cluster: where.
        servers: those of the config.
        names: the names of their nodes by their own.
        app: the app's name.
        ready_seconds: how long to wait for the nodes.
        drain_seconds: how long pods may take to leave a node that is removed.

    Raises:
        NvoiError: a node is not ready, or cannot be drained.
    """
    nodes = wait_until_ready(cluster, names.values(), seconds=ready_seconds)
    by_node = {names[server.name]: server for server in servers}
    ensure_marks(cluster, nodes, by_node, app)
    left = find_left(nodes, by_node, app)
    shared = [node for node in left if len(node.markers) > 1]
    for node in shared:
        log.info("%s stays a node for other apps", node.name)
    forget_app(cluster, shared, app)
    addresses = {format_address(server.host) for server in servers}
    for node in left:
        if node not in shared:
            remove_node(connections, cluster, node, addresses, drain_seconds)


def find_left(
    nodes: Sequence[ClusterNode], servers: Mapping[str, Server], app: str
) -> list[ClusterNode]:
    """The nodes that bear the app's marker and are no longer in its config; never the master."""
    marker = build_marker(app)
    return [
        node
        for node in nodes
        if marker in node.labels and node.name not in servers and not node.is_master
    ]


def remove_node(
    connections: Connections,
    cluster: Cluster,
    node: ClusterNode,
    addresses: frozenset[str] | set[str],
    drain_seconds: int,
) -> None:
    """Take a node out of the cluster, and k3s off its server where that can be reached.

    Raises:
        NvoiError: its pods cannot go elsewhere, or its disk has data that would go with k3s; the
            node stays as it was.
    """
    log.info("%s is not in the config any more: it is removed from the cluster", node.name)
    claims = list_claims(cluster, node.name)
    if node.is_ready:
        check_claims(node, claims)
        drain(cluster, node, drain_seconds)
    else:
        log.warning("%s is %s: its pods cannot be moved, others take over", node.name, node.state)
    if claims:
        log.warning(
            "%s: k3s stays on its server, as data of %s is there, in /var/lib/rancher/k3s/storage",
            node.name,
            ", ".join(claims),
        )
    # First k3s, then the node: an agent that still runs would bring it back.
    elif node.address not in addresses:
        uninstall_from(connections, node)
    cluster.delete([Reference("Node", node.name)], wait=False)
    log.ok("%s: removed; data in /opt/nvoi/volumes is kept on its server", node.name)


def check_claims(node: ClusterNode, claims: Sequence[str]) -> None:
    """Whether nothing of value goes with a node.

    Raises:
        NvoiError: it has a database's data, for example.
    """
    if claims:
        raise NvoiError(
            f"the node {node.name} cannot be removed: its own disk has data, which would go with "
            f"it: {', '.join(claims)}",
            hint="name its server in the config again; or save the data and delete the claims "
            "with kubectl",
        )


def drain(cluster: Cluster, node: ClusterNode, seconds: float) -> None:
    """Move the pods of a node elsewhere.

    Raises:
        NvoiError: they did not go in time; the node takes pods again.
    """
    log.info("%s: draining, which may take up to %d s", node.name, seconds)
    try:
        cordon(cluster, node, is_on=True)
        evict_pods(cluster, node, seconds)
    except NvoiError as error:
        if not node.is_cordoned:
            with suppress(NvoiError):
                cordon(cluster, node, is_on=False)
        raise NvoiError(
            f"the node {node.name} cannot be drained and stays in the cluster",
            hint="see what holds its pods, such as a PodDisruptionBudget; or add its server to "
            "the config again",
            output=error.output or (error.message,),
        ) from error


def cordon(cluster: Cluster, node: ClusterNode, *, is_on: bool) -> None:
    """Have a node get no new pods, or get some again."""
    cluster.change(Reference("Node", node.name), {"spec": {"unschedulable": is_on or None}})


def evict_pods(cluster: Cluster, node: ClusterNode, seconds: float) -> None:
    """Evict all pods that can be elsewhere, and wait until they are gone.

    Raises:
        NvoiError: they are not; says which, and why.
    """
    deadline = time.monotonic() + seconds
    while pods := list_movable(cluster, node):
        kept = cluster.evict(pods)
        if time.monotonic() >= deadline:
            why = "a PodDisruptionBudget forbids it" if kept else "they do not end"
            names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in kept or pods)
            raise NvoiError(f"pods were not gone after {seconds:g} s: {names}: {why}")
        parallel.sleep(min(EVICT_SECONDS, max(0.0, deadline - time.monotonic())))


def list_movable(cluster: Cluster, node: ClusterNode) -> list[Reference]:
    """The pods on a node but those of DaemonSets, which come back, and the node's own.

    Source: Kubernetes documentation, "Safely Drain a Node" and "Static Pods".
    """
    return [
        read_reference(pod)
        for pod in cluster.get(["pods"], fields=f"spec.nodeName={node.name}", namespace=None)
        if MIRROR not in (pod["metadata"].get("annotations") or {})
        if all(
            owner["kind"] != "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ()
        )
    ]


def uninstall_from(connections: Connections, node: ClusterNode) -> None:
    """Remove k3s from the server of a node; that it cannot be reached is no error."""
    host = parse_address(node.address or "", node.name)
    reason = "it is not known how to reach that"
    if host is not None:
        try:
            connections.run(host, as_root(host, build_removal()), timeout=UNINSTALL_SECONDS)
        except NvoiError as error:
            reason = error.message
        else:
            return
    log.warning(
        "%s: k3s could not be removed from its server (%s): run `k3s-agent-uninstall.sh` there",
        node.name,
        reason,
    )
