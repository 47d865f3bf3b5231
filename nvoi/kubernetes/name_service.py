"""The cluster's name service, by which pods find the database and the world outside."""

from __future__ import annotations

from nvoi.errors import ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import read_reference
from nvoi.kubernetes.registry import SYSTEM_NAMESPACE
from nvoi.log.levels import get_logger

log = get_logger("nvoi.kubernetes")

# CoreDNS has kept the label of what it replaced (Kubernetes documentation, "Using CoreDNS for
# Service Discovery"; k3s, manifests/coredns.yaml).
SELECTOR = "k8s-app=kube-dns"
#: Seconds until it is up: on a new cluster its image is pulled first.
SECONDS = 120.0


def wait_for_names(cluster: Cluster) -> None:
    """Wait until names are answered in the cluster; say so where they are not.

    A cluster may have another name service than k3s's own, and an app may need none.
    """
    found = cluster.get(["deployments"], selector=SELECTOR, namespace=SYSTEM_NAMESPACE)
    waiting = [
        read_reference(item) for item in found if not item.get("status", {}).get("readyReplicas")
    ]
    if not waiting:
        return
    log.info("Waiting until names are answered in the cluster")
    try:
        cluster.follow(waiting, SECONDS)
    except ServiceError as error:
        log.warning("Names are not answered in the cluster, by which pods find others: %s", error)
