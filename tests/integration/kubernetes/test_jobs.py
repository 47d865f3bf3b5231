from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nvoi.errors import ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Manifest, Reference, read_reference
from nvoi.targets.cluster.release import wait_for_jobs
from nvoi.targets.cluster.state import read_state
from tests.fakes.cluster_state import ClusterState
from tests.integration.kubernetes.conftest import get_messages
from tests.unit.kubernetes.configs import build
from tests.unit.targets.cluster.runs import see

MANIFESTS = build("mounts")
JOB = MANIFESTS.jobs[0]
NAME = "shop-web-pre-run-20260102030405"
SECONDS = 60.0
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "other"}},
    "spec": {
        "containers": [{"name": "other", "image": "nginx"}],
        "terminationGracePeriodSeconds": 0,
    },
}
#: Another app's, in a namespace of its own.
OTHER: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "other", "namespace": "others"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "other"}},
        "template": TEMPLATE,
    },
}


@pytest.fixture(autouse=True)
def secrets(cluster: Cluster) -> None:
    """What the pods start with."""
    cluster.apply(MANIFESTS.secrets)


def fail(cluster: Cluster) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        cluster.roll_out([JOB], seconds=SECONDS)
    return caught.value


def test_a_job_that_has_failed_before_it_is_first_looked_at_has_failed(
    cluster: Cluster, state: ClusterState
) -> None:
    cluster.apply([JOB])
    state.behave(NAME, "unschedulable")
    for _ in range(5):
        cluster.get(["jobs"])
    assert "Unschedulable" in fail(cluster).message


def have_other_stop(
    cluster: Cluster, state: ClusterState, *, grace: int, other: Manifest = OTHER
) -> None:
    """Another app's pods stop, which takes ``grace`` looks."""
    state.behave("nginx", grace=grace)
    cluster.roll_out([other], seconds=SECONDS)
    cluster.delete([read_reference(other)], wait=False)


@pytest.mark.parametrize("waits", [JOB, MANIFESTS.apps[-1]], ids=lambda item: item["kind"])
def test_what_has_no_room_waits_for_that_of_pods_that_stop(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch, waits: Manifest
) -> None:
    # Until they are gone, and for the scheduler's own pause.
    monkeypatch.setattr("nvoi.kubernetes.rollout.ROOM_SECONDS", 2 * SECONDS)
    have_other_stop(cluster, state, grace=8)
    state.behave(read_reference(waits).name, "unschedulable", heals=8)
    cluster.roll_out([waits], seconds=SECONDS)


def test_a_pod_that_does_not_end_leaves_no_room(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.rollout.ROOM_SECONDS", 0.2)
    have_other_stop(cluster, state, grace=10_000)
    state.behave(NAME, "unschedulable")
    assert "Unschedulable" in fail(cluster).message


@pytest.mark.parametrize(
    "message",
    ["node(s) had untolerated taint {dedicated: gpu}", "node(s) were unschedulable"],
)
def test_what_no_server_may_take_does_not_wait_for_pods_that_stop(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.rollout.ROOM_SECONDS", 2 * SECONDS)
    have_other_stop(cluster, state, grace=10_000)
    state.behave(NAME, "unschedulable", message=message)
    told = fail(cluster).message
    assert message in told
    assert "not ready after" not in told


def test_a_pod_that_has_ended_holds_no_room(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a CronJob, of which one is removed every minute."""
    monkeypatch.setattr("nvoi.kubernetes.rollout.ROOM_SECONDS", 2 * SECONDS)
    template: Any = TEMPLATE | {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}
    ended = OTHER | {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template}}
    have_other_stop(cluster, state, grace=10_000, other=ended)
    state.behave(NAME, "unschedulable")
    assert "not ready after" not in fail(cluster).message


def test_the_lines_of_a_job_are_told_while_it_runs_and_all_of_them_before_its_end(
    cluster: Cluster,
    state: ClusterState,
    logged: pytest.LogCaptureFixture,
    commands_run: Callable[[], int],
) -> None:
    lines = [f"migrating {number}" for number in range(5)]
    state.behave(NAME, "ready", looks=5, logs=lines)
    before = commands_run()
    cluster.roll_out([JOB], seconds=SECONDS)
    told = get_messages(logged)
    assert [line for line in told if line.startswith("web: ")] == [f"web: {one}" for one in lines]
    assert told.index(f"{NAME}: done") > told.index("web: migrating 4")
    assert commands_run() == before


def test_a_job_that_fails_says_its_exit_code_and_last_lines(
    cluster: Cluster, state: ClusterState
) -> None:
    lines = [f"step {number}" for number in range(30)] + ["no such table"]
    state.behave(NAME, "job-fail", exit=4, logs=lines)
    error = fail(cluster)
    assert error.message.startswith("pre_run_command of web: ")
    assert "exit code 4" in error.message
    assert error.output[-1] == "no such table"
    assert "step 0" not in error.output
    assert "the previous release keeps running" in error.hint


def test_a_job_that_takes_longer_than_it_may_has_its_last_lines_though_its_pod_is_gone(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave(NAME, "job-late", looks=30, logs=["a lock is held"])
    error = fail(cluster)
    assert "DeadlineExceeded" in error.message
    assert "a lock is held" in error.output


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("image-pull", "ImagePull"),
        ("oom", "OOMKilled"),
        ("forbidden", "pods is forbidden"),
    ],
)
def test_a_job_whose_pod_fails_any_other_way_fails_at_once(
    cluster: Cluster,
    state: ClusterState,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    reason: str,
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.rollout.LAG_SECONDS", 2 * SECONDS)
    state.behave(NAME, behaviour)
    message = fail(cluster).message
    assert reason in message
    assert "not ready after" not in message


def test_a_job_of_a_run_that_was_cut_off_is_waited_for(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    state.behave(NAME, "ready", looks=3, logs=["one", "two", "three"])
    cluster.apply([JOB])
    cluster.follow([Reference("Job", NAME)], seconds=SECONDS)
    told = get_messages(logged)
    assert f"{NAME}: done" in told
    assert "web: three" in told


@pytest.mark.parametrize(("behaviour", "stays"), [("image-pull", False), ("job-fail", True)])
def test_a_job_of_a_run_that_was_cut_off_never_begins_beside_the_next_one_s(
    cluster: Cluster, state: ClusterState, behaviour: str, stays: bool
) -> None:
    state.behave(NAME, behaviour)
    cluster.apply([JOB])
    context = see([])
    context.cluster = cluster
    context.state = read_state(cluster, "shop")
    wait_for_jobs(context)
    # What has ended can be looked at.
    assert (state.find("Job", NAME) is not None) == stays


def test_each_job_of_runs_that_were_cut_off_is_waited_for(
    cluster: Cluster, state: ClusterState
) -> None:
    late = build("mounts", stamp="20260102030406").jobs[0]
    state.behave(NAME, "image-pull")
    state.behave(read_reference(late).name, "ready", looks=60)
    cluster.apply([JOB, late])
    context = see([])
    context.cluster = cluster
    context.state = read_state(cluster, "shop")
    wait_for_jobs(context)
    assert state.names("Job") == [read_reference(late).name]
    assert not [*read_state(cluster, "shop").list_unfinished_jobs()]


def test_a_job_whose_lines_are_cut_off_has_none_told_twice(
    cluster: Cluster,
    state: ClusterState,
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A loaded machine takes longer for the last lines than a run waits for them.
    monkeypatch.setattr("nvoi.kubernetes.rollout.STREAM_SECONDS", SECONDS)
    lines = [f"line {number}" for number in range(6)]
    state.behave(NAME, "ready", looks=8, logs=lines)
    state.scenario(cut_lines=1)
    cluster.roll_out([JOB], seconds=SECONDS)
    told = [line for line in get_messages(logged) if line.startswith("web: ")]
    assert told == [f"web: {line}" for line in lines]
