"""How a release is taken back: the cluster holds what it held, as that was last ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nvoi.errors import NvoiError
from nvoi.k3s.nodes import find_groups, list_nodes
from nvoi.kubernetes.ingress import keep_ways
from nvoi.kubernetes.names import COMPONENT, INSTANCE, LOGINS
from nvoi.kubernetes.ownership import (
    WORKLOADS,
    Json,
    Manifest,
    Reference,
    get_label,
    is_adopted,
    read_reference,
    read_template,
)
from nvoi.kubernetes.placement import place
from nvoi.kubernetes.progress import is_ready
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, Rollout
from nvoi.targets.cluster.departures import keep_servers
from nvoi.targets.cluster.state import State

log = get_logger("nvoi.cluster")

#: What the cluster itself writes into an object.
WRITTEN = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
#: What of ``spec`` is not put back: the addresses that the cluster chose for a Service and keeps by
#: itself, and ``paused``, as no pod of a paused Deployment would come back.
LEFT_OUT = frozenset({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "paused"})
REVISION = "deployment.kubernetes.io/revision"


def restore(context: ClusterContext) -> None:
    """Apply what was there before, delete what was not, and wait until the old release serves."""
    try:
        keep_servers(context)
    finally:
        # Also where a server does not take pods again: the others do.
        put_back(context)


def put_back(context: ClusterContext) -> None:
    if not context.rollout.applied:
        return
    if context.state.has_adopted:
        log.info("Putting back what the gem has made")
    elif context.state.running is None:
        log.info("No release has served before this one: removing what was made of it")
    else:
        log.info("Putting release %s back", context.state.running)
    mended = find_mended(context.state, context.rollout)
    if mended:
        log.info("Stays, as it was down before this run: %s", ", ".join(sorted(mended)))
    applied = [item for item in context.rollout.applied if get_label(item, INSTANCE) not in mended]
    before, created = find_changes(context.state, applied)
    jobs = {reference for reference in created if reference.kind == "Job"}
    try:
        before = {
            read_reference(item): item
            # Visitors may come by more than its record has: it was gone back to.
            for item in keep_ways(context.state.objects, place_again(context, before).values())
        }
        unready = find_unready(context.state, before)
        context.cluster.restore(before.values(), sorted(created - jobs), unready=unready)
        context.rollout.is_restored = True
    except NvoiError:
        log.warning("The cluster may hold parts of both releases; a deploy or rollback mends that")
        raise
    finally:
        # Until their pods are gone: the next run's must not be at work beside them.
        context.cluster.delete(sorted(jobs))


def place_again(
    context: ClusterContext, before: Mapping[Reference, Manifest]
) -> dict[Reference, Manifest]:
    """What there was, where there are servers for it: a run that was cut off has moved these."""
    if not WORKLOADS & {reference.kind for reference in before}:
        return {**before}
    groups = find_groups(context.application.name, list_nodes(context.cluster))
    placed = place(before.values(), context.manifests.kept, groups)
    return {read_reference(item): item for item in placed}


def find_changes(
    state: State, applied: Iterable[Manifest]
) -> tuple[dict[Reference, Manifest], set[Reference]]:
    """What of ``applied`` was there before, as it was, and what was not.

    A run that was cut off may have left a mixture; the record has what served last, and all
    else of the app's own services was made since. Where no release has served yet, all was, but
    for what the gem has made. What they need, such as the database, follows no releases: it
    comes back as it was last ready.
    """
    record = state.find_record(state.running)
    recorded = {read_reference(item): item for item in record.apps} if record else {}
    before: dict[Reference, Manifest] = {}
    created: set[Reference] = set()
    for item in applied:
        reference = read_reference(item)
        live = state.find(reference)
        if live is not None and is_adopted(live):
            before[reference] = build_manifest(live)
        elif live is None or state.running is None:
            created.add(reference)
        elif reference.kind == "Job" or (
            reference.kind == "Secret" and get_label(item, COMPONENT) != LOGINS
        ):
            # An environment of this name is the same, and a Job of this name has run; the logins
            # change in their place.
            continue
        elif reference in recorded:
            before[reference] = recorded[reference]
        elif record is not None and get_label(item, COMPONENT) == "app":
            created.add(reference)
        else:
            before[reference] = find_last_ready(state, live) or build_manifest(live)
    return before, created


def find_mended(state: State, rollout: Rollout) -> set[str]:
    """What a release that serves needs, was down before this run, and is up: it stays as it is."""
    return {
        str(get_label(item, INSTANCE))
        for item in rollout.applied
        if state.running is not None and read_reference(item) in rollout.ready
        if get_label(item, COMPONENT) != "app" and item["kind"] in WORKLOADS
        if (live := state.find(read_reference(item)))
        if not is_ready(live)
        if read_template(find_last_ready(state, live) or live) == read_template(live)
    }


def find_last_ready(state: State, live: Json) -> Manifest | None:
    """What the last deploy that succeeded had in the place of what is not ready; else None."""
    name = get_label(live, INSTANCE)
    workloads = [one for one in state.objects if one["kind"] in WORKLOADS]
    if any(get_label(one, INSTANCE) == name and is_ready(one) for one in workloads):
        return None
    kept = [item for record in state.served[:1] for item in record.manifests]
    return next((one for one in kept if read_reference(one) == read_reference(live)), None)


def find_unready(state: State, before: Mapping[Reference, Manifest]) -> set[Reference]:
    """What of ``before`` was not ready when the run began, and is just the same again."""
    return {
        reference
        for reference, item in before.items()
        if reference.kind in WORKLOADS
        if (live := state.find(reference)) and not is_ready(live)
        if read_template(live) == read_template(item)
    }


def build_manifest(item: Json) -> Manifest:
    """An object of the cluster as a manifest: without what the cluster writes itself."""
    metadata = item["metadata"]
    kept = {key: value for key, value in metadata.items() if key not in WRITTEN}
    annotations = metadata.get("annotations") or {}
    kept["annotations"] = {key: text for key, text in annotations.items() if key != REVISION}
    manifest = {key: value for key, value in item.items() if key != "status"} | {"metadata": kept}
    if "spec" in item:
        manifest["spec"] = {key: one for key, one in item["spec"].items() if key not in LEFT_OUT}
    return manifest
