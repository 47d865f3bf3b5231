"""The step that reads what the app has in the cluster, before anything of it is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nvoi.errors import NvoiError, RemoteError, ServiceError
from nvoi.kubernetes.names import (
    COMPONENT,
    MANAGED_BY,
    OWNER,
    PART_OF,
    STAMP,
    build_app_selector,
    build_label_value,
)
from nvoi.kubernetes.ownership import LISTED, RECORD, Reference, is_owned, read_reference
from nvoi.kubernetes.releases import find_running, list_begun, list_records
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.cluster.stamps import choose_stamp
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

#: Seconds that a Job of a run that was cut off is waited for, where it says nothing of its own.
JOB_SECONDS = 600
#: The exit code of a shell that does not find a program (POSIX, "Exit Status for Commands").
NOT_FOUND = 127


def get_objects(context: ClusterContext, kinds: Sequence[str]) -> tuple[Json, ...]:
    """The app's objects of ``kinds`` in the cluster, and the records of its releases.

    Raises:
        NvoiError: there is no cluster, or it does not answer.
    """
    own = build_app_selector(context.application.name)
    try:
        objects = context.cluster.get(kinds, selector=own)
        return objects + context.cluster.get(["secrets"], selector=f"{own},{COMPONENT}={RECORD}")
    except RemoteError as error:
        if error.status != NOT_FOUND:
            raise
        message = f"{context.master.host} has no k3s: nothing was deployed to it yet"
        raise NvoiError(message, hint="`nvoi deploy` installs it") from error


def list_environments(context: ClusterContext) -> tuple[Json, ...]:
    """The Secrets that the app's pods have their environment from, without their values.

    What is in them is needed by nobody here: their names hold it.
    """
    app = context.application.name
    selector = f"{build_app_selector(app)},{COMPONENT}!={RECORD}"
    labels = {MANAGED_BY: OWNER, PART_OF: build_label_value(app)}
    return tuple(
        {"kind": one.kind, "metadata": {"name": one.name, "labels": labels}}
        for one in sorted(context.cluster.list_names("secrets", selector=selector))
    )


def find_foreign(context: ClusterContext) -> list[Reference]:
    """What the app is to have, and another app or a person has already made for itself."""
    wanted = {read_reference(item) for item in context.manifests.all}
    own = {read_reference(item) for item in context.live}
    return sorted(context.cluster.find_existing(wanted - own))


def read_state(context: ClusterContext) -> None:
    """Look at the cluster: what is there, which release runs, which are kept.

    Raises:
        NvoiError: there is no cluster, or it does not answer.
    """
    app = context.application.name
    context.live = get_objects(context, LISTED) + list_environments(context)
    context.records = tuple(list_records(app, context.live))
    context.begun = tuple(list_begun(app, context.live))
    context.running = find_running(app, context.live)
    for record in context.begun:
        log.info("Release %s was cut off before it served", record.stamp)
    if context.running:
        log.info("Release %s runs; %d kept in all", context.running, len(context.records))
    else:
        log.info("No release of %s runs yet", app)


def run(context: ClusterContext) -> None:
    """Look, refuse what is another's, and let what an earlier run left behind come to its end.

    Raises:
        NvoiError: something that the app would have is somebody else's.
    """
    read_state(context)
    stamp = choose_stamp(context.stamp, list_used(context))
    if stamp != context.stamp:
        log.info("The new release is %s: there are stamps as late as this machine's time", stamp)
        context.stamp = stamp
    foreign = find_foreign(context)
    if foreign:
        names = ", ".join(str(reference) for reference in foreign)
        raise NvoiError(
            f"the cluster has {names}, which nvoi did not make for {context.application.name}",
            hint="rename the app or its service, or delete them with kubectl",
        )
    wait_for_jobs(context)


def list_used(context: ClusterContext) -> Iterator[str]:
    """The stamps that the app's objects have."""
    for item in context.live:
        if is_owned(item, context.application.name):
            yield item["metadata"]["labels"].get(STAMP, "")


def wait_for_jobs(context: ClusterContext) -> None:
    """Wait until no ``pre_run_command`` of a run that was cut off is at work any more."""
    left = dict(find_unfinished(context))
    if not left:
        return
    log.info("A pre_run_command of an earlier run is still at work: %s", ", ".join(map(str, left)))
    try:
        context.cluster.follow([*left], seconds=max(left.values()))
    except ServiceError as error:
        log.warning("It ended badly: %s", error)


def find_unfinished(context: ClusterContext) -> Iterator[tuple[Reference, int]]:
    """The app's Jobs that have not ended, and how long each may take."""
    for item in context.live:
        if item["kind"] == "Job" and is_owned(item, context.application.name):
            conditions = (item.get("status") or {}).get("conditions") or ()
            ended = any(
                condition["type"] in {"Complete", "Failed"} and condition["status"] == "True"
                for condition in conditions
            )
            if not ended:
                seconds = item["spec"].get("activeDeadlineSeconds", JOB_SECONDS)
                yield read_reference(item), seconds


def find_live(context: ClusterContext, reference: Reference) -> Json | None:
    """An object as it was when the run looked first."""
    return next((item for item in context.live if read_reference(item) == reference), None)


STATE: Step[ClusterContext] = Step(
    name="State",
    run=run,
    plan=lambda _: ["reads what of the app is in the cluster, and which release runs"],
)
