from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import pytest

from nvoi.errors import LockError, RemoteError, ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ownership import Reference
from nvoi.ssh.connections import Connections
from nvoi.waiting import wait_for
from tests.fakes.cluster_state import ClusterState
from tests.integration.kubernetes.conftest import PACE, get_messages
from tests.integration.ssh.relay import Relay
from tests.integration.ssh.server import Server
from tests.unit.kubernetes.configs import TEXTS, build

WEB = build("web")
SECONDS = 60.0


class Watch(logging.Handler):
    """Does something, once, when ``text`` is told: that the first pod runs."""

    def __init__(self, act: Callable[[], object], text: str = "is not ready yet") -> None:
        super().__init__()
        self._text = text
        self._act: Callable[[], object] | None = act

    def __enter__(self) -> Self:
        logging.getLogger("nvoi.kubernetes").setLevel(logging.INFO)
        logging.getLogger("nvoi.kubernetes").addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger("nvoi.kubernetes").removeHandler(self)
        logging.getLogger("nvoi.kubernetes").setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage() and self._act is not None:
            act, self._act = self._act, None
            act()


def roll_out(cluster: Cluster, manifests: Any = WEB, **more: Any) -> Any:
    return cluster.roll_out(manifests.all, **({"seconds": SECONDS} | more))


def fail(cluster: Cluster, manifests: Any = WEB, **more: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        roll_out(cluster, manifests, **more)
    return caught.value


def test_a_rollout_that_succeeds_is_one_command_and_is_told_as_it_goes(
    cluster: Cluster,
    state: ClusterState,
    commands_run: Callable[[], int],
    logged: pytest.LogCaptureFixture,
) -> None:
    found = roll_out(cluster)
    assert {item["kind"] for item in found} == {"Deployment", "Service"}
    assert commands_run() == 1
    told = get_messages(logged)
    assert "shop-web: 2 of 2 pods are ready" in told
    pods = state.names("Pod")
    assert len(pods) == 2
    for pod in pods:
        assert f"{pod} is ready" in told


@pytest.mark.parametrize(
    ("behaviour", "reason", "lines"),
    [
        ("image-pull", "ErrImagePull|ImagePullBackOff", False),
        ("crash", "CrashLoopBackOff: ended with exit code 1", True),
        ("oom", "CrashLoopBackOff: was killed for using more memory than its limit", True),
        ("unschedulable", "Unschedulable: 0/1 nodes are available: 1 Insufficient memory", False),
        ("mount", "FailedMount: MountVolume.SetUp failed", False),
        ("unhealthy", "Unhealthy: Startup probe failed: HTTP probe failed", True),
        ("config-error", "CreateContainerConfigError: secret", False),
        ("deadline", "ProgressDeadlineExceeded: ReplicaSet", False),
        ("forbidden", "FailedCreate: pods is forbidden", False),
    ],
)
def test_each_way_a_pod_fails_ends_the_rollout_at_once(
    cluster: Cluster, state: ClusterState, behaviour: str, reason: str, lines: bool
) -> None:
    state.behave("shop-web", behaviour, logs=["it is broken"])
    error = fail(cluster)
    assert any(one in error.message for one in reason.split("|")), error.message
    assert error.message.startswith("web: ")
    assert error.hint
    assert ("it is broken" in error.output) == lines


def test_a_rollout_that_never_gets_ready_ends_in_time_with_what_was_seen_last(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("shop-web", "stall", logs=["still loading"])
    error = fail(cluster, seconds=1.0)
    assert error.message == "web: not ready after 1 s: shop-web: 0 of 2 new pods are ready"
    assert "still loading" in error.output
    assert any("Readiness probe failed" in line for line in error.output)


def test_an_image_that_can_be_pulled_a_moment_later_is_waited_for(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    refused = "dial tcp 10.43.0.100:5000: connect: connection refused"
    state.behave("shop-web", "image-pull", message=refused, heals=6)
    roll_out(cluster)
    assert any("cannot get its image: " in line for line in get_messages(logged))


@pytest.mark.parametrize(
    "message",
    [
        "failed to sync secret cache: timed out waiting for the condition",
        'failed to reserve container name "web": name "web" is reserved for "1"',
        "context deadline exceeded",
    ],
)
def test_what_a_slow_server_says_of_a_container_is_waited_for(
    cluster: Cluster, state: ClusterState, message: str
) -> None:
    state.behave("shop-web", "config-error", message=message, heals=6)
    roll_out(cluster)


def test_an_image_that_cannot_be_pulled_for_long_is_given_up(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.diagnosis.PULL_SECONDS", 1.0)
    state.behave("shop-web", "image-pull", message="connection refused")
    error = fail(cluster)
    assert "connection refused" in error.message
    assert "servers can reach" in error.hint


def test_a_container_that_ends_after_it_was_ready_ends_the_rollout_with_its_last_lines(
    cluster: Cluster, state: ClusterState
) -> None:
    roll_out(cluster)
    old = state.names("Pod")
    state.behave("web:2", "die", exit=6, logs=["the cache is full"])
    error = fail(cluster, build("web", image="registry.example/web:2"))
    assert "Restarted: it was ready, and then ended with exit code 6" in error.message
    assert "the cache is full" in error.output
    # None of them had to go for it.
    assert set(old) <= set(state.names("Pod"))


def test_one_that_ends_once_the_rollout_is_over_is_seen_by_the_next_look(
    cluster: Cluster, state: ClusterState
) -> None:
    roll_out(cluster)
    references = [Reference("Deployment", "shop-web")]
    cluster.follow(references, SECONDS)
    state.behave("shop-web", "die", looks=0)
    with pytest.raises(ServiceError, match="it was ready, and then"):
        cluster.follow(references, SECONDS)


def test_a_rollout_s_end_is_heard_of_and_not_looked_for(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.rollout.TICK_SECONDS", 10 * SECONDS)
    roll_out(cluster, build("web"), seconds=10 * SECONDS)
    roll_out(cluster, build("web", image="registry.example/web:2"), seconds=10 * SECONDS)
    assert len(state.names("Pod")) >= 2


def test_a_pod_that_takes_long_to_end_is_told(
    cluster: Cluster,
    state: ClusterState,
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soon = partial(wait_for, first_notice=0.1)
    monkeypatch.setattr("nvoi.kubernetes.objects.wait_for", soon)
    database = build("postgres")
    roll_out(cluster, database)
    state.behave("db-shop", "ready", grace=8)
    calls = len(state.calls)
    cluster.delete([Reference("StatefulSet", "db-shop")])
    assert "db-shop-0" not in state.names("Pod")
    told = [line for line in get_messages(logged) if "the end of statefulset/db-shop" in line]
    assert told[0].endswith("db-shop-0 is stopping, which may take 120 s")
    # The pods are read for what is told alone, not at each look.
    assert state.calls[calls:].count(["get", "pods"]) == len(told)


def test_what_is_not_gone_in_time_is_an_error(
    cluster: Cluster, state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.kubernetes.objects.DELETE_SECONDS", 0.0)
    roll_out(cluster)
    state.behave("shop-web", "ready", grace=1000)
    with pytest.raises(RemoteError, match="deployment/shop-web is not gone after 0 s"):
        cluster.delete([Reference("Deployment", "shop-web")])


def test_of_several_services_the_one_that_failed_is_named(
    cluster: Cluster, state: ClusterState
) -> None:
    state.register_node("work-1", labels={"nvoi.io/server-name": "Workers_2"})
    state.behave("redis:7", "crash", logs=["bad password"], exit=3)
    error = fail(cluster, build("groups"))
    assert error.message.startswith("redis: shop-redis-")
    assert "ended with exit code 3" in error.message
    assert "bad password" in error.output


def test_a_workload_that_somebody_deletes_meanwhile_is_missed(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("shop-web", "stall")

    def delete() -> None:
        state.remove("Deployment", "shop-web")

    with Watch(delete):
        error = fail(cluster)
    assert error.message == "shop-web: is gone from the cluster"


def test_a_new_release_replaces_the_old_and_only_news_of_old_pods_are_told(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    roll_out(cluster)
    old = state.names("Pod")
    logged.clear()
    roll_out(cluster, build("web", image="10.43.0.100:5000/nvoi-shop:20270101000000"))
    told = get_messages(logged)
    for pod in old:
        assert f"{pod} is ready" not in told
        assert f"{pod} is gone" in told or f"{pod} is stopping" in told
    images = {pod["spec"]["containers"][0]["image"] for pod in state.objects("Pod")}
    assert "10.43.0.100:5000/nvoi-shop:20270101000000" in images


def test_a_changed_port_leaves_no_moment_without_an_answer(
    cluster: Cluster, state: ClusterState
) -> None:
    roll_out(cluster)
    roll_out(cluster, build(TEXTS["web"].replace("3000", "4000")))
    assert state.find("Service", "shop-web")["spec"]["ports"][0]["port"] == 4000
    assert state.gaps == []


def test_a_cluster_that_does_not_answer_for_a_moment_is_asked_again_and_said_once(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    state.scenario(fail={"get pods": {"times": 3}, "apply": {}})
    roll_out(cluster)
    warnings = get_messages(logged, "WARNING")
    assert len(warnings) == 2
    assert all(text.startswith("The cluster does not answer") for text in warnings)
    assert get_messages(logged).count("The cluster answers again") == 2


def test_a_cluster_that_stays_away_ends_the_rollout_in_time(
    cluster: Cluster, state: ClusterState
) -> None:
    state.scenario(fail={"get": {"times": 1000}})
    error = fail(cluster, seconds=0.5)
    assert "nothing is known of the rollout" in error.message
    assert "was refused" in error.message
    assert "systemctl status k3s" in error.hint


def test_a_manifest_that_the_cluster_refuses_is_told_in_one_line(
    cluster: Cluster, state: ClusterState
) -> None:
    roll_out(cluster)
    changed = copy.deepcopy([*WEB.all])
    for item in changed:
        if item["kind"] == "Deployment":
            labels = {"nvoi.io/other": "x"}
            item["spec"]["selector"]["matchLabels"] = labels  # type: ignore[index]
            item["spec"]["template"]["metadata"]["labels"] |= labels  # type: ignore[index]
    with pytest.raises(RemoteError) as caught:
        cluster.roll_out(changed, seconds=SECONDS)
    end = "applying to the cluster: deployment shop-web: spec.selector: field is immutable"
    assert caught.value.message.endswith(end)
    # What can never be changed is deleted first, with its pods.
    old = set(state.names("Pod"))
    cluster.roll_out(changed, seconds=SECONDS, delete_first=[Reference("Deployment", "shop-web")])
    assert old.isdisjoint(state.names("Pod"))


def test_nothing_is_changed_by_a_run_that_has_lost_its_lock(
    state: ClusterState, server: Server, connections: Connections
) -> None:
    def check() -> None:
        raise LockError("the lock is lost")

    with Cluster(connections, server.host, check, pace=PACE) as cluster:
        with pytest.raises(LockError):
            roll_out(cluster)
        with pytest.raises(LockError):
            cluster.apply(WEB.secrets)
        with pytest.raises(LockError):
            cluster.delete([Reference("Secret", "x")])
        with pytest.raises(LockError):
            cluster.change(Reference("Node", "main-1"), {})
        with pytest.raises(LockError):
            cluster.restore(WEB.all, [])
        assert cluster.get(["secrets"]) == ()
    verbs = {next(word for word in call if not word.startswith("-")) for call in state.calls}
    assert verbs <= {"get"}


def test_a_connection_that_is_cut_in_a_rollout_is_made_again_and_the_rollout_goes_on(
    state: ClusterState,
    relay: Relay,
    connections: Connections,
    logged: pytest.LogCaptureFixture,
) -> None:
    state.behave("shop-web", "stall")

    def cut() -> None:
        relay.cut()
        state.reset()

    with Cluster(connections, relay.host, pace=PACE) as cluster, Watch(cut):
        roll_out(cluster)
    assert len(state.names("Pod")) == 2
    told = "\n".join(get_messages(logged))
    assert told.count("the connection was lost; connecting again") == 1


def test_an_api_that_restarts_in_a_rollout_is_waited_for_and_the_rollout_goes_on(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    state.behave("shop-web", "stall")

    def restart() -> None:
        state.api.stop()
        state.reset()
        threading.Timer(1.0, state.api.start).start()

    with Watch(restart):
        roll_out(cluster)
    assert len(state.names("Pod")) == 2
    (warning,) = get_messages(logged, "WARNING")
    assert "was refused" in warning
    # A watch that was still waiting when the rollout ended leaves it to the next request.
    cluster.get(["pods"])
    assert get_messages(logged).count("The cluster answers again") == 1


def test_a_rollout_that_is_interrupted_ends_at_once_and_leaves_no_shell_behind(
    cluster: Cluster, state: ClusterState, server: Server
) -> None:
    state.behave("shop-web", "stall")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with Watch(interrupt), pytest.raises(KeyboardInterrupt):
        roll_out(cluster)
    number = len(state.calls)
    # The same connection serves the next command.
    assert cluster.get(["pods"])
    assert len(state.calls) == number + 1


def test_a_database_that_crashes_gets_its_new_settings(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("postgres:17", "oom")
    postgres = build("postgres")
    cluster.apply(postgres.secrets)
    for _ in range(2):
        with pytest.raises(ServiceError, match="more memory than its limit"):
            cluster.roll_out(postgres.database, seconds=SECONDS)
    more = copy.deepcopy(postgres.database)
    template: Any = more[-1]["spec"]["template"]  # type: ignore[index]
    template["spec"]["containers"][0]["resources"]["limits"]["memory"] = "2Gi"
    template["metadata"]["annotations"]["nvoi.io/template"] = "more"
    state.behave("postgres:17", "ready")
    cluster.roll_out(more, seconds=SECONDS)
    (pod,) = state.objects("Pod")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2Gi"


def wait_for_back_off(cluster: Cluster, state: ClusterState) -> None:
    """Let the kubelets go on, a step a question, until all pods of the app wait after a crash."""
    while any(
        pod["metadata"]["name"].startswith("shop-web") and "CrashLoopBackOff" not in str(pod)
        for pod in state.objects("Pod")
    ):
        cluster.get(["pods"])


def test_what_crashed_before_a_rollout_is_started_anew_and_judged_by_that(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    cluster.apply(build("postgres").secrets)
    cluster.roll_out(build("postgres").database, seconds=SECONDS)
    state.behave("shop-web", needs="db-shop", logs=["no database"])
    roll_out(cluster)
    # Its database restarts: by the time that is ready again, both are in back-off.
    state.remove("Pod", "db-shop-0")
    wait_for_back_off(cluster, state)
    assert state.find("Pod", "db-shop-0")
    cluster.roll_out(build("postgres").database, seconds=SECONDS)
    logged.clear()
    roll_out(cluster)
    assert "shop-web: 2 of 2 pods are ready" in get_messages(logged)
    state.remove("StatefulSet", "db-shop")
    state.remove("Pod", "db-shop-0")
    # Pods that still ran when it looks first would be told to have ended since they were ready.
    wait_for_back_off(cluster, state)
    error = fail(cluster)
    assert "CrashLoopBackOff" in error.message
    assert "no database" in error.output


def test_what_crashed_while_its_database_was_away_is_started_anew_once_it_is_back(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("shop-web", "crash")
    fail(cluster)
    state.behave("shop-web", "ready")
    crashing = set(state.names("Pod"))
    cluster.get(["pods"])
    cluster.free_crashing("app.kubernetes.io/part-of=other")
    assert not any("deletionTimestamp" in pod["metadata"] for pod in state.objects("Pod"))
    cluster.free_crashing("app.kubernetes.io/part-of=shop")
    cluster.get(["pods"])
    assert crashing.isdisjoint(state.names("Pod"))


def test_a_rollout_that_somebody_has_paused_goes_on(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    roll_out(cluster)
    paused = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop-web"}}
    state.apply({**paused, "spec": {"paused": True}}, "kubectl-rollout")
    roll_out(cluster, build("web", image="registry.example/web:2"))
    told = get_messages(logged, "WARNING")
    assert told == [
        "deployment/shop-web: taking back what others have set: .spec.paused (kubectl-rollout)"
    ]


def test_a_rollout_that_kubernetes_gave_up_earlier_begins_anew(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("shop-web", "deadline")
    assert "ProgressDeadlineExceeded" in fail(cluster).message
    state.behave("shop-web", "stall")
    assert "not ready after 0.5 s" in fail(cluster, seconds=0.5).message
