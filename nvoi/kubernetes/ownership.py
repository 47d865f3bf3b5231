"""What there is against what is wanted: whose it is, whether it is so, what is to go. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvoi.config.fields import find_bytes, find_millicores
from nvoi.kubernetes.names import (
    ADOPTED,
    COMPONENT,
    DEPLOY_ID,
    MANAGED_BY,
    MANIFEST,
    NAMESPACE,
    OWNER,
    PART_OF,
    STAMP,
    TEMPLATE,
    build_checksum,
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
# Two things tell whether an object has to be applied again: a checksum of what was applied last,
# which sees what a manifest no longer names, and the object itself, which shows what others have
# changed since. Which deploy applied it, and for which release, count for nothing.
DIGITS = 16
#: What differs from deploy to deploy.
PASSING = frozenset({DEPLOY_ID, STAMP, MANIFEST})
# What Kubernetes refuses to change (API reference, "Deployment" and "StatefulSet").
IMMUTABLE = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName"),
}


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


def sign(manifest: Manifest) -> Manifest:
    """``manifest`` with its own checksum; a Secret's would say something of what it holds."""
    if manifest["kind"] == "Secret":
        return manifest
    metadata: Any = manifest["metadata"]
    annotations = (metadata.get("annotations") or {}) | {MANIFEST: compute(manifest)}
    return manifest | {"metadata": metadata | {"annotations": annotations}}


def compute(manifest: Manifest) -> str:
    return build_checksum([json.dumps(strip(manifest), sort_keys=True)])[:DIGITS]


def strip(manifest: Manifest) -> dict[str, Any]:
    """``manifest`` without what differs from deploy to deploy."""
    metadata: Any = manifest["metadata"]
    lasting = {
        part: {key: text for key, text in (metadata.get(part) or {}).items() if key not in PASSING}
        for part in ("labels", "annotations")
    }
    return manifest | {"metadata": metadata | lasting}


def is_unchanged(live: Json | None, manifest: Manifest) -> bool:
    """Whether ``live`` was made of ``manifest``, and is so still."""
    if live is None or "deletionTimestamp" in live["metadata"]:
        return False
    annotations = live["metadata"].get("annotations") or {}
    return annotations.get(MANIFEST) == compute(manifest) and holds(live, strip(manifest))


def holds(live: Any, wanted: Any) -> bool:
    """Whether ``live`` says all that ``wanted`` says.

    The API adds defaults, drops what is empty, and writes amounts in its own way: ``1`` for
    ``1000m`` (API reference, "Quantity").
    """
    if not wanted and not live:
        return True
    if isinstance(wanted, Mapping):
        is_map = isinstance(live, Mapping)
        return is_map and all(holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        is_list = isinstance(live, list) and len(live) == len(wanted)
        return is_list and all(map(holds, live, wanted))
    return bool(live == wanted) or is_same_amount(live, wanted)


def is_same_amount(live: object, wanted: object) -> bool:
    texts = str(live), str(wanted)
    amounts = (tuple(map(read, texts)) for read in (find_bytes, find_millicores))
    return any(one is not None and one == other for one, other in amounts)


def list_immutable_changes(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Reference]:
    """What can only be changed by deleting it first. A Job would not run again."""
    old = {read_reference(item): item for item in live}
    return sorted(
        reference
        for item in wanted
        if (reference := read_reference(item)) in old
        and (reference.kind == "Job" or differs(old[reference], item))
    )


def differs(live: Json, wanted: Manifest) -> bool:
    """Whether ``wanted`` says otherwise of what never changes; what it leaves out is as it is.

    Volume claims are told by their names: the cluster adds to what they say.
    """
    before, after = live.get("spec"), wanted.get("spec")
    if not before or not isinstance(after, dict):
        return False
    if wanted["kind"] == "Service":
        address = before.get("clusterIP")
        # A Service that was made without an address never gets one.
        return bool(after.get("clusterIP", address) != address or address == "None")
    if name_claims(before) != name_claims(after):
        return True
    keys = IMMUTABLE.get(str(wanted["kind"]), ())
    return any(before.get(key) != after.get(key) for key in keys)


def name_claims(specification: Json) -> list[str]:
    return [item["metadata"]["name"] for item in specification.get("volumeClaimTemplates") or ()]
