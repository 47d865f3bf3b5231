"""The Job that runs a service's ``pre_run_command`` in the new image, once."""

from __future__ import annotations

from dataclasses import replace

from nvoi.kubernetes.labels import build_labels, build_metadata
from nvoi.kubernetes.names import NAMESPACE, build_job_name
from nvoi.kubernetes.pod import build_template
from nvoi.kubernetes.workload import Manifest, Probes, Workload

#: Seconds that an ended Job is kept for whoever wants to look at it.
KEPT_SECONDS = 24 * 3600


def build_job(workload: Workload, command: str, stamp: str, seconds: int) -> Manifest:
    """The Job that runs ``command`` as ``workload`` would; ``seconds`` is how long it may take.

    It is tried once: what has been done to a database by halves is not done again unseen.
    """
    name = build_job_name(workload.name, stamp)
    # The pods bear another name than the workload's, or its Service would send them requests.
    labels = build_labels(workload.app, workload.service, name, "job", stamp)
    once = replace(
        workload, command=command, arguments=(), port=None, probes=Probes(), drain_seconds=0
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": build_metadata(name, labels, workload.deploy_id) | {"namespace": NAMESPACE},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": build_template(once, labels, restartPolicy="Never"),
        },
    }
