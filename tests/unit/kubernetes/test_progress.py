from __future__ import annotations

from typing import Any

import pytest

from nvoi.kubernetes.diagnosis import describe_changes, describe_pod
from nvoi.kubernetes.progress import (
    Restarts,
    State,
    Verdict,
    count_settling,
    find_stuck,
    has_failed_before,
    judge,
    note_beginnings,
)
from tests.unit.kubernetes import cluster, configs
from tests.unit.kubernetes.cluster import ended, event, pod, waiting

READY = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
CREATING = waiting("ContainerCreating")
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def judge_web(*states: Any, **status: Any) -> Verdict:
    web = cluster.deployment(**status)
    return judge(web, [pod(web, **state) for state in states])


def job(**status: Any) -> Any:
    return cluster.live("Job", "shop-web", "mounts", **status)


def condition(kind: str, reason: str = "", message: str = "") -> Any:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def test_a_rollout_is_done_when_all_its_pods_are_ready_and_the_old_are_gone() -> None:
    verdict = judge_web(**READY)
    assert verdict == Verdict(State.DONE, "shop-web: 2 of 2 pods are ready")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({}, "0 of 2 new pods are ready"),
        (READY | {"replicas": 3, "availableReplicas": 3}, "1 old pod has yet to stop"),
        (READY | {"replicas": 4, "availableReplicas": 4}, "2 old pods have yet to stop"),
        (READY | {"observedGeneration": 1}, "the cluster has not looked at it yet"),
    ],
)
def test_a_rollout_goes_on_until_then(status: Any, sentence: str) -> None:
    verdict = judge_web(**status)
    assert verdict == Verdict(State.PROGRESSING, f"shop-web: {sentence}")


def test_old_pods_are_not_counted_as_new_ones() -> None:
    # As Kubernetes says it of two old pods that are available and a new one that is not.
    status = {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2}
    web = cluster.deployment(**status)
    old = [pod(web, ready=True), pod(web, ready=True)]
    for one in old:
        one["metadata"]["annotations"]["nvoi.io/template"] = "another"
    verdict = judge(web, [*old, pod(web)])
    assert verdict.sentence == "shop-web: 0 of 2 new pods are ready"
    verdict = judge(web, [*old, pod(web, ready=True)])
    assert verdict.sentence == ("shop-web: 1 of 2 new pods are ready, and must stay so for 10 s")


def test_a_pod_that_has_to_end_first_is_told_with_the_time_that_it_may_take() -> None:
    database = cluster.live("StatefulSet", "db-shop", "postgres", replicas=1)
    old = pod(database)
    old["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    old["metadata"] |= {"deletionGracePeriodSeconds": 120}
    assert judge(database, [old]).sentence == (
        "db-shop: 0 of 1 new pods are ready; db-shop-x is stopping, which may take 120 s"
    )


def test_a_container_that_ends_after_it_was_ready_has_failed() -> None:
    web = cluster.deployment()
    restarts = Restarts()
    restarts.note([pod(web, ready=True, restartCount=2)], is_done=False)
    assert restarts.find_failure([pod(web, ready=True, restartCount=2)]) is None
    (again,) = [pod(web, restartCount=3, lastState=ended(6))]
    failure = restarts.find_failure([again])
    assert failure is not None
    assert failure.message == "it was ready, and then ended with exit code 6"
    assert (failure.reason, failure.container, failure.previous) == ("Restarted", "web", True)
    now = restarts.find_failure([pod(web, restartCount=2, state=ended(137, "OOMKilled"))])
    assert now is not None
    assert "more memory than its limit" in now.message
    assert not now.previous
    again["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert restarts.find_failure([again]) is None
    # Another pod of its name.
    again["metadata"] = pod(web)["metadata"] | {"uid": "another"}
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
    "reason",
    [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ],
)
def test_a_container_that_cannot_be_made_fails_at_once(reason: str) -> None:
    verdict = judge_web({"state": waiting(reason, "manifest unknown")})
    assert verdict.state is State.FAILED
    assert verdict.sentence == f"shop-web-x: {reason}: manifest unknown"
    assert verdict.failure is not None
    assert verdict.failure.pod == "shop-web-x"
    assert verdict.failure.container is None


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
    web = cluster.deployment()
    own = pod(web, state=waiting("ErrImagePull", message))
    failure = judge(web, [own]).failure
    assert failure is not None
    assert (failure.seconds == 0) == is_final
    # While it waits for the next attempt, the cause may be in the events alone.
    own = pod(web, state=waiting("ImagePullBackOff", 'Back-off pulling image "web:2"'))
    told = event(own, "Failed", f'Failed to pull image "web:2": {message}')
    failure = judge(web, [own], [told]).failure
    assert failure is not None
    assert (failure.seconds == 0) == is_final


def test_what_may_pass_does_not_hide_what_will_not() -> None:
    web = cluster.deployment()
    pods = [pod(web, state=waiting(reason)) for reason in ("ErrImagePull", "InvalidImageName")]
    assert "InvalidImageName" in judge(web, pods).sentence
    assert "InvalidImageName" in judge(web, pods[::-1]).sentence


def test_a_container_that_ends_again_and_again_fails_with_its_last_lines() -> None:
    state = {"state": waiting("CrashLoopBackOff", "back-off 10s"), "lastState": ended(3)}
    verdict = judge_web(state | {"restartCount": 2})
    assert verdict.sentence == "shop-web-x: CrashLoopBackOff: ended with exit code 3"
    assert verdict.failure is not None
    assert (verdict.failure.container, verdict.failure.previous) == ("web", True)


def test_a_container_that_ended_once_may_still_come_up() -> None:
    assert judge_web({"lastState": ended(1), "restartCount": 1}).state is State.PROGRESSING
    assert judge_web({"state": ended(1)}).state is State.PROGRESSING


def test_a_container_without_memory_is_told_so() -> None:
    crashing = waiting("CrashLoopBackOff")
    verdict = judge_web({"state": crashing, "lastState": ended(137, "OOMKilled")})
    assert "more memory than its limit" in verdict.sentence


def test_a_container_that_does_not_become_healthy_fails_with_what_its_check_said() -> None:
    web = cluster.deployment()
    own = pod(web)
    events = [
        event(own, "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 500"),
        event(own, "Killing", "Container web failed startup probe, will be restarted"),
    ]
    verdict = judge(web, [own], events)
    assert verdict.state is State.FAILED
    assert "statuscode: 500" in verdict.sentence
    assert judge(web, [own], events[:1]).state is State.PROGRESSING


def test_a_pod_that_no_server_has_room_for_fails_at_once() -> None:
    web = cluster.deployment()
    message = "0/2 nodes are available: 2 Insufficient memory."
    verdict = judge(web, [cluster.unscheduled(web, message)])
    assert verdict.sentence == f"shop-web-x: Unschedulable: {message}"


def test_a_server_that_is_just_starting_is_waited_for() -> None:
    web = cluster.deployment()
    message = (
        "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
    )
    assert judge(web, [cluster.unscheduled(web, message)]).state is State.PROGRESSING


def test_while_others_stop_there_may_be_room_soon() -> None:
    web = cluster.deployment()
    new = cluster.unscheduled(web, "0/1 nodes are available: 1 Insufficient memory.")
    going = pod(cluster.live("Deployment", "shop-redis", "groups"))
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert judge(web, [new, going]).state is State.PROGRESSING
    assert judge(web, [new]).state is State.FAILED


@pytest.mark.parametrize(
    "message",
    [
        'persistentvolumeclaim "data-db-shop-0" not found',
        "pod has unbound immediate PersistentVolumeClaims",
    ],
)
def test_a_disk_that_is_only_late_is_waited_for(message: str) -> None:
    database = cluster.live("StatefulSet", "db-shop", "postgres")
    assert judge(database, [cluster.unscheduled(database, message)]).state is State.PROGRESSING


@pytest.mark.parametrize("reason", ["FailedMount", "FailedAttachVolume"])
def test_a_volume_that_cannot_be_mounted_fails_at_once(reason: str) -> None:
    web = cluster.deployment()
    own = pod(web, state=CREATING)
    message = "hostPath type check failed: /opt/nvoi/volumes/x is not a directory"
    verdict = judge(web, [own], [event(own, reason, message)])
    assert verdict.sentence == f"shop-web-x: {reason}: {message}"


def test_a_mount_that_is_only_late_is_waited_for() -> None:
    web = cluster.deployment()
    own = pod(web, state=CREATING)
    late = event(own, "FailedMount", "failed to sync secret cache: timed out")
    assert judge(web, [own], [late]).state is State.PROGRESSING
    earlier = event(own, "FailedMount", "hostPath type check failed")
    assert judge(web, [pod(web)], [earlier]).state is State.PROGRESSING


def test_events_of_an_earlier_pod_of_the_same_name_do_not_count() -> None:
    web = cluster.deployment()
    own = pod(web, state=CREATING)
    old = event(own, "FailedMount", "hostPath type check failed")
    old["involvedObject"]["uid"] = "another"
    assert judge(web, [own], [old]).state is State.PROGRESSING


def test_pods_of_other_releases_and_apps_do_not_count() -> None:
    web = cluster.deployment(**READY)
    broken = pod(web, state=waiting("ImagePullBackOff"))
    broken["metadata"]["annotations"]["nvoi.io/template"] = "another"
    other = pod(cluster.live("Deployment", "shop-redis", "groups"), state=waiting("ErrImagePull"))
    assert judge(web, [broken, other]).state is State.DONE


def test_a_broken_pod_that_is_being_deleted_does_not_count() -> None:
    web = cluster.deployment()
    going = pod(web, state=waiting("ImagePullBackOff"))
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert judge(web, [going]).state is State.PROGRESSING


@pytest.mark.parametrize(
    "given_up",
    [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"},
    ],
)
def test_a_rollout_that_the_cluster_gives_up_has_failed(given_up: Any) -> None:
    verdict = judge_web(conditions=[given_up | {"message": "why"}])
    assert verdict.sentence == f"shop-web: {given_up['reason']}: why"


def test_a_database_is_done_when_the_new_pod_is_ready() -> None:
    def judge_database(**status: Any) -> State:
        ready = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "updateRevision": "b"}
        item = cluster.live("StatefulSet", "db-shop", "postgres", **(ready | status))
        return judge(item, []).state

    assert judge_database(currentRevision="b") is State.DONE
    assert judge_database(currentRevision="a") is State.PROGRESSING
    assert judge_database(currentRevision="b", readyReplicas=0) is State.PROGRESSING
    assert judge_database(currentRevision="a", updatedReplicas=0) is State.PROGRESSING


def test_a_job_is_done_when_it_is_complete() -> None:
    assert judge(job(conditions=[condition("Complete")]), []).state is State.DONE
    assert judge(job(active=1), []).sentence.endswith(": running")
    assert judge(job(), []).sentence.endswith(": starting")


def test_a_job_fails_as_soon_as_its_command_does() -> None:
    item = job(active=1)
    verdict = judge(item, [pod(item, state=ended(4))])
    assert verdict.state is State.FAILED
    assert verdict.failure is not None
    assert (verdict.failure.message, verdict.failure.container) == ("exit code 4", "web")
    assert not verdict.failure.previous


def test_a_job_s_failure_names_its_command_s_exit_code() -> None:
    item = job(conditions=[condition("Failed", "BackoffLimitExceeded", "has reached the limit")])
    assert "exit code 4" in judge(item, [pod(item, state=ended(4))]).sentence
    assert "BackoffLimitExceeded" in judge(item, []).sentence


def test_a_job_that_takes_too_long_has_failed() -> None:
    late = condition("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    item = job(conditions=[late])
    verdict = judge(item, [pod(item, state=ended(143))])
    assert "DeadlineExceeded" in verdict.sentence
    assert verdict.failure is not None
    assert verdict.failure.container == "web"


@pytest.mark.parametrize("reason", ["ErrImagePull", "CreateContainerConfigError"])
def test_a_job_whose_pod_cannot_start_fails_at_once(reason: str) -> None:
    item = job(active=1)
    assert reason in judge(item, [pod(item, state=waiting(reason))]).sentence


def test_a_job_that_may_have_no_pod_has_failed() -> None:
    item = job()
    verdict = judge(item, [], [event(item, "FailedCreate", "pods is forbidden")])
    assert "pods is forbidden" in verdict.sentence


WEB = cluster.deployment()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (cluster.unscheduled(WEB, "no room"), "waits for a server that has room"),
        (pod(WEB, state=CREATING), "is being made"),
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
        (
            pod(WEB, state=waiting("CrashLoopBackOff"), lastState=ended(2)),
            "ended with exit code 2 again and again",
        ),
    ],
)
def test_a_pod_s_state_is_a_short_sentence(item: Any, words: str) -> None:
    assert describe_pod(item) == words


def test_each_change_of_state_is_told_once() -> None:
    told, seen = describe_changes({}, [pod(WEB, state=CREATING)])
    assert told == ("shop-web-x is being made",)
    told, seen = describe_changes(seen, [pod(WEB, state=CREATING)])
    assert told == ()
    told, seen = describe_changes(seen, [pod(WEB, ready=True)])
    assert told == ("shop-web-x is ready",)
    told, seen = describe_changes(seen, [])
    assert told == ("shop-web-x is gone",)
    assert seen == {}


def test_a_pod_of_which_nothing_is_known_yet_is_no_error() -> None:
    item = {"kind": "Pod", "metadata": {"name": "new"}, "spec": {}}
    assert describe_pod(item) == "is being made"
    web = cluster.deployment()
    del web["status"]
    assert judge(web, [item]).state is State.PROGRESSING


def test_a_pod_that_a_database_is_stuck_with_is_found() -> None:
    database = cluster.live("StatefulSet", "db-shop", "postgres")
    broken = pod(database, state=waiting("ImagePullBackOff"))
    assert find_stuck(database, [broken]) == []
    broken["metadata"]["annotations"]["nvoi.io/template"] = "another"
    assert find_stuck(database, [broken]) == [broken]
    assert find_stuck(database, [broken | {"metadata": GOING | broken["metadata"]}]) == []
    broken["status"]["containerStatuses"][0]["ready"] = True
    assert find_stuck(database, [broken]) == []
    assert find_stuck(database, [pod(WEB, state=CREATING)]) == []
    # All others replace theirs by themselves.
    old = pod(WEB, state=waiting("ImagePullBackOff"))
    old["metadata"]["annotations"]["nvoi.io/template"] = "another"
    assert find_stuck(WEB, [old]) == []


CRASHED = {"state": waiting("CrashLoopBackOff"), "lastState": ended(1)}


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
    database = cluster.live("StatefulSet", "db-shop", "postgres")
    recovering = pod(database, restartCount=1)
    killed = [event(recovering, "Killing", "Container database failed startup probe")]
    beginnings = note_beginnings([recovering], killed)
    assert judge(database, [recovering], killed).state is State.FAILED
    assert has_failed_before(recovering, killed, beginnings)
    assert find_stuck(database, [recovering], killed, beginnings) == []
    # Until it is ended once more.
    assert not has_failed_before(pod(database, restartCount=2), killed, beginnings)
