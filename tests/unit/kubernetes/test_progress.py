"""How far workloads are, where a look at a cluster tells more than "ready" or "broken".

Each way in which a pod fails is told by the rollouts of tests/integration/kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from nvoi.kubernetes.diagnosis import (
    FATAL_REASONS,
    MOUNT_REASONS,
    Failure,
    describe_changes,
    describe_pod,
    get_hint,
)
from nvoi.kubernetes.progress import (
    Restarts,
    count_settling,
    find_stuck,
    has_failed_before,
    judge,
    note_beginnings,
)
from tests.unit.kubernetes import cluster, configs
from tests.unit.kubernetes.cluster import ended, event, pod, unscheduled, waiting

READY = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
ONE = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "updateRevision": "b"}
CREATING = waiting("ContainerCreating")
CRASHED = {"state": waiting("CrashLoopBackOff"), "lastState": ended(1)}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
FULL = "0/1 nodes are available: 1 Insufficient memory."
TAINTED = "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
UNINITIALIZED = TAINTED.replace(
    "kubernetes.io/not-ready", "cloudprovider.kubernetes.io/uninitialized"
)
NO_FOLDER = "hostPath type check failed: /opt/nvoi/volumes/x is not a directory"

WEB = cluster.deployment()
DATABASE = cluster.live("StatefulSet", "db-shop", "postgres")
MADE = pod(WEB, state=CREATING)
UNHEALTHY = event(pod(WEB), "Unhealthy", "Startup probe failed: statuscode: 500")
KILLED = event(pod(WEB), "Killing", "Container web failed startup probe, will be restarted")


def job(**status: Any) -> Any:
    return cluster.live("Job", "shop-web", "mounts", **status)


def conclude(kind: str, reason: str = "", message: str = "") -> Any:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    return job(conditions=[condition])


def database(**status: Any) -> Any:
    return cluster.live("StatefulSet", "db-shop", "postgres", **(ONE | status))


def age(item: Any) -> Any:
    """The same of an earlier release."""
    item["metadata"]["annotations"]["nvoi.io/template"] = "another"
    return item


def remove(item: Any, **more: Any) -> Any:
    """The same as it stops."""
    return item | {"metadata": item["metadata"] | GOING | more}


DONE, GOES_ON, FAILED = "done", "goes on", "failed"
OTHER = cluster.live("Deployment", "shop-redis", "groups")
UNSEEN = {"metadata": {"name": "shop-web-x", "uid": "another"}}
PULLING = waiting("ImagePullBackOff")
LATE = "failed to sync secret cache: timed out"
REFUSED = event(job(), "FailedCreate", "Error creating: pods is forbidden: exceeded quota: pods")
GIVEN_UP = conclude("Failed", "BackoffLimitExceeded", "has reached the limit")


def case(
    item: Any,
    *pods: Any,
    state: str = GOES_ON,
    words: str = "",
    events: Sequence[Any] = (),
) -> tuple[Any, list[Any], Sequence[Any], str, str]:
    """A workload with its pods and events; how far it is, and in which words."""
    return item, [*pods], events, state, words


def rolled(**status: Any) -> Any:
    """A rollout whose pods are all ready, but for what ``status`` says."""
    return cluster.deployment(**(READY | status))


def unclaimed(message: str) -> Any:
    return unscheduled(DATABASE, message)


VERDICTS = {
    "ready": case(rolled(), state=DONE, words="shop-web: 2 of 2 pods are ready"),
    "none yet": case(WEB, words="0 of 2 new pods are ready"),
    "old pod": case(rolled(replicas=3), words="1 old pod has yet to stop"),
    "old pods": case(rolled(replicas=4), words="2 old pods have yet to stop"),
    "changed": case(rolled(observedGeneration=1), words="the cluster has not looked at it yet"),
    # As Kubernetes says it of two old pods that are available and a new one that is not.
    "old ones": case(
        rolled(replicas=3, updatedReplicas=1),
        *(age(pod(WEB, ready=True)), age(pod(WEB, ready=True)), pod(WEB)),
        words="shop-web: 0 of 2 new pods are ready",
    ),
    "settling": case(
        WEB, pod(WEB, ready=True), words="1 of 2 new pods are ready, and must stay so for 10 s"
    ),
    "one has to end": case(
        DATABASE,
        remove(pod(DATABASE), deletionGracePeriodSeconds=120),
        words="0 of 1 new pods are ready; db-shop-x is stopping, which may take 120 s",
    ),
    "ended once": case(WEB, pod(WEB, lastState=ended(1))),
    "has just ended": case(WEB, pod(WEB, state=ended(1))),
    "not healthy yet": case(WEB, pod(WEB), events=[UNHEALTHY]),
    "unhealthy": case(
        WEB, pod(WEB), events=[UNHEALTHY, KILLED], state=FAILED, words="statuscode: 500"
    ),
    "no room": case(WEB, unscheduled(WEB, FULL), state=FAILED, words=f"Unschedulable: {FULL}"),
    "node starts": case(WEB, unscheduled(WEB, TAINTED), words=f"are ready; {TAINTED}"),
    "node is new": case(WEB, unscheduled(WEB, UNINITIALIZED)),
    "node is unheard of": case(WEB, unscheduled(WEB, "no nodes available to schedule pods")),
    "disk is late": case(DATABASE, unclaimed('persistentvolumeclaim "data-db-shop-0" not found')),
    "disk unbound": case(DATABASE, unclaimed("pod has unbound immediate PersistentVolumeClaims")),
    "mount": case(WEB, MADE, events=[event(MADE, "FailedAttachVolume", NO_FOLDER)], state=FAILED),
    "mount is late": case(WEB, MADE, events=[event(MADE, "FailedMount", LATE)]),
    "mounted since": case(WEB, pod(WEB), events=[event(MADE, "FailedMount", NO_FOLDER)]),
    "mounted and pulling": case(
        WEB,
        MADE,
        events=[event(MADE, "FailedMount", NO_FOLDER), event(MADE, "Pulling", 'Pulling "web"')],
    ),
    "of another pod": case(WEB, MADE, events=[event(UNSEEN, "FailedMount", NO_FOLDER)]),
    "pods of others": case(
        rolled(), age(pod(WEB, state=PULLING)), pod(OTHER, state=PULLING), state=DONE
    ),
    "broken one goes": case(WEB, remove(pod(WEB, state=PULLING))),
    "database": case(database(currentRevision="b"), state=DONE),
    "database turns": case(database(currentRevision="a")),
    "database starts": case(database(currentRevision="b", readyReplicas=0)),
    "database is next": case(database(currentRevision="a", updatedReplicas=0)),
    "job is done": case(conclude("Complete"), state=DONE),
    "job runs": case(job(active=1), words=": running"),
    "job starts": case(job(), words=": starting"),
    "job fails": case(GIVEN_UP, pod(job(), state=ended(4)), state=FAILED, words="exit code 4"),
    "job failed unseen": case(GIVEN_UP, state=FAILED, words="BackoffLimitExceeded"),
    "job was refused": case(job(), events=[REFUSED], state=FAILED, words="exceeded quota"),
    "job was refused at first": case(
        job(active=1), pod(job()), events=[REFUSED], words=": running"
    ),
    "job cannot start": case(
        job(active=1), pod(job(), state=waiting("CreateContainerConfigError")), state=FAILED
    ),
}


@pytest.mark.parametrize(
    ("item", "pods", "events", "state", "words"), VERDICTS.values(), ids=VERDICTS
)
def test_how_far_a_workload_is(
    item: Any, pods: list[Any], events: Sequence[Any], state: str, words: str
) -> None:
    verdict = judge(item, pods, events)
    seen = verdict.is_done, verdict.failure is not None, words in verdict.sentence
    assert seen == (state is DONE, state is FAILED, True), verdict


@pytest.mark.parametrize("condition", ["FailureTarget", "Failed"])
def test_a_job_that_takes_too_long_has_failed_whatever_its_end_and_has_last_lines(
    condition: str,
) -> None:
    item = conclude(condition, "DeadlineExceeded", "Job was active longer than specified deadline")
    verdict = judge(item, [pod(item, state=ended(143))])
    assert "DeadlineExceeded" in verdict.sentence
    assert verdict.failure is not None
    assert verdict.failure.container == "web"


def test_a_container_that_ends_after_it_was_ready_has_failed() -> None:
    restarts = Restarts()
    restarts.note([pod(WEB, ready=True, restartCount=2)], is_done=False)
    assert restarts.find_failure([pod(WEB, ready=True, restartCount=2)]) is None
    again = pod(WEB, restartCount=3, lastState=ended(6))
    failure = restarts.find_failure([again])
    assert failure is not None
    assert failure.message == "it was ready, and then ended with exit code 6"
    assert (failure.reason, failure.container, failure.previous) == ("Restarted", "web", True)
    now = restarts.find_failure([pod(WEB, restartCount=2, state=ended(137, "OOMKilled"))])
    assert now is not None
    assert not now.previous
    assert restarts.find_failure([remove(again)]) is None
    # Another pod of its name.
    again["metadata"] = pod(WEB)["metadata"] | {"uid": "another"}
    assert restarts.find_failure([again]) is None


def test_each_replica_s_time_to_settle_is_counted_and_services_settle_side_by_side() -> None:
    assert count_settling(configs.build("groups").all) == 5 * 10
    assert count_settling(configs.build("groups").secrets) == 0


def test_a_container_without_a_probe_counts_once_its_workload_is_done() -> None:
    worker = cluster.live("Deployment", "shop-web", "least")
    again = pod(worker, restartCount=1, ready=True, lastState=ended(1))
    restarts = Restarts()
    restarts.note([pod(worker, ready=True)], is_done=False)
    assert restarts.find_failure([again]) is None
    restarts.note([pod(worker, ready=True)], is_done=True)
    assert restarts.find_failure([again]) is not None


@pytest.mark.parametrize(
    ("message", "is_final"),
    [
        ('failed to resolve reference "web:2": web:2: not found', True),
        ("pull access denied, repository does not exist or may require authorization", True),
        ("failed to authorize: unexpected status: 401 Unauthorized", True),
        ("no match for platform in manifest: not found", True),
        ("dial tcp 10.43.0.100:5000: connect: connection refused", False),
        ("unexpected status from HEAD request: 503 Service Unavailable", False),
        ("", False),
    ],
)
def test_a_pull_is_given_up_at_once_only_where_none_can_do_better(
    message: str, is_final: bool
) -> None:
    own = pod(WEB, state=waiting("ErrImagePull", message))
    # While it waits for the next attempt, the cause may be in the events alone.
    later = pod(WEB, state=waiting("ImagePullBackOff", 'Back-off pulling image "web:2"'))
    told = event(later, "Failed", f'Failed to pull image "web:2": {message}')
    for failure in (judge(WEB, [own]).failure, judge(WEB, [later], [told]).failure):
        assert failure is not None
        assert (failure.seconds == 0) == is_final


def test_what_may_pass_does_not_hide_what_will_not() -> None:
    pods = [pod(WEB, state=waiting(reason)) for reason in ("ErrImagePull", "InvalidImageName")]
    assert "InvalidImageName" in judge(WEB, pods).sentence
    assert "InvalidImageName" in judge(WEB, pods[::-1]).sentence


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (unscheduled(WEB, "no room"), "waits for a server that has room"),
        (MADE, "is being made"),
        (pod(WEB), "runs and is not ready yet"),
        (pod(WEB, ready=True), "is ready"),
        (pod(WEB, state=ended(1)), "ended with exit code 1"),
        (pod(WEB, state=ended(0, signal=9)), "was ended by signal 9"),
        (pod(WEB, lastState=ended(1)), "ended with exit code 1 and was started again"),
        (pod(WEB, state=waiting("ErrImagePull")), "cannot get its image: ErrImagePull"),
        (pod(WEB, state=waiting("RunContainerError")), "cannot start: RunContainerError"),
        (
            pod(WEB, state=ended(128, "StartError", message='"serve": not found')),
            'could not start: "serve": not found',
        ),
        (pod(WEB, **CRASHED), "ended with exit code 1 again and again"),
        ({"kind": "Pod", "metadata": {"name": "new"}, "spec": {}}, "is being made"),
    ],
)
def test_a_pod_s_state_is_a_short_sentence(item: Any, words: str) -> None:
    assert describe_pod(item) == words


def test_each_change_of_state_is_told_once() -> None:
    told, seen = describe_changes({}, [pod(WEB)])
    assert told == ("shop-web-x runs and is not ready yet",)
    told, seen = describe_changes(seen, [pod(WEB)])
    assert told == ()
    told, seen = describe_changes(seen, [pod(WEB, ready=True)])
    assert told == ("shop-web-x is ready",)
    assert describe_changes(seen, []) == (("shop-web-x is gone",), {})


def test_a_pod_that_a_database_is_stuck_with_is_found() -> None:
    broken = pod(DATABASE, state=waiting("ImagePullBackOff"))
    assert find_stuck(DATABASE, [broken]) == []
    age(broken)
    assert find_stuck(DATABASE, [broken]) == [broken]
    assert find_stuck(DATABASE, [remove(broken)]) == []
    broken["status"]["containerStatuses"][0]["ready"] = True
    assert find_stuck(DATABASE, [broken]) == []
    assert find_stuck(DATABASE, [MADE]) == []
    # All others replace theirs by themselves.
    assert find_stuck(WEB, [age(pod(WEB, state=waiting("ImagePullBackOff")))]) == []


@pytest.mark.parametrize(
    ("before", "now", "is_stuck"),
    [
        # It was in back-off already, and would be for up to five minutes.
        (CRASHED | {"restartCount": 4}, CRASHED | {"restartCount": 4}, True),
        # It ended once more since, and not twice.
        ({"restartCount": 3}, CRASHED | {"restartCount": 3}, True),
        ({"restartCount": 3}, CRASHED | {"restartCount": 4}, False),
        # One that had just been made.
        ({"state": CREATING}, CRASHED | {"restartCount": 1}, False),
        ({"state": waiting("ImagePullBackOff")}, {"state": waiting("ImagePullBackOff")}, True),
        ({"state": CREATING}, {"state": waiting("ImagePullBackOff")}, False),
        ({"ready": True}, {"ready": True}, False),
    ],
)
def test_what_failed_before_a_rollout_is_to_begin_anew(
    before: Any, now: Any, is_stuck: bool
) -> None:
    beginnings = note_beginnings([pod(WEB, **before)], [])
    own = pod(WEB, **now)
    assert find_stuck(WEB, [own], [], beginnings) == [own] * is_stuck
    assert has_failed_before(own, [], beginnings) == is_stuck
    # One that is made in its place is judged by itself.
    own["metadata"]["uid"] = "another"
    assert find_stuck(WEB, [own], [], beginnings) == []


def test_what_runs_again_since_it_failed_is_neither_ended_nor_a_reason_to_give_up() -> None:
    recovering = pod(DATABASE, restartCount=1)
    killed = [event(recovering, "Killing", "Container database failed startup probe")]
    beginnings = note_beginnings([recovering], killed)
    assert judge(DATABASE, [recovering], killed).failure is not None
    assert has_failed_before(recovering, killed, beginnings)
    assert find_stuck(DATABASE, [recovering], killed, beginnings) == []
    # Until it is ended once more.
    assert not has_failed_before(pod(DATABASE, restartCount=2), killed, beginnings)


@pytest.mark.parametrize(
    "reason",
    sorted(
        {*FATAL_REASONS - {"PreStartHookError", "PostStartHookError"}, *MOUNT_REASONS}
        | {"Unschedulable", "Unhealthy", "Failed", "DeadlineExceeded", "FailedCreate"}
    ),
)
def test_every_failure_says_what_to_do(reason: str) -> None:
    assert get_hint(Failure(reason, "why"))


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("1 Insufficient memory", "resources.requests"),
        ("1 node(s) didn't match Pod's node affinity/selector", "server of its group"),
        # Those of other groups are counted along.
        ("1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector", "requests"),
        ("1 node(s) had untolerated taint {dedicated: gpu}", "taint"),
        ("1 node(s) were unschedulable", "kubectl uncordon"),
        ("1 node(s) had volume node affinity conflict", "disk is on another server"),
        ("1 Too many pods", "add a server"),
    ],
)
def test_a_pod_without_a_server_is_told_by_what_is_missing(message: str, hint: str) -> None:
    assert hint in get_hint(Failure("Unschedulable", f"0/3 nodes are available: {message}."))


def test_what_a_part_of_the_cluster_refuses_for_a_moment_may_pass() -> None:
    words = 'Internal error occurred: failed calling webhook "x": connect: connection refused'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    item = rolled(conditions=[condition | {"message": words}])
    events = [event(job(), "FailedCreate", f"Error creating: {words}")]
    for verdict in (judge(item, []), judge(job(), [], events)):
        assert verdict.failure is not None
        assert verdict.failure.seconds
