"""Data on the nodes' own disks that the cluster keeps there: it goes with a node's k3s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvoi.errors import NvoiError
from nvoi.kubernetes.cluster import Cluster

HOST_NAME = "kubernetes.io/hostname"


def list_claims(cluster: Cluster, node: str) -> list[str]:
    """What has data on a node's disk, ``NAMESPACE/CLAIM`` each.

    The provisioner of k3s makes such a disk under /var/lib/rancher/k3s, and holds it to its
    node by the node's name (k3s documentation, "Volumes and Storage").

    Raises:
        NvoiError: the cluster cannot be asked.
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
    """Whose data it is."""
    claim = volume["spec"].get("claimRef")
    return f"{claim['namespace']}/{claim['name']}" if claim else str(volume["metadata"]["name"])
