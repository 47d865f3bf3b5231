"""Putting the cluster back to what it was before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvoi.errors import NvoiError
from nvoi.kubernetes.names import COMPONENT
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.kubernetes.releases import Record
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.cluster.state import find_live

log = get_logger("nvoi.cluster")

APP = "app"

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
        log.info("There is nothing to take back")
        return
    if context.running is None:
        log.info("No release has served before this one: removing what was made of it")
    else:
        log.info("Putting release %s back", context.running)
    before, created = sort(context)
    jobs = {reference for reference in created if reference.kind == "Job"}
    try:
        context.cluster.restore(before.values(), sorted(created - jobs))
    except NvoiError:
        log.warning("The cluster may hold parts of both releases; a deploy or rollback mends that")
        raise
    finally:
        # Until their pods are gone: the next run's must not be at work beside them.
        context.cluster.delete(sorted(jobs))


def sort(context: ClusterContext) -> tuple[dict[Reference, Manifest], set[Reference]]:
    """What the run has changed, as it was, and what it has made.

    A run that was cut off may have left a mixture; the record has what served last, and all
    else of the app's own services was made since. Where no release has served yet, all was.
    """
    record = find_record(context)
    recorded = {read_reference(item): item for item in record.manifests} if record else {}
    before: dict[Reference, Manifest] = {}
    created: set[Reference] = set()
    for item in context.applied:
        reference = read_reference(item)
        live = find_live(context, reference)
        if live is None or context.running is None:
            created.add(reference)
        elif reference.kind in {"Secret", "Job"}:
            # A Secret of this name is the same, and a Job of this name has run.
            continue
        elif reference in recorded:
            before[reference] = recorded[reference]
        elif record is not None and read_component(item) == APP:
            created.add(reference)
        else:
            before[reference] = strip(live)
    return before, created


def find_record(context: ClusterContext) -> Record | None:
    """The record of the release that served when the run began."""
    return next((one for one in context.records if one.stamp == context.running), None)


def read_component(item: Manifest) -> str:
    """What kind of part of the app an object is."""
    metadata: Any = item["metadata"]
    return str(metadata["labels"][COMPONENT])


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
