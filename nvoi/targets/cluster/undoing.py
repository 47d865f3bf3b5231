"""Putting the cluster back to what it was before the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.kubernetes.workload import Manifest
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.cluster.state import find_live

#: What the cluster itself writes into an object.
WRITTEN = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
#: What the cluster chooses for a Service, and keeps where a manifest says nothing of it.
CHOSEN = frozenset({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
REVISION = "deployment.kubernetes.io/revision"


def undo(context: ClusterContext) -> None:
    """Apply what was there before, delete what was not, and wait until the old release serves."""
    if not context.applied:
        return
    before = list(find_before(context))
    there = {read_reference(item) for item in context.live}
    created = {read_reference(item) for item in context.applied} - there
    context.cluster.restore(before, sorted(created))


def find_before(context: ClusterContext) -> Iterator[Manifest]:
    """What the run has changed, as it was: of the running release's record, else as it was seen.

    A run that was cut off may have left a mixture; the record has what served last.
    """
    recorded: dict[Reference, Manifest] = {
        read_reference(item): item
        for record in context.records
        if record.stamp == context.running
        for item in record.manifests
    }
    seen: set[Reference] = set()
    for item in context.applied:
        reference = read_reference(item)
        live = find_live(context, reference)
        # A Secret of this name is the same, and a Job of this name has run.
        if live is None or reference in seen or reference.kind in {"Secret", "Job"}:
            continue
        seen.add(reference)
        yield recorded.get(reference) or strip(live)


def strip(item: Json) -> Manifest:
    """An object of the cluster as a manifest: without what the cluster writes itself."""
    metadata: Mapping[str, Any] = item["metadata"]
    kept: dict[str, Any] = {key: value for key, value in metadata.items() if key not in WRITTEN}
    annotations = metadata.get("annotations") or {}
    kept["annotations"] = {key: text for key, text in annotations.items() if key != REVISION}
    manifest = {key: value for key, value in item.items() if key != "status"} | {"metadata": kept}
    if item["kind"] == "Service":
        spec = item.get("spec") or {}
        manifest["spec"] = {key: value for key, value in spec.items() if key not in CHOSEN}
    return manifest
