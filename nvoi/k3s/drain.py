"""Nodes that leave the cluster: they get no new pods, lose those that they have, and then k3s."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from nvoi import parallel
from nvoi.command import Result, build_script
from nvoi.errors import ClusterSilenceError, HostsError, NvoiError, RemoteError
from nvoi.k3s import read_script
from nvoi.k3s.datastore import COPIES_FOLDER
from nvoi.k3s.facts import FOLDER, HEADER
from nvoi.k3s.nodes import ClusterNode, list_nodes, parse_address, set_leaving
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.diagnosis import describe_stopping
from nvoi.kubernetes.ownership import Json, Reference, read_reference
from nvoi.kubernetes.registry import DATA_FOLDER
from nvoi.log.levels import get_logger
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root
from nvoi.waiting import Reminder

log = get_logger("nvoi.k3s")

DRAIN_SECONDS = 300
#: Where the disks are that the provisioner of k3s makes.
STORAGE_FOLDER = "/var/lib/rancher/k3s/storage"
#: Seconds until pods that are still there are evicted again.
EVICT_SECONDS = 2.0
MIRROR = "kubernetes.io/config.mirror"
HOST_NAME = "kubernetes.io/hostname"
UNINSTALL_SECONDS = 600
#: The script's exit code where somebody else has set k3s up; sysexits(3) leaves it alone.
FOREIGN = 94


def hold_nodes(cluster: Cluster, nodes: Sequence[ClusterNode]) -> None:
    """Give nodes that are to leave no new pods, unless a disk has data that would go with one."""
    ready = [node for node in nodes if node.is_ready]
    for node in ready:
        check_claims(node, list_claims(cluster, node.name))
    for node in ready:
        if not node.is_cordoned:
            log.info("%s is not in the config any more: it gets no new pods", node.name)
            set_leaving(cluster, node, is_on=True)


def remove_nodes(
    connections: Connections,
    cluster: Cluster,
    nodes: Sequence[ClusterNode],
    *,
    kept: Collection[str],
    settle: Callable[[], None] = lambda: None,
    seconds: float = DRAIN_SECONDS,
) -> None:
    """Drain nodes, take them out of the cluster, and k3s off their servers that can be reached.

    Servers with one of the addresses in ``kept`` keep their k3s.
    """
    drain_nodes(cluster, nodes, settle=settle, seconds=seconds)
    for node in nodes:
        claims = list_claims(cluster, node.name)
        if claims:
            log.warning(
                "%s: k3s stays on its server, as data of %s is there, in %s",
                *(node.name, ", ".join(claims), STORAGE_FOLDER),
            )
        # First k3s, then the node: an agent that still runs would bring it back.
        elif node.address not in kept:
            uninstall_node(connections, node)
        cluster.delete([Reference("Node", node.name)], wait=False)
        log.ok("%s: removed; data in /opt/nvoi/volumes is kept on its server", node.name)


def drain_nodes(
    cluster: Cluster,
    nodes: Sequence[ClusterNode],
    *,
    settle: Callable[[], None] = lambda: None,
    seconds: float = DRAIN_SECONDS,
) -> None:
    """Move what is on nodes elsewhere. ``settle`` returns once that runs there.

    Raises:
        NvoiError: it does not; or a disk has data that would go with its node. All nodes take pods
            again where nvoi had them take none.
    """
    try:
        for node in nodes:
            if node.is_ready:
                drain(cluster, node, seconds)
            else:
                log.warning(
                    "%s is %s: its pods cannot be moved, others take over", node.name, node.state
                )
        settle()
    except NvoiError:
        with suppress(NvoiError):
            keep_nodes(cluster, nodes)
        raise


def keep_nodes(cluster: Cluster, nodes: Sequence[ClusterNode]) -> None:
    """Have nodes take pods again that were to leave; what others have cordoned stays so."""
    names = {node.name for node in nodes}
    for node in list_nodes(cluster):
        if node.name in names and node.is_leaving:
            set_leaving(cluster, node, is_on=False)
            log.info("%s takes pods again", node.name)


def check_claims(node: ClusterNode, claims: Sequence[str]) -> None:
    """Whether nothing of value, such as a database's data, goes with a node."""
    if claims:
        raise NvoiError(
            f"the node {node.name} cannot be removed: its own disk has data, which would go with "
            f"it: {', '.join(claims)}",
            hint="name its server in the config again; or save the data and delete the claims "
            "with kubectl",
        )


def list_claims(cluster: Cluster, node: str) -> list[str]:
    """What has data on a node's disk, ``NAMESPACE/CLAIM`` each.

    The provisioner of k3s makes such a disk under /var/lib/rancher/k3s, and holds it to its
    node by the node's name (k3s documentation, "Volumes and Storage").
    """
    found = cluster.get(["persistentvolumes"])
    try:
        return sorted(name_claim(item) for item in found if is_on(item, node))
    except (KeyError, TypeError) as error:
        raise NvoiError(f"the cluster's answer about its disks cannot be read: {error}") from error


def is_on(volume: Mapping[str, Any], node: str) -> bool:
    """Whether a volume can be used on ``node`` only, by its name."""
    affinity = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    return any(
        expression["key"] == HOST_NAME and expression.get("values") == [node]
        for term in affinity.get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
    )


def name_claim(volume: Mapping[str, Any]) -> str:
    claim = volume["spec"].get("claimRef")
    return f"{claim['namespace']}/{claim['name']}" if claim else str(volume["metadata"]["name"])


def drain(cluster: Cluster, node: ClusterNode, seconds: float) -> None:
    """Move the pods of a node elsewhere, unless its disk has data."""
    check_claims(node, list_claims(cluster, node.name))
    log.info("%s: draining, which may take up to %d s", node.name, seconds)
    try:
        if not node.is_cordoned:
            set_leaving(cluster, node, is_on=True)
        evict_pods(cluster, node, seconds)
    except NvoiError as error:
        raise NvoiError(
            f"the node {node.name} cannot be drained and stays in the cluster",
            hint="see what holds its pods, such as a PodDisruptionBudget; or add its server to "
            "the config again",
            output=error.output or (error.message,),
        ) from error


def evict_pods(cluster: Cluster, node: ClusterNode, seconds: float) -> None:
    """Evict all pods that can be elsewhere, and wait until they are gone."""
    deadline = time.monotonic() + seconds
    reminder = Reminder(f"the pods of {node.name} to go", log)
    while found := list_movable(cluster, node):
        pods, kept = [read_reference(pod) for pod in found], []
        try:
            kept = cluster.evict(pods)
        except ClusterSilenceError as error:
            # Not asked again at once: a pod of that name may be another one by now.
            log.debug("%s: not all pods were evicted: %s", node.name, error)
        if time.monotonic() >= deadline:
            why = "a PodDisruptionBudget forbids it" if kept else "they do not end"
            names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in kept or pods)
            raise NvoiError(f"pods were not gone after {seconds:g} s: {names}: {why}")
        reminder.tell("; ".join(describe_stopping(found)))
        parallel.sleep(min(EVICT_SECONDS, max(0.0, deadline - time.monotonic())))


def list_movable(cluster: Cluster, node: ClusterNode) -> list[Json]:
    """The pods on a node but those of DaemonSets, which come back, and the node's own.

    Source: Kubernetes documentation, "Safely Drain a Node" and "Static Pods".
    """
    return [
        pod
        for pod in cluster.get(["pods"], fields=f"spec.nodeName={node.name}", namespace=None)
        if MIRROR not in (pod["metadata"].get("annotations") or {})
        if all(
            owner["kind"] != "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ()
        )
    ]


def uninstall_node(connections: Connections, node: ClusterNode) -> None:
    """Remove k3s from the server of a node; that it cannot be reached is no error."""
    host = parse_address(node.address or "", node.name)
    reason = "it is not known how to reach that"
    if host is not None:
        try:
            send_uninstall(connections, host)
        except NvoiError as error:
            reason = error.message
        else:
            return
    log.warning(
        "%s: k3s could not be removed from its server (%s): run `k3s-agent-uninstall.sh` there",
        *(node.name, reason),
    )


def send_uninstall(connections: Connections, host: Host) -> Result:
    """Remove k3s, and what nvoi has put beside it, as root."""
    words = (FOLDER, HEADER, DATA_FOLDER, COPIES_FOLDER)
    command = build_script("nvoi-k3s-removal", read_script("uninstall.sh"), *words)
    return connections.run(host, as_root(host, command), timeout=UNINSTALL_SECONDS)


def uninstall(connections: Connections, servers: Sequence[Server]) -> None:
    """Remove k3s, and what nvoi has put beside it, from all servers; what is gone is fine.

    The workers come first, side by side, then the master. Volumes stay. Where some servers still
    have it in the end, the others do not.
    """
    errors: list[NvoiError] = []
    for is_master in (False, True):
        hosts = [one.host for one in servers if one.is_master == is_master]
        found = parallel.work_on_all(hosts, lambda host: uninstall_from(connections, host))
        errors += [error for error in found.values() if error is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostsError(errors)


def uninstall_from(connections: Connections, host: Host) -> NvoiError | None:
    """Remove k3s from one server; returns why it is still there."""
    try:
        result = send_uninstall(connections, host)
    except NvoiError as error:
        if not isinstance(error, RemoteError) or error.status != FOREIGN:
            return error
        return NvoiError(
            f"{host}: its k3s is not one that nvoi has installed, and stays",
            hint="remove it with `k3s-uninstall.sh` or `k3s-agent-uninstall.sh` there",
        )
    if result.lines and result.lines[-1] == "removed":
        log.ok("%s: k3s is removed", host.name)
    else:
        log.info("%s: there was no k3s", host.name)
    return None
