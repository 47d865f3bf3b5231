"""The last steps: the release's record, and the removal of what nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from nvoi.errors import NvoiError
from nvoi.images.cleanup import (
    build_node_removal,
    find_expired_tags,
    remove_from_registry,
    remove_here,
)
from nvoi.kubernetes.commands import build_collect_garbage
from nvoi.kubernetes.ownership import Reference, find_obsolete, read_reference
from nvoi.kubernetes.records import Record, find_expired, read_record
from nvoi.kubernetes.registry import ADDRESS
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.image import reach_registry
from nvoi.targets.cluster.releases import list_digests, list_tags
from nvoi.targets.cluster.workloads import build_own_record
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")


def record(context: ClusterContext) -> None:
    """Keep how the release was rolled out, to go back to it."""
    context.cluster.apply([build_own_record(context)])
    # It serves and can be gone back to: nothing that comes now is a reason to take it back.
    context.applied.clear()
    log.info("Release %s is kept", context.stamp)


def choose_kept(context: ClusterContext) -> tuple[list[Record], list[Record]]:
    """The releases that are kept from now on, and those that are not."""
    own = read_record(build_own_record(context))
    records = [own, *(one for one in context.records if one.stamp != own.stamp)]
    expired = find_expired(records, own.stamp, context.application.keep_count)
    return [one for one in records if one not in expired], expired


def clean(context: ClusterContext) -> None:
    """Remove what is left of before. The release serves: what cannot be removed is only told."""
    kept, expired = choose_kept(context)
    attempt("what the config no longer names", lambda: remove_objects(context, kept, expired))
    tags = list_tags(kept, context.repository)
    # Also of runs that failed, whose releases were never kept.
    if list_tags(expired, context.repository) - tags or find_expired_tags(context.tags, tags):
        digests = list_digests(kept, context.repository)
        attempt("old images", lambda: remove_images(context, tags, digests))


def attempt(what: str, work: Callable[[], None]) -> None:
    """Do ``work``; where it fails, say so and go on."""
    try:
        work()
    except NvoiError as error:
        log.warning("Not removed: %s: %s", what, error)


def remove_objects(
    context: ClusterContext, kept: Sequence[Record], expired: Sequence[Record]
) -> None:
    """Remove the app's objects that are not in this release or a kept one. Data stays."""
    wanted = [*context.manifests.kept, *context.manifests.jobs]
    manifests = [item for one in kept for item in one.manifests]
    obsolete = find_obsolete(context.application.name, context.live, wanted, manifests)
    own = build_own_record(context)
    begun = [one.reference for one in context.begun if one.reference != read_reference(own)]
    gone = [*obsolete, *(one.reference for one in expired), *begun]
    if gone:
        context.cluster.delete(gone, wait=False)
    tell_removed(gone)


def tell_removed(references: Iterable[Reference]) -> None:
    """Log what is gone; Secrets, records and Jobs are many and say little."""
    for reference in references:
        level = log.debug if reference.kind in {"Secret", "Job"} else log.info
        level("Removed %s", reference)


def remove_images(context: ClusterContext, tags: set[str], digests: set[str]) -> None:
    """Remove the app's images that no kept release runs, wherever they are."""
    if clean_registry(context, tags):
        clean_nodes(context, context.servers, tags | digests)
    if context.engine is not None:
        remove_here(context.engine, context.repository, tags, context.request.environ)


def clean_registry(context: ClusterContext, kept: Collection[str]) -> bool:
    """Remove the app's images but those ``kept`` from the registry; whether there were any."""
    with reach_registry(context) as registry:
        removed = remove_from_registry(registry, context.repository, kept)
    if removed:
        context.cluster.run(build_collect_garbage())
    return bool(removed)


def clean_nodes(context: ClusterContext, servers: Iterable[Server], kept: Collection[str]) -> None:
    """Remove the app's images but those ``kept`` from all ``servers`` at once."""
    command = build_node_removal(ADDRESS, context.repository, kept)
    work_on_all(
        [server.host for server in servers],
        lambda host: context.connections.run(host, as_root(host, command)),
    )


def plan_cleaning(context: ClusterContext) -> Iterator[str]:
    """What would be removed."""
    keep = context.application.keep_count
    yield "removes what the app had and the config no longer names; data stays"
    yield f"removes releases and images but the last {keep} and the one that runs"


RECORD: Step[ClusterContext] = Step(
    name="Release",
    run=record,
    plan=lambda context: [f"keeps release {context.stamp} to go back to"],
)
CLEAN: Step[ClusterContext] = Step(name="Clean-up", run=clean, plan=plan_cleaning)
