"""The Deployment of an app's or an auxiliary service."""

from __future__ import annotations

from nvoi.kubernetes.labels import build_metadata, build_selector
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.placement import build_spread
from nvoi.kubernetes.pod import build_template
from nvoi.kubernetes.workload import Manifest, Workload

# Seconds that a container must run where nothing else says that it is ready.
SETTLING_SECONDS = 3
#: Seconds without progress after which Kubernetes itself gives a rollout up.
DEADLINE_SECONDS = 600


def build_deployment(workload: Workload) -> Manifest:
    """The Deployment that keeps a workload's pods."""
    spread = {} if workload.mounts else {"topologySpreadConstraints": build_spread(workload.name)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(workload.name, workload.labels, workload.deploy_id)
        | {"namespace": NAMESPACE},
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": build_selector(workload.name)},
            "strategy": build_strategy(workload),
            "minReadySeconds": 0 if workload.probes.readiness else SETTLING_SECONDS,
            "progressDeadlineSeconds": DEADLINE_SECONDS,
            "revisionHistoryLimit": workload.history,
            "template": build_template(workload, workload.pod_labels, **spread),
        },
    }


def build_strategy(workload: Workload) -> Manifest:
    """One new pod at a time and no old one less; but two releases never write to one folder."""
    if workload.mounts:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
