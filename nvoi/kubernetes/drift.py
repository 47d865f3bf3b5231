"""Whether an object is as its manifest says, or could never become so. Pure.

Two things tell whether it has to be applied again: a checksum of what was applied last, which sees
what a manifest no longer names, and the object itself, which shows what others have changed since.
Which deploy applied it, and for which release, count for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nvoi.config.fields import find_bytes, find_millicores
from nvoi.kubernetes.names import DEPLOY_ID, MANIFEST, STAMP, build_checksum
from nvoi.kubernetes.ownership import Json, Manifest, Reference, read_reference

DIGITS = 16
#: What differs from deploy to deploy.
PASSING = frozenset({DEPLOY_ID, STAMP, MANIFEST})
# What Kubernetes refuses to change (API reference, "Deployment" and "StatefulSet").
IMMUTABLE = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName"),
}


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
