"""The last step of a deploy: what nothing needs any more goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from nvoi.errors import LockError, NvoiError, RemoteError
from nvoi.images.cleanup import (
    build_image_deletion,
    find_expired_tags,
    remove_from_registry,
    remove_here,
)
from nvoi.k3s.nodes import find_groups
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.names import COMPONENT, DOMAIN
from nvoi.kubernetes.ownership import Manifest, Reference, find_obsolete, get_label, read_reference
from nvoi.kubernetes.placement import place_records
from nvoi.kubernetes.registry import ADDRESS, COLLECT_GARBAGE, LIMIT, NAME, SYSTEM_NAMESPACE
from nvoi.kubernetes.releases import ReleaseRecord, find_expired, read_record
from nvoi.log.levels import get_logger
from nvoi.operation import Step
from nvoi.parallel import work_on_all
from nvoi.providers import Server
from nvoi.ssh.host import as_root
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import build_own_record

log = get_logger("nvoi.cluster")


def clean(context: ClusterContext) -> None:
    """Remove what is left of before. The release serves: what cannot be removed is only told."""
    kept, expired = choose_kept(context)
    attempt("what the config no longer names", lambda: remove_unwanted(context, kept, expired))
    images, repository = list_images(kept, context.repository), context.repository
    tags = {tag for tag, _ in images}
    # Also of runs that failed, whose releases were never kept.
    if {tag for tag, _ in list_images(expired, repository)} - tags or find_expired_tags(
        context.image.tags, tags
    ):
        digests = {digest for _, digest in images}
        attempt("old images", lambda: remove_images(context, tags, digests))


def attempt(what: str, work: Callable[[], None]) -> None:
    """Do ``work``; where it fails, say so, and go on unless the lock is lost."""
    try:
        work()
    except LockError:
        raise
    except NvoiError as error:
        log.warning("Not removed: %s: %s", what, error)


def choose_kept(context: ClusterContext) -> tuple[list[ReleaseRecord], list[ReleaseRecord]]:
    """The releases that are kept, and those that go; one that only names a group anew is none."""
    own = read_record(build_own_record(context))
    records = [own, *(one for one in context.state.records if one.stamp != own.stamp)]
    groups = find_groups(context.application.name, context.survey.all_nodes)
    placed = place_records(records, context.manifests.kept, groups)
    expired = find_expired(placed, own.stamp, context.application.keep_count)
    stamps = {one.stamp for one in expired}
    kept = [one for one in records if one.stamp not in stamps]
    return kept, [one for one in records if one.stamp in stamps]


def list_images(records: Iterable[ReleaseRecord], repository: str) -> list[tuple[str, str]]:
    """The tag and the digest of each of the app's own images in ``records``."""
    prefix = f"{ADDRESS}/{repository}:"
    images = [image for record in records for image in record.images if image.startswith(prefix)]
    parts = [image.removeprefix(prefix).partition("@") for image in images]
    return [(tag, digest) for tag, _, digest in parts]


def remove_unwanted(
    context: ClusterContext, kept: Sequence[ReleaseRecord], expired: Sequence[ReleaseRecord]
) -> None:
    """Remove the app's objects that are not in this release or a kept one. Data stays."""
    # What led to names that are gone is removed by a step of its own.
    routes = [dict(one) for one in context.state.objects if get_label(one, COMPONENT) == DOMAIN]
    manifests = context.manifests
    wanted = [*manifests.kept, *manifests.jobs, *context.rollout.routes, *routes]
    own = read_reference(build_own_record(context))
    begun = [one for one in context.state.begun if one.reference != own]
    remove_obsolete(context, wanted, kept, [*expired, *begun])


def remove_obsolete(
    context: ClusterContext,
    wanted: Iterable[Manifest],
    kept: Iterable[ReleaseRecord],
    gone: Iterable[ReleaseRecord],
) -> None:
    """Remove what is neither wanted nor of a kept release, and the records in ``gone``."""
    state, manifests = context.state, [item for record in kept for item in record.apps]
    obsolete = find_obsolete(state.app, state.objects, wanted, manifests)
    remove_objects(context, [*obsolete, *(one.reference for one in gone)], wait=False)


def remove_objects(
    context: ClusterContext, references: Sequence[Reference], *, wait: bool = True
) -> None:
    """Remove objects, and say so; Secrets, records and Jobs are many and say little."""
    if references:
        context.cluster.delete(references, wait=wait)
    for reference in references:
        level = log.debug if reference.kind in {"Secret", "Job"} else log.info
        level("Removed %s", reference)


def remove_images(context: ClusterContext, tags: set[str], digests: set[str]) -> None:
    if clean_registry(context, tags):
        clean_nodes(context, context.survey.servers, tags | digests)
    if context.image.engine is not None:
        remove_here(context.image.engine, context.repository, tags, context.request.environ)


def clean_registry(context: ClusterContext, kept: Collection[str]) -> bool:
    """Remove the app's images but those ``kept`` from the registry; whether there were any."""
    with context.open_registry() as registry:
        removed = remove_from_registry(registry, context.repository, kept)
    if removed:
        # What another run pushes meanwhile would be taken for garbage.
        context.check_lock()
        collect_garbage(context.cluster)
    return bool(removed)


def collect_garbage(cluster: Cluster) -> None:
    run = partial(cluster.execute, f"deployment/{NAME}", namespace=SYSTEM_NAMESPACE, check=True)
    try:
        run((*LIMIT, *COLLECT_GARBAGE))
    except RemoteError as error:
        # The config names the registry's image, which may lack that program; runc says so.
        if not any("executable file not found" in line for line in error.output):
            raise
        run(COLLECT_GARBAGE)


def clean_nodes(context: ClusterContext, servers: Iterable[Server], kept: Collection[str]) -> None:
    command = build_image_deletion(ADDRESS, context.repository, kept)
    work_on_all(
        [server.host for server in servers],
        lambda host: context.connections.run(host, as_root(host, command)),
    )


def plan(context: ClusterContext) -> Iterator[str]:
    keep = context.application.keep_count
    yield "removes what the app had and the config no longer names; data stays"
    yield f"removes releases and images but the last {keep} and the one that runs"


CLEAN: Step[ClusterContext] = Step(name="Clean-up", run=clean, plan=plan)
