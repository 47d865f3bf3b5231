"""The database's StatefulSet: one pod at a time, beside its data."""

from __future__ import annotations

from nvoi.kubernetes.labels import build_metadata, build_selector
from nvoi.kubernetes.names import NAMESPACE, build_statefulset_name
from nvoi.kubernetes.pod import build_template
from nvoi.kubernetes.volumes import build_claim
from nvoi.kubernetes.workload import Manifest, Workload


def build_statefulset(workload: Workload) -> Manifest:
    """The StatefulSet that keeps a workload's one pod; the next starts when the last is gone."""
    claims = [build_claim(workload.pod_labels)] if workload.claim else []
    name = build_statefulset_name(workload.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": build_metadata(name, workload.labels, workload.deploy_id)
        | {"namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "serviceName": workload.name,
            "selector": {"matchLabels": build_selector(workload.name)},
            "updateStrategy": {"type": "RollingUpdate"},
            "revisionHistoryLimit": workload.history,
            "template": build_template(workload, workload.pod_labels),
            **({"volumeClaimTemplates": claims} if claims else {}),
        },
    }
