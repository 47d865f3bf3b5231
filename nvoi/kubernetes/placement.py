"""Where pods may run: on the servers of their groups, spread over them."""

from __future__ import annotations

from nvoi.kubernetes.labels import SERVER_GROUP, build_selector
from nvoi.kubernetes.workload import Manifest


def build_placement(groups: tuple[str, ...]) -> Manifest:
    """The part of a pod's spec that holds it to the nodes of ``groups``."""
    if not groups:
        return {}
    if len(groups) == 1:
        return {"nodeSelector": {SERVER_GROUP: groups[0]}}
    expression = {"key": SERVER_GROUP, "operator": "In", "values": list(groups)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    }


def build_spread(workload: str) -> list[Manifest]:
    """Pods of one release on as many nodes as there are; on fewer rather than not at all."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": build_selector(workload)},
            # Or the pods that are about to go would push the new ones onto one node.
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
