"""The steps of going back to a kept release."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.errors import NvoiError, UsageError
from nvoi.kubernetes.names import COMPONENT
from nvoi.kubernetes.ownership import Reference, find_obsolete, find_secret_names, is_owned
from nvoi.kubernetes.releases import Record, find_before, list_stamps
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.cleaning import attempt, tell_removed
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.state import find_live, read_state
from nvoi.targets.cluster.undoing import undo
from nvoi.targets.cluster.workloads import ROLLOUT_SECONDS, roll_out
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")


def choose(context: ClusterContext) -> Record:
    """The release to go back to.

    Raises:
        UsageError: there is none, or not the one that was named, or it runs already.
        NvoiError: what it needs is no longer there.
    """
    stamp = context.request.stamp
    record = find_record(context, stamp)
    if record is None:
        kept = ", ".join(one.stamp for one in context.records) or "none"
        what = f"release {stamp}" if stamp else "no release before the one that runs"
        raise UsageError(
            f"{what} is kept" if not stamp else f"{what} is not kept", hint=f"kept: {kept}"
        )
    if list_stamps(context.application.name, context.live) == {record.stamp}:
        raise UsageError(f"release {record.stamp} runs already", hint="name another one")
    for item in record.manifests:
        for name in find_secret_names(item):
            if find_live(context, Reference("Secret", name)) is None:
                raise NvoiError(
                    f"the settings of release {record.stamp} are gone: secret/{name}",
                    hint="check its commit out and deploy it",
                )
    return record


def find_record(context: ClusterContext, stamp: str | None) -> Record | None:
    """The record of ``stamp``; where that is None, of the release before the running one.

    Where a newer one was cut off, the one that served before that is gone back to.
    """
    kept = {record.stamp: record for record in context.records}
    if stamp is not None or context.running is None:
        return kept.get(stamp or "")
    newest = max(list_stamps(context.application.name, context.live), default=context.running)
    if newest != context.running:
        return kept.get(context.running)
    return find_before(context.records, context.running)


def run(context: ClusterContext) -> None:
    """Roll the app's own services out as they were in the release."""
    read_state(context)
    record = choose(context)
    log.info("Going back from %s to %s", context.running or "nothing", record.stamp)
    context.serving = record.manifests
    roll_out(context, record.manifests, ROLLOUT_SECONDS)


def remove_newer(context: ClusterContext) -> None:
    """Remove the app's own services that the release did not have. It serves by now."""
    context.applied.clear()
    attempt("what the release did not have", lambda: remove_services(context))


def remove_services(context: ClusterContext) -> None:
    """Remove the app's own services that the release did not have."""
    app = context.application.name
    others = [
        dict(item)
        for item in context.live
        if is_owned(item, app) and item["metadata"]["labels"].get(COMPONENT) != "app"
    ]
    kept = [item for record in context.records for item in record.manifests]
    obsolete = find_obsolete(app, context.live, [*context.serving, *others], kept)
    gone = [*obsolete, *(one.reference for one in context.begun)]
    context.cluster.delete(gone, wait=False)
    tell_removed(gone)


def plan(context: ClusterContext) -> Iterator[str]:
    """Which release it would be."""
    yield f"rolls out {context.request.stamp or 'the release before the one that runs'}"


def find(context: ClusterContext) -> None:
    """Find the master; nothing is changed on any server."""
    context.servers = context.provider.list_servers(context.application)


FIND: Step[ClusterContext] = Step(
    name="Servers",
    run=find,
    plan=lambda context: context.provider.describe(context.application),
)
GO_BACK: Step[ClusterContext] = Step(
    name="Release", run=run, plan=plan, undo=undo, undoes="the rollback"
)
REMOVE_NEWER: Step[ClusterContext] = Step(
    name="Clean-up",
    run=remove_newer,
    plan=lambda _: ["removes services that the release did not have"],
)
