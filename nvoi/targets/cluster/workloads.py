"""The steps that put a release into the cluster, each stage once the one before it is well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nvoi.kubernetes.names import NAME
from nvoi.kubernetes.ownership import find_fixed, read_reference
from nvoi.kubernetes.releases import build_record
from nvoi.kubernetes.workloads import Manifest
from nvoi.log.levels import get_logger
from nvoi.naming import build_database_name, build_workload_name
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.undoing import undo
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

#: Seconds that a rollout may take, image pulls included. A database may have to recover first.
ROLLOUT_SECONDS = 600.0
DATABASE_SECONDS = 900.0
#: Seconds more than its own deadline that a Job is followed, so that it is the one to tell.
JOB_GRACE = 60.0


def roll_out(context: ClusterContext, manifests: Sequence[Manifest], seconds: float) -> None:
    """Have the cluster hold ``manifests``, and follow them until all are ready."""
    if not manifests:
        log.info("The config names none")
        return
    context.applied += manifests
    found = context.cluster.roll_out(
        manifests, seconds=seconds, delete_first=find_fixed(context.live, manifests)
    )
    named = {read_reference(item) for item in manifests if item["kind"] == "Service"}
    context.services += [item for item in found if read_reference(item) in named]


def apply_secrets(context: ClusterContext) -> None:
    """Put the environments there. Their names hold what is in them: nothing running changes.

    With them the record of a release that has begun, by which the next run sees that this one
    was cut off, and what served before it.
    """
    secrets = context.manifests.secrets
    manifests = [*secrets, build_own_record(context, is_begun=True)]
    context.applied += manifests
    context.cluster.apply(manifests)
    for item in secrets:
        log.info("%s: environment is there, in a Secret of its own", read_service(item))


def read_service(item: Manifest) -> str:
    """What the config calls the service that an object is of."""
    metadata: Any = item["metadata"]
    return str(metadata["labels"][NAME])


def build_own_record(context: ClusterContext, *, is_begun: bool = False) -> Manifest:
    """The record of this run's release."""
    return build_record(
        context.release, context.manifests.apps, before=context.running, is_begun=is_begun
    )


def run_jobs(context: ClusterContext) -> None:
    """Run the commands that come before a release, one after the other."""
    jobs = context.manifests.jobs
    if not jobs:
        log.info("The config names none")
    for job in jobs:
        spec: Any = job["spec"]
        roll_out(context, [job], spec["activeDeadlineSeconds"] + JOB_GRACE)


def roll_out_apps(context: ClusterContext) -> None:
    """Roll the app's own services out together."""
    context.serving = context.manifests.apps
    roll_out(context, context.serving, ROLLOUT_SECONDS)


def plan_secrets(context: ClusterContext) -> Iterator[str]:
    """The services that have an environment."""
    application = context.application
    names = [*application.app, *application.services, *(["database"] * bool(application.database))]
    yield f"puts the environment of each of {', '.join(names)} there as a Secret of its own"


def plan_database(context: ClusterContext) -> Iterator[str]:
    """The database, where nvoi runs one."""
    if context.manifests.database:
        name = build_database_name(context.application.name)
        yield f"applies {name}, and waits until it is ready"


def plan_jobs(context: ClusterContext) -> Iterator[str]:
    """The commands, which may hold what is not for everyone."""
    for name, service in context.application.app.items():
        if service.pre_run_command:
            yield f"runs the pre_run_command of {name} in the new image"


def plan_workloads(context: ClusterContext, names: Iterable[str]) -> Iterator[str]:
    """The workloads of these services."""
    for name in names:
        yield f"rolls out {build_workload_name(context.application.name, name)}"


SECRETS: Step[ClusterContext] = Step(
    name="Secrets",
    run=apply_secrets,
    plan=plan_secrets,
    # Of all that comes from here on: the cluster is put back in one go.
    undo=undo,
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
    run=roll_out_apps,
    plan=lambda context: plan_workloads(context, context.application.app),
)
