"""How far a workload is, read from its status, its pods and their events. Functions are pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nvoi.kubernetes.diagnosis import (
    CRASHING,
    RESTARTED,
    UNPLACED,
    Failure,
    belongs,
    build_failure,
    concerns,
    describe_end,
    describe_stopping,
    find_end,
    find_failure,
    find_unplaced,
    is_running,
    is_well,
    list_containers,
)
from nvoi.kubernetes.ownership import Json, Manifest, is_going
from nvoi.log.rendering import format_count

OVERDUE = "ProgressDeadlineExceeded"


@dataclass(frozen=True)
class Verdict:
    """How far something is, in ``sentence`` for people; ``failure`` where it has failed."""

    sentence: str
    is_done: bool = False
    failure: Failure | None = None


@dataclass
class Restarts:
    """How often containers had been started again when they were first well; then none may end.

    What a container does before it is ready is its start, which may take more than one attempt.
    """

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, pods: Iterable[Json], *, is_done: bool) -> None:
        """Remember the containers that are well; one without a probe is once its workload is."""
        for pod in pods:
            probed = {
                container["name"]
                for container in pod["spec"]["containers"]
                if is_done or "readinessProbe" in container
            }
            for status in list_containers(pod):
                if status.get("ready") and status["name"] in probed:
                    key = pod["metadata"]["uid"], status["name"]
                    self._counts.setdefault(key, status.get("restartCount", 0))

    def find_failure(self, pods: Iterable[Json]) -> Failure | None:
        """A container that was well, and has ended since."""
        for pod in pods:
            for status in list_containers(pod) if not is_going(pod) else ():
                before = self._counts.get((pod["metadata"]["uid"], status["name"]))
                has_ended = "terminated" in (status.get("state") or {})
                restarted = before is not None and status.get("restartCount", 0) > before
                if before is not None and (restarted or has_ended):
                    end, name = describe_end(find_end(status) or {}), pod["metadata"]["name"]
                    message = f"it was ready, and then {end}"
                    return Failure(RESTARTED, message, name, status["name"], previous=restarted)
        return None


@dataclass(frozen=True)
class Beginning:
    """How a pod was when its rollout began: how often it had been started again by then."""

    restarts: int
    has_failed: bool


NONE: Mapping[str, Beginning] = MappingProxyType({})


def fail(name: str, failure: Failure) -> Verdict:
    subject = failure.pod or name
    text = f"{subject}: {failure.reason}" + (f": {failure.message}" if failure.message else "")
    return Verdict(text, failure=failure)


def judge(item: Json, pods: Sequence[Json], events: Sequence[Json] = ()) -> Verdict:
    """How far a Deployment, StatefulSet or Job is.

    Of ``pods`` and ``events``, those of other objects and of earlier releases are passed over.
    """
    if item["kind"] == "Job":
        return judge_job(item, pods, events)
    name, seen = item["metadata"]["name"], (item.get("status") or {}).get("observedGeneration", 0)
    # Else the status is of the object as it was.
    if seen < item["metadata"].get("generation", 0):
        return Verdict(f"{name}: the cluster has not looked at it yet")
    failure = find_pod_failure(item, pods, events) or find_condition_failure(item)
    if failure:
        return fail(name, failure)
    return count_pods(item, pods)


def find_pod_failure(item: Json, pods: Sequence[Json], events: Sequence[Json]) -> Failure | None:
    """Why a pod of this very release will not be ready."""
    failures = (find_failure(pod, events) for pod in pods if belongs(pod, item))
    # What may pass does not hide what will not.
    found = filter(None, failures)
    return min(found, key=lambda one: (one.seconds, one.reason == UNPLACED), default=None)


def find_stuck(
    item: Json,
    pods: Iterable[Json],
    events: Sequence[Json] = (),
    beginnings: Mapping[str, Beginning] = NONE,
) -> list[Json]:
    """Pods that hold a rollout up, and would for ever or for minutes: they are to be deleted.

    A StatefulSet waits for a pod of an earlier template to be ready, though its template is good
    again (Kubernetes documentation, "StatefulSets", "Forced rollback"). What failed before the
    rollout began may be well now, and kubelet tries again ever more seldom.
    """
    is_ordered = item["kind"] == "StatefulSet"
    return [
        pod
        for pod in pods
        if is_selected(pod, item) and not is_going(pod)
        if (
            has_failed_before(pod, events, beginnings) and not is_running(pod)
            if belongs(pod, item)
            else is_ordered and not is_well(pod)
        )
    ]


def has_failed_before(
    pod: Json, events: Iterable[Json], beginnings: Mapping[str, Beginning]
) -> bool:
    """Whether what is wrong with a pod is of the time before the rollout began."""
    failure, begun = find_failure(pod, events), beginnings.get(pod["metadata"]["uid"])
    if failure is None or begun is None:
        return False
    is_old = begun.has_failed or (failure.reason == CRASHING and begun.restarts > 0)
    return is_old and count_restarts(pod) == begun.restarts


def note_beginnings(pods: Iterable[Json], events: Sequence[Json]) -> dict[str, Beginning]:
    """How pods are when a rollout begins to be followed, by their uids."""
    return {
        pod["metadata"]["uid"]: Beginning(
            count_restarts(pod), find_failure(pod, events) is not None
        )
        for pod in pods
    }


def is_overdue(item: Json) -> bool:
    """Whether Kubernetes has given a rollout up, which it says until pods are ready again."""
    failure = find_condition_failure(item)
    return failure is not None and failure.reason == OVERDUE


def count_restarts(pod: Json) -> int:
    return sum(status.get("restartCount", 0) for status in list_containers(pod))


def is_ready(item: Json) -> bool:
    """Whether a Deployment or StatefulSet is as it should be, by its own word."""
    return judge(item, ()).is_done


def count_settling(manifests: Iterable[Manifest]) -> float:
    """Seconds that go by while new pods, one after the other, have to stay ready."""
    specs: list[Any] = [item["spec"] for item in manifests if item["kind"] == "Deployment"]
    times = (spec.get("minReadySeconds", 0) * spec.get("replicas", 1) for spec in specs)
    return float(max(times, default=0))


def find_condition_failure(item: Json) -> Failure | None:
    for condition in (item.get("status") or {}).get("conditions") or ():
        kind, status = condition.get("type"), condition.get("status")
        late = kind == "Progressing" and condition.get("reason") == OVERDUE
        if (late and status == "False") or (kind == "ReplicaFailure" and status == "True"):
            return build_failure(condition.get("reason", str(kind)), condition.get("message", ""))
    return None


def count_pods(item: Json, pods: Sequence[Json]) -> Verdict:
    """Done once all pods are of this release and ready, and no other is left.

    The status counts the pods of all releases as ready or available: only where it has no others
    is it the new ones' number.
    """
    name, status = item["metadata"]["name"], item.get("status") or {}
    wanted = item["spec"].get("replicas", 1)
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    # A StatefulSet that has only now been given `minReadySeconds` counts no available pods.
    key = "availableReplicas" if item["kind"] == "Deployment" else "readyReplicas"
    turned = status.get("currentRevision") == status.get("updateRevision")
    if updated < wanted or status.get(key, 0) < wanted:
        return Verdict(f"{name}: {describe_new(item, pods, wanted)}")
    if total > updated:
        old = format_count(total - updated, "old pod has", "old pods have")
        return Verdict(f"{name}: {old} yet to stop")
    if item["kind"] == "StatefulSet" and not turned:
        return Verdict(f"{name}: the old pod is being replaced")
    return Verdict(f"{name}: {wanted} of {wanted} pods are ready", is_done=True)


def describe_new(item: Json, pods: Sequence[Json], wanted: int) -> str:
    """How many of the new pods are ready, and what those that lack are waiting for."""
    new = [pod for pod in pods if belongs(pod, item) and not is_going(pod)]
    ready, settling = sum(map(is_well, new)), item["spec"].get("minReadySeconds", 0)
    counted = f"{ready} of {wanted} new pods are ready"
    if ready and settling:
        return f"{counted}, and must stay so for {settling} s"
    unplaced = dict.fromkeys(filter(None, map(find_unplaced, new)))
    stopping = describe_stopping(pod for pod in pods if is_selected(pod, item))
    return "; ".join([counted, *unplaced, *(stopping if len(new) < wanted else ())])


def is_selected(pod: Json, item: Json) -> bool:
    """Whether a pod is one of the workload's, of whichever release."""
    wanted = item["spec"]["selector"]["matchLabels"].items()
    return bool(wanted <= (pod["metadata"].get("labels") or {}).items())


def judge_job(job: Json, pods: Iterable[Json], events: Sequence[Json]) -> Verdict:
    """How far a Job is that is tried once."""
    name, conditions = job["metadata"]["name"], list_conditions(job)
    if "Complete" in conditions:
        return Verdict(f"{name}: done", is_done=True)
    own = [pod for pod in pods if belongs(pod, job)]
    failure = find_end_failure(own) or find_pod_failure(job, own, events)
    ended = conditions.get("Failed") or conditions.get("FailureTarget")
    if ended:
        reason, message = ended.get("reason", "Failed"), ended.get("message", "")
        found = failure if failure and reason == "BackoffLimitExceeded" else None
        last = own[-1]["metadata"]["name"] if own else None
        container = next((item["name"] for pod in own for item in list_containers(pod)), None)
        return fail(name, found or Failure(reason, message, last, container))
    # Events are kept, also where a later attempt has made the pod.
    refusals = (one for one in events if one.get("reason") == "FailedCreate" and concerns(one, job))
    if not own and (refusal := next(refusals, None)):
        failure = build_failure("FailedCreate", refusal.get("message", ""))
    if failure:
        return fail(name, failure)
    active = (job.get("status") or {}).get("active", 0)
    return Verdict(f"{name}: {'running' if active else 'starting'}")


def list_conditions(job: Json) -> dict[str, Json]:
    """What is true of a Job that has ended or is about to, by its type; nothing while it runs."""
    found = (job.get("status") or {}).get("conditions") or ()
    return {one["type"]: one for one in found if one.get("status") == "True"}


def find_end_failure(pods: Iterable[Json]) -> Failure | None:
    """A container of a Job ended badly: it is not tried again."""
    for pod in pods:
        for status in list_containers(pod):
            ended = (status.get("state") or {}).get("terminated")
            if ended and (ended.get("exitCode", 0) != 0 or ended.get("signal")):
                code = f"exit code {ended.get('exitCode', 0)}"
                message = code if ended.get("reason", "Error") == "Error" else ended["reason"]
                return Failure("Failed", message, pod["metadata"]["name"], status["name"])
    return None


def has_ended(item: Json, verdict: Verdict, pods: Sequence[Json]) -> bool:
    """Whether the pods of a workload are as its verdict says. A Job that runs is judged by them."""
    own = [pod for pod in pods if belongs(pod, item)]
    if item["kind"] == "Job":
        ended = [pod["status"].get("phase") in {"Succeeded", "Failed"} for pod in own]
        is_whole = all(ended) and (bool(ended) or verdict.failure is not None)
        return is_whole or not list_conditions(item)
    wanted: int = item["spec"].get("replicas", 1)
    old = [pod for pod in pods if is_selected(pod, item) and not belongs(pod, item)]
    has_old = any(is_well(pod) and not is_going(pod) for pod in old)
    return verdict.failure is not None or (sum(map(is_well, own)) >= wanted and not has_old)
