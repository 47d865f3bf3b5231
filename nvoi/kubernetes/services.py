"""The Service in front of a workload: its name and address inside the cluster."""

from __future__ import annotations

from nvoi.kubernetes.labels import build_metadata, build_selector
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.workload import Manifest, Workload


def build_service(workload: Workload) -> Manifest | None:
    """The Service of a workload that has a port, None for another."""
    if workload.port is None:
        return None
    port = {"name": "main", "port": workload.port, "targetPort": workload.port, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(workload.name, workload.labels, workload.deploy_id)
        | {"namespace": NAMESPACE},
        "spec": {
            "type": "ClusterIP",
            "selector": build_selector(workload.name),
            "ports": [port],
        },
    }
