"""The step that reads what the app has in the cluster, before anything of it is changed."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.errors import NvoiError, ServiceError
from nvoi.kubernetes.ownership import LISTED, Reference, find_foreign, is_owned, read_reference
from nvoi.kubernetes.records import find_running, list_records
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

#: Seconds that a Job of a run that was cut off is waited for, where it says nothing of its own.
JOB_SECONDS = 600


def read_state(context: ClusterContext) -> None:
    """Look at the cluster: what is there, which release runs, which are kept."""
    app = context.application.name
    context.live = context.cluster.get(LISTED)
    context.records = tuple(list_records(app, context.live))
    context.running = find_running(app, context.live)
    if context.running:
        log.info("Release %s runs; %d kept in all", context.running, len(context.records))
    else:
        log.info("Nothing of %s runs yet", app)


def run(context: ClusterContext) -> None:
    """Look, refuse what is another's, and let what an earlier run left behind come to its end.

    Raises:
        NvoiError: something that the app would have is somebody else's.
    """
    read_state(context)
    foreign = find_foreign(context.application.name, context.live, context.manifests.all)
    if foreign:
        names = ", ".join(str(reference) for reference in foreign)
        raise NvoiError(
            f"the cluster has {names}, which nvoi did not make for {context.application.name}",
            hint="rename the app or its service, or delete them with kubectl",
        )
    wait_for_jobs(context)


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
