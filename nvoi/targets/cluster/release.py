"""The steps that put a release into the cluster.

Each stage begins once the one before it is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nvoi.errors import NvoiError, ServiceError, UsageError
from nvoi.k3s.drain import list_claims
from nvoi.kubernetes.adoption import build_turn, find_detached, find_turned
from nvoi.kubernetes.cluster import build_selector
from nvoi.kubernetes.ingress import keep_ways
from nvoi.kubernetes.names import NAME, STAMP, build_app_selector
from nvoi.kubernetes.ownership import (
    WORKLOADS,
    Manifest,
    get_label,
    is_unchanged,
    list_immutable_changes,
    read_reference,
)
from nvoi.kubernetes.placement import Move, list_moves
from nvoi.kubernetes.progress import count_settling, is_ready
from nvoi.kubernetes.releases import build_record, is_same, read_record
from nvoi.log.levels import get_logger
from nvoi.naming import build_database_name, build_workload_name
from nvoi.operation import Step
from nvoi.targets.cluster.adoption import find_all, refuse
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.room import settle_share
from nvoi.targets.cluster.state import State, choose_stamp, read_state
from nvoi.targets.cluster.undo import restore

log = get_logger("nvoi.cluster")

#: Seconds that a rollout may take, image pulls included. A database may have to recover first.
ROLLOUT_SECONDS = 600.0
DATABASE_SECONDS = 900.0
#: Seconds more than its own deadline that a Job is followed, so that it is the one to tell.
JOB_GRACE = 60.0


def load_state(context: ClusterContext) -> None:
    app = context.application.name
    context.state = read_state(context.cluster, app)
    for record in context.state.begun:
        log.info("Release %s was cut off before it served", record.stamp)
    if context.state.running:
        kept = len(context.state.records)
        log.info("Release %s runs; %d kept in all", context.state.running, kept)
    else:
        log.info("No release of %s runs yet", app)


def check_state(context: ClusterContext) -> None:
    """Look, refuse what is another's, and let what an earlier run left behind come to its end."""
    load_state(context)
    settle_share(context)
    stamp = choose_stamp(context.rollout.stamp, context.state.list_stamps())
    if stamp != context.rollout.stamp:
        log.info(
            "The new release is %s: another has a stamp as late as this machine's time",
            stamp,
        )
        context.rollout.stamp = stamp
    check_owners(context, context.manifests.all)
    check_data(context, context.manifests.kept)
    wait_for_jobs(context)


def check_owners(context: ClusterContext, manifests: Iterable[Manifest]) -> None:
    """See that nothing in the place of ``manifests`` is another's.

    Raises:
        NvoiError: something is.
    """
    wanted = {read_reference(item) for item in manifests}
    own = {read_reference(item) for item in context.state.objects}
    foreign = sorted(context.cluster.find_existing(wanted - own))
    if foreign and (made := find_all(context)):
        raise refuse(context, made)
    if foreign:
        names = ", ".join(map(str, foreign))
        raise NvoiError(
            f"the cluster has {names}, which nvoi did not make for {context.application.name}",
            hint="rename the app or its service, or delete them with kubectl",
        )


def check_data(context: ClusterContext, wanted: Iterable[Manifest]) -> None:
    """See that services find their data where they have it now.

    Raises:
        UsageError: one would not, and that was not accepted or cannot be.
    """
    facts = context.survey.facts
    lacking = {
        folder
        for server in context.survey.servers
        if server.name in facts
        for folder in server.volumes
        if folder not in facts[server.name].volumes
    }
    found = list_moves(context.state.objects, wanted, lacking)
    moves = [move for move in found if not is_renamed(context, move)]
    if context.request.accept_data_move and all(move.is_possible for move in moves):
        for move in moves:
            log.warning("%s; the old data stays where it is", move)
    elif moves:
        raise UsageError(
            "; ".join(map(str, moves)),
            hint="put that back as it was; --accept-data-move goes on without the data, which "
            "stays where it is",
        )


def is_renamed(context: ClusterContext, move: Move) -> bool:
    """Whether a disk stays on its server, whose group alone is called otherwise."""
    if move.is_possible or move.after is None:
        return False
    names = {one.name for one in context.survey.servers if one.group in move.after.groups}
    nodes = [node for name, node in context.survey.nodes.items() if name in names]
    return any(move.before.claim in list_claims(context.cluster, node) for node in nodes)


def wait_for_jobs(context: ClusterContext) -> None:
    """Wait until no ``pre_run_command`` of a run that was cut off is at work any more."""
    left = dict(context.state.list_unfinished_jobs())
    if not left:
        return
    log.info("A pre_run_command of an earlier run is still at work: %s", ", ".join(map(str, left)))
    own = build_app_selector(context.application.name)
    for job, seconds in left.items():
        try:
            context.cluster.follow([job], seconds, selector=own)
        except ServiceError as error:
            log.warning("It ended badly: %s", error)
    delete_waiting_jobs(context)


def delete_waiting_jobs(context: ClusterContext) -> None:
    """Delete those that have yet to begin: they would do so beside the new release's."""
    app = context.application.name
    jobs = context.cluster.get(["jobs"], selector=build_app_selector(app))
    waiting = State(app, tuple(one for one in jobs if not (one.get("status") or {}).get("ready")))
    context.cluster.delete(reference for reference, _ in waiting.list_unfinished_jobs())


def apply_secrets(context: ClusterContext) -> None:
    """Put the environments there. Their names hold what is in them: nothing running changes.

    With them the record of a release that has begun, by which the next run sees that this one
    was cut off, and what served before it.
    """
    secrets, logins = context.manifests.secrets, context.manifests.logins
    policies = keep_ways(context.state.objects, context.manifests.policies)
    needs = (*secrets, *logins, *policies)
    manifests = [item for item in needs if not is_there(context, item)]
    manifests.append(build_own_record(context, is_begun=True))
    context.rollout.applied += manifests
    context.cluster.apply(manifests)
    for item in secrets:
        log.info("%s: environment is there, in a Secret of its own", get_label(item, NAME))
    if logins:
        log.info("The logins of private images are there, in a Secret of their own")
    others = ", ".join(context.application.let_in)
    log.info("Reached by its own pods and the nodes%s", f", and by {others}" if others else "")


def is_there(context: ClusterContext, item: Manifest) -> bool:
    """Whether the cluster holds a manifest. An environment's name says what is in it."""
    live = context.state.find(read_reference(item))
    return is_unchanged(live, item) or (live is not None and item.get("immutable") is True)


def build_own_record(context: ClusterContext, *, is_begun: bool = False) -> Manifest:
    """The record of the new release. Where it runs the same as what serves, it stands for that."""
    manifests = context.manifests
    items = (*manifests.database, *manifests.services, *manifests.apps)

    def build(before: str | None) -> Manifest:
        return build_record(context.release, items, before=before, is_begun=is_begun)

    own = build(context.state.running)
    served = context.state.find_record(context.state.running)
    if is_begun or served is None or not is_same(read_record(own), served):
        return own
    return build(served.before)


def roll_out(context: ClusterContext, manifests: Sequence[Manifest], seconds: float) -> None:
    manifests = keep_ways(context.state.objects, manifests)
    changed = [item for item in manifests if not stays(context, item)]
    if changed:
        apply_changed(context, changed, seconds)
    context.rollout.ready |= {read_reference(item) for item in manifests}
    context.rollout.services += [
        live
        for item in manifests
        if item["kind"] == "Service" and item not in changed
        if (live := context.state.find(read_reference(item)))
    ]


def stays(context: ClusterContext, item: Manifest) -> bool:
    """Whether the cluster holds a manifest, and what it makes is ready: nothing has to be done.

    An app's own Deployments say which release runs: they are applied by each.
    """
    if item["kind"] not in WORKLOADS:
        return is_there(context, item)
    live = context.state.find(read_reference(item))
    follows_release = get_label(item, STAMP) is not None
    return live is not None and not follows_release and is_there(context, item) and is_ready(live)


def watch_unchanged(context: ClusterContext, manifests: Iterable[Manifest]) -> None:
    """Have no container end from now on of the workloads that stay as they are."""
    watched = context.rollout.watched
    same = [item for item in manifests if item["kind"] in WORKLOADS and stays(context, item)]
    new = [item for item in same if read_reference(item) not in watched]
    if new:
        context.cluster.note_pods(build_selector(new))
        watched.update(map(read_reference, new))


def apply_changed(context: ClusterContext, manifests: Sequence[Manifest], seconds: float) -> None:
    context.rollout.applied += manifests
    live = context.state.objects
    detached, adopted = find_detached(live, manifests), find_turned(live, manifests)
    if detached:
        context.cluster.delete(detached, orphans=True)
    found = context.cluster.roll_out(
        [item for item in manifests if item not in adopted],
        seconds=seconds + count_settling(manifests),
        delete_first=[
            one for one in list_immutable_changes(live, manifests) if one not in detached
        ],
    )
    for item in adopted:
        context.cluster.change(read_reference(item), build_turn(item))
    if adopted:
        found = (*found, *context.cluster.apply(adopted))
    named = {read_reference(item) for item in manifests if item["kind"] == "Service"}
    context.rollout.services += [item for item in found if read_reference(item) in named]


def roll_out_database(context: ClusterContext) -> None:
    database = context.manifests.database
    roll_out(context, database, DATABASE_SECONDS)
    if all(stays(context, item) for item in database if item["kind"] in WORKLOADS):
        # Those that may need it are looked at together with it.
        watch_unchanged(context, (*database, *context.manifests.services))
    else:
        # The release that serves until the new one does may have missed its database.
        context.cluster.free_crashing(build_app_selector(context.application.name))


def roll_out_services(context: ClusterContext) -> None:
    services = context.manifests.services
    roll_out(context, services, ROLLOUT_SECONDS)
    watch_unchanged(context, services)


def run_jobs(context: ClusterContext) -> None:
    for job in context.manifests.jobs:
        spec: Any = job["spec"]
        roll_out(context, [job], spec["activeDeadlineSeconds"] + JOB_GRACE)


def roll_out_apps(context: ClusterContext, apps: Sequence[Manifest]) -> None:
    context.rollout.apps = tuple(apps)
    roll_out(context, apps, ROLLOUT_SECONDS)


def keep_release(context: ClusterContext) -> None:
    context.cluster.apply([build_own_record(context)])
    # It serves and can be gone back to: nothing that comes now is a reason to take it back.
    context.rollout.is_kept = True
    context.rollout.applied.clear()
    context.survey.regrouped.clear()
    log.info("Release %s is kept", context.rollout.stamp)


def plan_secrets(context: ClusterContext) -> Iterator[str]:
    application = context.application
    names = [*application.app, *application.services, *(["database"] * bool(application.database))]
    yield f"puts the environment of each of {', '.join(names)} there as a Secret of its own"
    if context.manifests.logins:
        yield "puts the logins there with which the nodes pull its private images"
    yield "lets its own pods, the nodes and whom let_in names reach its pods, and nobody else"


def plan_database(context: ClusterContext) -> Iterator[str]:
    if context.manifests.database:
        name = build_database_name(context.application.name)
        yield f"applies {name}, and waits until it is ready"


def plan_jobs(context: ClusterContext) -> Iterator[str]:
    """The commands themselves are not shown: they may hold what is not for everyone."""
    for name, service in context.application.app.items():
        if service.pre_run_command:
            yield f"runs the pre_run_command of {name} in the new image"


def plan_workloads(context: ClusterContext, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"rolls out {build_workload_name(context.application.name, name)}"


STATE: Step[ClusterContext] = Step(
    name="State",
    run=check_state,
    plan=lambda _: [
        "reads what of the app is in the cluster, and which release runs",
        "refuses to go on where a service would not find the data that it has now",
    ],
)
SECRETS: Step[ClusterContext] = Step(
    name="Secrets",
    run=apply_secrets,
    plan=plan_secrets,
    # Of all that comes from here on: the cluster is put back in one go.
    undo=restore,
    undoes=lambda context: "the release" if context.rollout.applied else "",
)
DATABASE: Step[ClusterContext] = Step(name="Database", run=roll_out_database, plan=plan_database)
PRE_RUN: Step[ClusterContext] = Step(name="Pre-run commands", run=run_jobs, plan=plan_jobs)
SERVICES: Step[ClusterContext] = Step(
    name="Services",
    run=roll_out_services,
    plan=lambda context: plan_workloads(context, context.application.services),
)
APPS: Step[ClusterContext] = Step(
    name="App",
    run=lambda context: roll_out_apps(context, context.manifests.apps),
    plan=lambda context: plan_workloads(context, context.application.app),
)
RECORD: Step[ClusterContext] = Step(
    name="Release",
    run=keep_release,
    plan=lambda context: [f"keeps release {context.rollout.stamp} to go back to"],
)
