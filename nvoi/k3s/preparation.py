"""Looks at all servers before any is changed, and says all that is missing at once."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.errors import NvoiError
from nvoi.k3s.configuration import POD_NETWORK, SERVICE_NETWORK, K3sSettings
from nvoi.k3s.facts import Facts
from nvoi.k3s.networks import shuts_pods_out
from nvoi.k3s.nodes import list_nodes
from nvoi.k3s.requirements import check_all, find_architectures
from nvoi.k3s.survey import OnArchitecture, ask_all
from nvoi.kubernetes.cluster import Cluster
from nvoi.log.levels import get_logger
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections

log = get_logger("nvoi.k3s")

#: What lets pods and services in. Source: k3s documentation, "Requirements", "Operating Systems".
REMEDIES = {
    "ufw": f"ufw allow from {POD_NETWORK} && ufw allow from {SERVICE_NETWORK}",
    "firewalld": "firewall-cmd --permanent --zone=trusted "
    f"--add-source={POD_NETWORK} --add-source={SERVICE_NETWORK} && firewall-cmd --reload",
}


def check_servers(
    connections: Connections,
    servers: Sequence[Server],
    settings: K3sSettings,
    on_architecture: OnArchitecture,
    cluster: Cluster | None = None,
) -> dict[str, Facts]:
    """What the servers are like, by their names, where all of them can be nodes.

    Args:
        connections: those of the run.
        servers: those of the config, the master first; all are asked at once.
        settings: what the config says of k3s.
        on_architecture: called with each server's architecture as soon as it is known, on a
            thread of its own.
        cluster: asked of the nodes that cannot be reached, where the master can.

    Raises:
        NvoiError: tells of all servers that cannot be reached, and all that is missing.
    """
    found = ask_all(connections, servers, on_architecture)
    facts = {name: one for name, one in found.items() if isinstance(one, Facts)}
    errors = [one for one in found.values() if isinstance(one, NvoiError)]
    if errors and cluster is not None:
        tell_unreachable_nodes(servers, facts, cluster)
    check_all(servers, facts, settings, errors)
    for server in servers:
        tell(server, facts[server.name])
    architectures = find_architectures(servers, facts)
    if len(architectures) > 1:
        shown = "; ".join(f"{name}: {', '.join(which)}" for name, which in architectures.items())
        log.warning("the servers differ in architecture (%s): images must be made for all", shown)
    return facts


def tell(server: Server, facts: Facts) -> None:
    """Log what a server is."""
    k3s = f"k3s {facts.k3s.version}" if facts.k3s.role else "no k3s yet"
    log.info(
        "%s: %s, %s, %s",
        server.name,
        facts.os_name or facts.kernel,
        facts.architecture,
        k3s,
    )
    if facts.cloud_init == "error":
        detail = f": {facts.cloud_init_detail}" if facts.cloud_init_detail else ""
        log.warning("%s: cloud-init failed%s", server.name, detail)
    if shuts_pods_out(facts):
        log.warning(
            "%s: %s does not let pods in, which then find neither each other nor any name; "
            "as root there: %s",
            server.name,
            facts.firewall,
            REMEDIES[facts.firewall],
        )


def tell_unreachable_nodes(
    servers: Sequence[Server], facts: dict[str, Facts], cluster: Cluster
) -> None:
    """Log how the cluster sees the servers that do not answer."""
    master = facts.get(servers[0].name)
    if master is None or not master.k3s.is_active:
        return
    known = {one.k3s.node_name for one in facts.values()}
    try:
        nodes = list_nodes(cluster)
    except NvoiError as error:
        log.debug("cannot ask for the nodes: %s", error)
        return
    for node in nodes:
        if node.name not in known and not node.is_ready:
            log.warning("the cluster says of the node %s: %s", node.name, node.state)
