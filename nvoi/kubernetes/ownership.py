"""What of the cluster is the app's, what of that is no longer wanted, and what is another's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvoi.kubernetes.names import (
    ADOPTED,
    COMPONENT,
    MANAGED_BY,
    NAMESPACE,
    OWNER,
    PART_OF,
    TEMPLATE,
    build_label_value,
)

#: An object as the cluster has it, and as it is applied.
Json = Mapping[str, Any]
Manifest = dict[str, object]
RECORD = "release"

#: The kinds that nvoi makes for an app. None of them holds data.
KINDS = (
    *("Deployment", "StatefulSet", "Service", "Secret", "Job"),
    *("NetworkPolicy", "PodDisruptionBudget", "Ingress"),
)
#: Those whose pods are to stay.
WORKLOADS = frozenset({"Deployment", "StatefulSet"})
#: All but Secrets, as the paths of the API call them, and who else may need a Secret.
LISTED = (
    *("deployments", "statefulsets", "services", "jobs", "replicasets"),
    *("networkpolicies", "poddisruptionbudgets", "ingresses"),
)


@dataclass(frozen=True, order=True)
class Reference:
    kind: str
    name: str
    namespace: str = NAMESPACE

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


def read_reference(item: Json | Manifest) -> Reference:
    metadata: Any = item["metadata"]
    return Reference(str(item["kind"]), metadata["name"], metadata.get("namespace") or NAMESPACE)


def get_label(item: Json | Manifest, key: str) -> str | None:
    metadata: Any = item["metadata"]
    value: str | None = (metadata.get("labels") or {}).get(key)
    return value


def read_template(item: Json | Manifest) -> str | None:
    """The checksum of a workload's template, by which its pods are told from older ones."""
    specification: Any = item["spec"]
    metadata = specification["template"].get("metadata") or {}
    checksum: str | None = (metadata.get("annotations") or {}).get(TEMPLATE)
    return checksum


def is_owned(item: Json, app: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY) == OWNER and labels.get(PART_OF) == build_label_value(app))


def is_adopted(item: Json | Manifest) -> bool:
    """Whether the Ruby gem has made it, and it was taken over."""
    metadata: Any = item["metadata"]
    return ADOPTED in (metadata.get("annotations") or {})


def is_removable(item: Json) -> bool:
    """Whether nvoi removes it by itself: all else that is made for these goes with them.

    The gem's ReplicaSets outlive their Deployments, so that their pods go on for a while.
    """
    return item["kind"] in KINDS or (item["kind"] == "ReplicaSet" and is_adopted(item))


def find_obsolete(
    app: str, live: Iterable[Json], wanted: Iterable[Manifest], kept: Iterable[Manifest] = ()
) -> list[Reference]:
    """What the app had among ``live``, and the config no longer names.

    ``live`` is what there is of :data:`LISTED` and Secrets, the app's or not, ``wanted`` what has
    been applied. The Secrets of ``kept`` stay, the manifests of releases that can be gone back to.
    Data stays, and so do records of releases: :mod:`nvoi.kubernetes.releases` knows which are old.
    """
    items = tuple(live)
    named = {read_reference(item) for item in wanted}
    users = (*kept, *(item for item in items if is_earlier(item, named)))
    needed = {Reference("Secret", name) for item in users for name in find_secret_names(item)}
    return sorted(
        reference
        for item in items
        if is_removable(item) and is_owned(item, app) and not is_going(item)
        if item["metadata"]["labels"].get(COMPONENT) != RECORD
        if (reference := read_reference(item)) not in named and reference not in needed
    )


def is_earlier(item: Json, named: Collection[Reference]) -> bool:
    """Whether ``item`` is a release, now or before, of a Deployment that stays."""
    owners = item["metadata"].get("ownerReferences") or ()
    return item["kind"] == "ReplicaSet" and any(
        Reference(owner["kind"], owner["name"]) in named for owner in owners
    )


def find_secret_names(item: Json) -> Iterator[str]:
    template = (item.get("spec") or {}).get("template") or {"spec": {"containers": ()}}
    yield from (one["name"] for one in template["spec"].get("imagePullSecrets") or ())
    for container in template["spec"]["containers"]:
        for source in container.get("envFrom") or ():
            if "secretRef" in source:
                yield source["secretRef"]["name"]


def is_going(item: Json) -> bool:
    return "deletionTimestamp" in item["metadata"]


def find_claims(app: str, live: Iterable[Json]) -> list[Reference]:
    """The app's disks among ``live``: what is deleted only with ``--delete-volumes``."""
    return sorted(
        read_reference(item)
        for item in live
        if item["kind"] == "PersistentVolumeClaim" and is_owned(item, app)
    )
