"""Labels and annotations: by them an app's objects are told from all others.

The ``app.kubernetes.io`` ones are of the Kubernetes documentation, "Recommended Labels".
"""

from __future__ import annotations

from nvoi.kubernetes.names import build_label_value

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "nvoi"
STAMP = "app.kubernetes.io/version"
COMPONENT = "app.kubernetes.io/component"
DEPLOY_ID = "nvoi.io/deploy-id"
SERVER_GROUP = "nvoi.io/server-name"
SECRET_CHECKSUM = "nvoi.io/secret-checksum"  # noqa: S105 - an annotation's name
TEMPLATE = "nvoi.io/template"


def build_labels(
    app: str, service: str, workload: str, component: str, stamp: str | None = None
) -> dict[str, str]:
    """The labels of a workload's objects or pods; ``stamp`` where they follow releases."""
    labels = {
        NAME: build_label_value(service),
        INSTANCE: workload,
        COMPONENT: component,
        PART_OF: build_label_value(app),
        MANAGED_BY: OWNER,
    }
    return labels | ({STAMP: build_label_value(stamp)} if stamp else {})


def build_metadata(name: str, labels: dict[str, str], deploy_id: str) -> dict[str, object]:
    """An object's metadata but its namespace.

    The deploy id is on objects and not on their pods, or each deploy would start even what it
    leaves unchanged, such as the database, again. A label cannot hold every id: the annotation
    has it whole.
    """
    return {
        "name": name,
        "labels": labels | {DEPLOY_ID: build_label_value(deploy_id)},
        "annotations": {DEPLOY_ID: deploy_id},
    }


def build_selector(workload: str) -> dict[str, str]:
    """The labels by which a workload's pods are found. They can never be changed."""
    return {INSTANCE: workload}


def build_app_selector(app: str) -> str:
    """The selector of all that nvoi keeps for an app, as kubectl takes it."""
    return f"{MANAGED_BY}={OWNER},{PART_OF}={build_label_value(app)}"
