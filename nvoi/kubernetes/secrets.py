"""A workload's Secret: its whole environment, and no other's."""

from __future__ import annotations

from base64 import b64encode

from nvoi.kubernetes.labels import build_metadata
from nvoi.kubernetes.names import NAMESPACE
from nvoi.kubernetes.workload import Manifest, Workload


def build_secret(workload: Workload) -> Manifest:
    """The Secret that a workload's pods have their environment from.

    It never changes: other values make another Secret.
    """
    values = sorted(workload.environment.items())
    data = {name: b64encode(value.encode()).decode() for name, value in values}
    secret: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(workload.secret_name, workload.labels, workload.deploy_id)
        | {"namespace": NAMESPACE},
        "type": "Opaque",
        "immutable": True,
    }
    # The API stores an empty map as none at all, and refuses the same again as a change.
    return secret | {"data": data} if data else secret
