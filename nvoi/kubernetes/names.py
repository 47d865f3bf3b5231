"""Kinds of objects, and the names, labels and annotations that tell an app's from all others.

The ``app.kubernetes.io`` labels are of the Kubernetes documentation, "Recommended Labels".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nvoi.http import NO_TEXTS
from nvoi.naming import HASH_LENGTH, LABEL_LENGTH, build_label, build_prefix, shorten

NAMESPACE = "default"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "nvoi"
STAMP = "app.kubernetes.io/version"
COMPONENT = "app.kubernetes.io/component"
#: The component of what leads visitors to an app.
DOMAIN = "domain"
#: The component of the Secret with the logins to registries.
LOGINS = "registries"
DEPLOY_ID = "nvoi.io/deploy-id"
SERVER_GROUP = "nvoi.io/server-name"
SECRET_CHECKSUM = "nvoi.io/secret-checksum"  # noqa: S105 - an annotation's name
TEMPLATE = "nvoi.io/template"
#: A checksum of the manifest that was applied last.
MANIFEST = "nvoi.io/manifest"
#: Says of an object that the Ruby gem nvoi 0.2 has made it, and that it was taken over.
ADOPTED = "nvoi.io/adopted"
# A label's value: at most 63 characters, letters and digits at both ends
# (Kubernetes documentation, "Labels and Selectors").
LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
DIGITS_OF_CHECKSUM = 10
DIGITS_OF_REVISION = 10


@dataclass(frozen=True)
class APIResource:
    """A kind of objects, and what the API calls it in its paths: Kubernetes' word for these."""

    kind: str
    plural: str
    version: str = "v1"
    is_namespaced: bool = True

    def build_path(self, namespace: str | None, *parts: str) -> str:
        """The path of one or, without a name in ``parts``, of all; None is every namespace."""
        root = "/apis/" if "/" in self.version else "/api/"
        place = ["namespaces", namespace] if self.is_namespaced and namespace else []
        return root + "/".join([self.version, *place, self.plural, *parts])


API_RESOURCES = (
    APIResource("Deployment", "deployments", "apps/v1"),
    APIResource("StatefulSet", "statefulsets", "apps/v1"),
    APIResource("ReplicaSet", "replicasets", "apps/v1"),
    APIResource("Job", "jobs", "batch/v1"),
    APIResource("CronJob", "cronjobs", "batch/v1"),
    APIResource("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1"),
    APIResource("PodDisruptionBudget", "poddisruptionbudgets", "policy/v1"),
    APIResource("Ingress", "ingresses", "networking.k8s.io/v1"),
    APIResource("HelmChartConfig", "helmchartconfigs", "helm.cattle.io/v1"),
    APIResource("Pod", "pods"),
    APIResource("Service", "services"),
    APIResource("Secret", "secrets"),
    APIResource("ConfigMap", "configmaps"),
    APIResource("PersistentVolumeClaim", "persistentvolumeclaims"),
    APIResource("Event", "events"),
    APIResource("Node", "nodes", is_namespaced=False),
    APIResource("PriorityClass", "priorityclasses", "scheduling.k8s.io/v1", is_namespaced=False),
    APIResource("PersistentVolume", "persistentvolumes", is_namespaced=False),
)
BY_NAME = {name: one for one in API_RESOURCES for name in (one.kind, one.plural)}


def build_checksum(parts: Mapping[str, str] | Iterable[str]) -> str:
    """64 hex of SHA-256 over the parts, each with its length, so that no two lists agree."""
    words = (
        [word for pair in sorted(parts.items()) for word in pair]
        if isinstance(parts, Mapping)
        else list(parts)
    )
    digest = hashlib.sha256()
    for word in words:
        data = word.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def build_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def build_label_value(text: str) -> str:
    """``text`` as a label's value; what had to be changed ends in 8 hex of its SHA-256.

    Two texts never give one value: objects are removed by it.
    """
    if LABEL_VALUE.fullmatch(text):
        return text
    digest = build_digest(text)
    kept = UNFIT.sub("-", text).strip("_.-")[: LABEL_LENGTH - HASH_LENGTH - 1]
    return f"{kept}-{digest}" if kept else digest


def build_part_name(text: str) -> str:
    """A container's or a volume's name inside a pod: a DNS label, different for each ``text``."""
    label = build_label(text)
    if label == text:
        return label
    return f"{label[: LABEL_LENGTH - HASH_LENGTH - 1].rstrip('-')}-{build_digest(text)}"


def build_secret_name(workload: str, checksum: str) -> str:
    """The name of the Secret with the values of ``checksum``.

    A pod of the old release that starts again, during a rollout or after a failed one, finds
    the old values by it.
    """
    return f"{workload}-{checksum[:DIGITS_OF_CHECKSUM]}"


def build_statefulset_name(workload: str) -> str:
    """A StatefulSet's name: 11 characters shorter than other names may be.

    Its pods bear it in a label, with a hyphen and a hash of ten behind it (Kubernetes source,
    ``pkg/controller/history``): with a longer one no pod can be made.
    """
    if len(workload) <= LABEL_LENGTH - DIGITS_OF_REVISION - 1:
        return workload
    kept = LABEL_LENGTH - DIGITS_OF_REVISION - HASH_LENGTH - 2
    return f"{workload[:kept].rstrip('-')}-{build_digest(workload)}"


def build_job_name(workload: str, stamp: str) -> str:
    return shorten(f"{workload}-pre-run-{stamp}")


def build_login_name(app: str) -> str:
    return shorten(f"{build_label(build_prefix(app))}-{LOGINS}")


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


def build_object(kind: str, metadata: dict[str, object], **fields: object) -> dict[str, object]:
    return {"apiVersion": BY_NAME[kind].version, "kind": kind, "metadata": metadata, **fields}


def build_metadata(
    name: str,
    labels: dict[str, str],
    deploy_id: str,
    namespace: str = NAMESPACE,
    annotations: Mapping[str, str] = NO_TEXTS,
) -> dict[str, object]:
    """An object's metadata.

    Objects bear the deploy id and their pods do not, or each deploy would start even what it
    leaves unchanged, such as the database, again. A label cannot hold every id: the annotation
    has it whole.
    """
    return {
        "name": name,
        "labels": labels | {DEPLOY_ID: build_label_value(deploy_id)},
        "annotations": {DEPLOY_ID: deploy_id, **annotations},
        "namespace": namespace,
    }


def build_selector(workload: str) -> dict[str, str]:
    """The labels by which a workload's pods are found. They can never be changed."""
    return {INSTANCE: workload}


def build_app_selector(app: str) -> str:
    """The selector of all that nvoi keeps for an app, as the API takes it."""
    return f"{MANAGED_BY}={OWNER},{PART_OF}={build_label_value(app)}"
