"""k3s' datastore is copied once a day, on the master, by the cluster itself. Pure functions.

The datastore is SQLite's, in /var/lib/rancher/k3s/server/db (k3s documentation, "Backup and
Restore"). The registry's image is on the master in any case, and has a shell.
"""

from __future__ import annotations

from nvoi.k3s import read_script
from nvoi.kubernetes.names import build_labels, build_metadata, build_object
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.pods import LEAST_SECURITY, build_pod, build_resources
from nvoi.kubernetes.registry import IMAGE, SYSTEM_NAMESPACE, build_master_placement
from nvoi.kubernetes.workloads import DEFAULT_RESOURCES

NAME = "nvoi-datastore"
COPIES_FOLDER = "/opt/nvoi/datastore"
SERVER_FOLDER = "/var/lib/rancher/k3s/server"
#: Every night, and by noon where the master was off by night.
SCHEDULE = "17 3 * * *"
LATEST_SECONDS = 9 * 3600
COPY_SECONDS = 1800
PAUSE_SECONDS = 3
#: Where the pod sees the two.
SOURCE, TARGET = "/server", "/copies"


def build_datastore_copies(deploy_id: str, *, node: str, image: str = IMAGE, keep: int) -> Manifest:
    """The CronJob that makes the copies, of which ``keep`` are kept; ``node`` is the master's."""
    labels = build_labels("datastore", "datastore", NAME, "datastore")
    volumes = [
        {"name": "source", "hostPath": {"path": SERVER_FOLDER, "type": "Directory"}},
        {"name": "target", "hostPath": {"path": COPIES_FOLDER, "type": "DirectoryOrCreate"}},
    ]
    pod = build_pod(
        build_container(image, keep),
        restartPolicy="Never",
        volumes=volumes,
        **build_master_placement(node),
    )
    job = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": COPY_SECONDS,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    specification = {
        "schedule": SCHEDULE,
        "timeZone": "UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": LATEST_SECONDS,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
    }
    metadata = build_metadata(NAME, labels, deploy_id, SYSTEM_NAMESPACE)
    return build_object("CronJob", metadata, spec=specification)


def build_container(image: str, keep: int) -> Manifest:
    words = ("/bin/sh", "-c", read_script("datastore.sh").replace("$", "$$"), NAME)
    return {
        "name": "copy",
        "image": image,
        "command": [*words, SOURCE, TARGET, str(keep), str(PAUSE_SECONDS)],
        "resources": build_resources(DEFAULT_RESOURCES),
        "securityContext": LEAST_SECURITY,
        "volumeMounts": [
            {"name": "source", "mountPath": SOURCE, "readOnly": True},
            {"name": "target", "mountPath": TARGET},
        ],
    }
