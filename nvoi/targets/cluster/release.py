"""The steps that put a release into the cluster, and how it is taken back.

Each stage begins once the one before it is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nvoi.errors import NvoiError, ServiceError
from nvoi.kubernetes.names import COMPONENT, NAME
from nvoi.kubernetes.ownership import Reference, find_fixed, read_reference
from nvoi.kubernetes.releases import build_record
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.naming import build_database_name, build_workload_name
from nvoi.operation import Step
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.state import Json, State, choose_stamp, read_state

log = get_logger("nvoi.cluster")

#: Seconds that a rollout may take, image pulls included. A database may have to recover first.
ROLLOUT_SECONDS = 600.0
DATABASE_SECONDS = 900.0
#: Seconds more than its own deadline that a Job is followed, so that it is the one to tell.
JOB_GRACE = 60.0
#: What the cluster itself writes into an object.
WRITTEN = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
#: What the cluster chooses for a Service, and keeps where a manifest says nothing of it.
CHOSEN = frozenset({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
REVISION = "deployment.kubernetes.io/revision"


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
    stamp = choose_stamp(context.rollout.stamp, context.state.list_stamps())
    if stamp != context.rollout.stamp:
        log.info(
            "The new release is %s: another has a stamp as late as this machine's time",
            stamp,
        )
        context.rollout.stamp = stamp
    wanted = {read_reference(item) for item in context.manifests.all}
    own = {read_reference(item) for item in context.state.objects}
    foreign = sorted(context.cluster.find_existing(wanted - own))
    if foreign:
        names = ", ".join(map(str, foreign))
        raise NvoiError(
            f"the cluster has {names}, which nvoi did not make for {context.application.name}",
            hint="rename the app or its service, or delete them with kubectl",
        )
    wait_for_jobs(context)


def wait_for_jobs(context: ClusterContext) -> None:
    """Wait until no ``pre_run_command`` of a run that was cut off is at work any more."""
    left = dict(context.state.list_unfinished_jobs())
    if not left:
        return
    log.info("A pre_run_command of an earlier run is still at work: %s", ", ".join(map(str, left)))
    try:
        context.cluster.follow([*left], seconds=max(left.values()))
    except ServiceError as error:
        log.warning("It ended badly: %s", error)


def apply_secrets(context: ClusterContext) -> None:
    """Put the environments there. Their names hold what is in them: nothing running changes.

    With them the record of a release that has begun, by which the next run sees that this one
    was cut off, and what served before it.
    """
    secrets = context.manifests.secrets
    policies = context.manifests.policies
    manifests = [*secrets, *policies, build_own_record(context, is_begun=True)]
    context.rollout.applied += manifests
    context.cluster.apply(manifests)
    for item in secrets:
        log.info("%s: environment is there, in a Secret of its own", read_label(item, NAME))
    others = ", ".join(context.application.let_in)
    log.info("Reached by its own pods and the nodes%s", f", and by {others}" if others else "")


def build_own_record(context: ClusterContext, *, is_begun: bool = False) -> Manifest:
    return build_record(
        context.release, context.manifests.apps, before=context.state.running, is_begun=is_begun
    )


def read_label(item: Manifest, label: str) -> str:
    metadata: Any = item["metadata"]
    return str(metadata["labels"][label])


def roll_out(context: ClusterContext, manifests: Sequence[Manifest], seconds: float) -> None:
    if not manifests:
        log.info("The config names none")
        return
    context.rollout.applied += manifests
    found = context.cluster.roll_out(
        manifests, seconds=seconds, delete_first=find_fixed(context.state.objects, manifests)
    )
    named = {read_reference(item) for item in manifests if item["kind"] == "Service"}
    context.rollout.services += [item for item in found if read_reference(item) in named]


def run_jobs(context: ClusterContext) -> None:
    jobs = context.manifests.jobs
    if not jobs:
        log.info("The config names none")
    for job in jobs:
        spec: Any = job["spec"]
        roll_out(context, [job], spec["activeDeadlineSeconds"] + JOB_GRACE)


def roll_out_apps(context: ClusterContext, apps: Sequence[Manifest]) -> None:
    context.rollout.apps = tuple(apps)
    roll_out(context, apps, ROLLOUT_SECONDS)


def keep_release(context: ClusterContext) -> None:
    context.cluster.apply([build_own_record(context)])
    # It serves and can be gone back to: nothing that comes now is a reason to take it back.
    context.rollout.applied.clear()
    log.info("Release %s is kept", context.rollout.stamp)


def restore(context: ClusterContext) -> None:
    """Apply what was there before, delete what was not, and wait until the old release serves."""
    if not context.rollout.applied:
        log.info("There is nothing to take back")
        return
    if context.state.running is None:
        log.info("No release has served before this one: removing what was made of it")
    else:
        log.info("Putting release %s back", context.state.running)
    before, created = find_changes(context.state, context.rollout.applied)
    jobs = {reference for reference in created if reference.kind == "Job"}
    try:
        context.cluster.restore(before.values(), sorted(created - jobs))
    except NvoiError:
        log.warning("The cluster may hold parts of both releases; a deploy or rollback mends that")
        raise
    finally:
        # Until their pods are gone: the next run's must not be at work beside them.
        context.cluster.delete(sorted(jobs))


def find_changes(
    state: State, applied: Iterable[Manifest]
) -> tuple[dict[Reference, Manifest], set[Reference]]:
    """What of ``applied`` was there before, as it was, and what was not.

    A run that was cut off may have left a mixture; the record has what served last, and all
    else of the app's own services was made since. Where no release has served yet, all was.
    """
    record = state.find_record(state.running)
    recorded = {read_reference(item): item for item in record.manifests} if record else {}
    before: dict[Reference, Manifest] = {}
    created: set[Reference] = set()
    for item in applied:
        reference = read_reference(item)
        live = state.find(reference)
        if live is None or state.running is None:
            created.add(reference)
        elif reference.kind in {"Secret", "Job"}:
            # A Secret of this name is the same, and a Job of this name has run.
            continue
        elif reference in recorded:
            before[reference] = recorded[reference]
        elif record is not None and read_label(item, COMPONENT) == "app":
            created.add(reference)
        else:
            before[reference] = build_manifest(live)
    return before, created


def build_manifest(item: Json) -> Manifest:
    """An object of the cluster as a manifest: without what the cluster writes itself."""
    metadata = item["metadata"]
    kept = {key: value for key, value in metadata.items() if key not in WRITTEN}
    annotations = metadata.get("annotations") or {}
    kept["annotations"] = {key: text for key, text in annotations.items() if key != REVISION}
    manifest = {key: value for key, value in item.items() if key != "status"} | {"metadata": kept}
    if item["kind"] == "Service":
        spec = item.get("spec") or {}
        manifest["spec"] = {key: value for key, value in spec.items() if key not in CHOSEN}
    return manifest


def plan_secrets(context: ClusterContext) -> Iterator[str]:
    application = context.application
    names = [*application.app, *application.services, *(["database"] * bool(application.database))]
    yield f"puts the environment of each of {', '.join(names)} there as a Secret of its own"
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
    plan=lambda _: ["reads what of the app is in the cluster, and which release runs"],
)
SECRETS: Step[ClusterContext] = Step(
    name="Secrets",
    run=apply_secrets,
    plan=plan_secrets,
    # Of all that comes from here on: the cluster is put back in one go.
    undo=restore,
    undoes="the release",
)
DATABASE: Step[ClusterContext] = Step(
    name="Database",
    run=lambda context: roll_out(context, context.manifests.database, DATABASE_SECONDS),
    plan=plan_database,
)
PRE_RUN: Step[ClusterContext] = Step(name="Pre-run commands", run=run_jobs, plan=plan_jobs)
SERVICES: Step[ClusterContext] = Step(
    name="Services",
    run=lambda context: roll_out(context, context.manifests.services, ROLLOUT_SECONDS),
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
