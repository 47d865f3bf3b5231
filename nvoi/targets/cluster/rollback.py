"""Kept releases: which there are, and the steps of going back to one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from nvoi.errors import NvoiError, UsageError
from nvoi.k3s.nodes import find_groups, list_nodes
from nvoi.kubernetes.names import COMPONENT, DOMAIN, NAME
from nvoi.kubernetes.ownership import (
    Json,
    Manifest,
    Reference,
    find_secret_names,
    get_label,
    is_owned,
    read_reference,
)
from nvoi.kubernetes.placement import check_placement, is_lost, list_held_groups, place_records
from nvoi.kubernetes.releases import ReleaseRecord, find_previous, list_stamps
from nvoi.log.levels import get_logger
from nvoi.operation import KeptRelease, Request, Step
from nvoi.targets.cluster.cleanup import attempt, remove_obsolete
from nvoi.targets.cluster.context import ClusterContext, open_context
from nvoi.targets.cluster.departures import free_servers
from nvoi.targets.cluster.pull import pull_all
from nvoi.targets.cluster.release import check_data, load_state, roll_out_apps
from nvoi.targets.cluster.state import State, read_objects
from nvoi.targets.cluster.undo import restore

log = get_logger("nvoi.cluster")


def list_releases(request: Request) -> list[KeptRelease]:
    """The releases of the app, the newest first. Changes nothing, and needs no lock.

    Raises:
        NvoiError: the cluster cannot be asked.
    """
    app = request.config.application.name
    with open_context(request) as context:
        context.list_servers()
        state = State(app, read_objects(context.cluster, app, ["deployments"]))
    return [
        KeptRelease(one.stamp, one.deploy_id, one.images, is_running=one.stamp == state.running)
        for one in state.records
    ]


def go_back(context: ClusterContext) -> None:
    load_state(context)
    state, wanted = context.state, context.manifests.kept
    groups = find_groups(context.application.name, list_nodes(context.cluster))
    placed = place_records(state.records, wanted, groups)
    record = choose_release(state, placed, context.request.stamp)
    check_placement(state.find_record(record.stamp) or record, record, groups)
    warn_of_lost(context.state, groups)
    log.info("Going back from %s to %s", context.state.running or "nothing", record.stamp)
    check_data(context, record.apps)
    pull_all(context, context.state.objects, record.apps, context.survey.servers)
    # A run that was cut off has left them without new pods, and the release may need them.
    free_servers(context)
    context.rollout.stamp = record.stamp
    roll_out_apps(context, record.apps)


def warn_of_lost(state: State, groups: Collection[str]) -> None:
    """Tell what the release needs that no server could take again, once its pod is gone."""
    others = (item for item in state.objects if get_label(item, COMPONENT) != "app")
    for item in others:
        if is_owned(item, state.app) and is_lost({**item}, groups):
            log.warning(
                "%s runs, and no server is in %s any more: deploy before its pod has to move",
                read_reference(item),
                " or ".join(list_held_groups({**item})),
            )


def choose_release(
    state: State, records: Sequence[ReleaseRecord], stamp: str | None
) -> ReleaseRecord:
    """The one of ``records`` to go back to.

    Raises:
        UsageError: there is none, or not the one that was named, or it runs already.
        NvoiError: what it needs is no longer there.
    """
    record = find_release(state, records, stamp)
    if record is None:
        kept = ", ".join(one.stamp for one in records) or "none"
        what = f"release {stamp} is not kept"
        if stamp is None:
            what = "no release that differs from the one that runs is kept from before it"
        raise UsageError(what, hint=f"kept: {kept}")
    if list_stamps(state.app, state.objects) == {record.stamp}:
        raise UsageError(f"release {record.stamp} runs already", hint="name another one")
    if lost := list_lost(state, record):
        raise NvoiError(
            f"visitors are led to {', '.join(lost)}, which release {record.stamp} does not have",
            hint="check its commit out and deploy it, which leads them back too",
        )
    for item in record.apps:
        for name in find_secret_names(item):
            if state.find(Reference("Secret", name)) is None:
                raise NvoiError(
                    f"the settings of release {record.stamp} are gone: secret/{name}",
                    hint="check its commit out and deploy it",
                )
    return record


def list_lost(state: State, record: ReleaseRecord) -> list[str]:
    """The app's own services that visitors are led to, and that the release does not have."""
    own = [item for item in state.objects if is_owned(item, state.app)]

    def list_names(items: Iterable[Json | Manifest], component: str) -> set[str]:
        found = (item for item in items if get_label(item, COMPONENT) == component)
        return {get_label(item, NAME) or "" for item in found}

    led = list_names(own, DOMAIN) & list_names(own, "app")
    return sorted(led - list_names(record.apps, "app"))


def find_release(
    state: State, records: Sequence[ReleaseRecord], stamp: str | None
) -> ReleaseRecord | None:
    """The record of ``stamp``; where that is None, of the release before the running one.

    Where a newer one was cut off, the one that served before that is gone back to.
    """
    if stamp is None and state.running is not None:
        newest = max(list_stamps(state.app, state.objects), default=state.running)
        if newest == state.running:
            return find_previous(records, state.running)
        stamp = state.running
    return next((record for record in records if record.stamp == stamp), None)


def remove_newer(context: ClusterContext) -> None:
    """Remove the app's own services that the release did not have. It serves by now."""
    context.rollout.is_kept = True
    context.rollout.applied.clear()
    attempt("what the release did not have", lambda: remove_services(context))


def remove_services(context: ClusterContext) -> None:
    state = context.state
    own = [dict(item) for item in state.objects if is_owned(item, state.app)]
    others = [item for item in own if get_label(item, COMPONENT) != "app"]
    remove_obsolete(context, [*context.rollout.apps, *others], state.records, state.begun)


def plan_servers(context: ClusterContext) -> Iterator[str]:
    if context.provider.is_rented:
        yield "finds the servers that there are"
    else:
        yield from context.provider.describe()


FIND: Step[ClusterContext] = Step(
    name="Servers", run=ClusterContext.list_servers, plan=plan_servers
)
GO_BACK: Step[ClusterContext] = Step(
    name="Release",
    run=go_back,
    plan=lambda context: [
        f"rolls out {context.request.stamp or 'the release before the one that runs'}"
    ],
    undo=restore,
    undoes=lambda context: "the rollback" if context.rollout.applied else "",
)
REMOVE_NEWER: Step[ClusterContext] = Step(
    name="Clean-up",
    run=remove_newer,
    plan=lambda _: ["removes services that the release did not have"],
)
