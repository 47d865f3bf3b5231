"""Waiting for nodes to be ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nvoi.errors import NvoiError
from nvoi.k3s.nodes import NO_TEXTS, ClusterNode, list_nodes
from nvoi.kubernetes.cluster import Cluster
from nvoi.log.levels import get_logger
from nvoi.waiting import NotReadyError, wait_for

log = get_logger("nvoi.k3s")

READY_SECONDS = 180.0


def wait_until_ready(
    cluster: Cluster,
    names: Iterable[str],
    *,
    versions: Mapping[str, str] = NO_TEXTS,
    seconds: float = READY_SECONDS,
) -> list[ClusterNode]:
    """All nodes, once those in ``names`` are ready.

    Args:
        cluster: asked for them.
        names: the nodes that are waited for.
        versions: the release that each has to run by then, by name.
        seconds: how long to wait.

    Raises:
        NvoiError: one is still not ready.
    """
    wanted = list(names)

    def look() -> list[ClusterNode]:
        nodes = list_nodes(cluster)
        lacking = find_lacking(nodes, wanted, versions)
        if lacking:
            raise NotReadyError("; ".join(lacking))
        return nodes

    try:
        return wait_for(
            look,
            what="the nodes to be ready",
            seconds=seconds,
            log=log,
            pause=0.2,
            longest_pause=3.0,
        )
    except NotReadyError as seen:
        raise NvoiError(
            f"not all nodes are ready after {seconds:.0f} s: {seen}",
            hint="see `journalctl -u k3s` on the master and `journalctl -u k3s-agent` on a worker; "
            "between the servers 6443/tcp, 10250/tcp and 51820/udp must be open",
        ) from None


def find_lacking(
    nodes: Sequence[ClusterNode], names: Iterable[str], versions: Mapping[str, str]
) -> list[str]:
    """What is not as it should be, of each of the nodes in ``names``."""
    known = {node.name: node for node in nodes}
    lacking = []
    for name in names:
        node = known.get(name)
        wanted = versions.get(name)
        if node is None:
            lacking.append(f"{name} is not in the cluster yet")
        elif not node.is_ready:
            lacking.append(f"{name} is {node.state}")
        elif wanted and node.version != wanted:
            lacking.append(f"{name} still runs {node.version or 'another release'}")
    return lacking
