from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from nvoi.errors import ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.diagnosis import describe_pod
from nvoi.kubernetes.ownership import Reference, read_reference
from tests.fakes.cluster_state import ClusterState
from tests.integration.kubernetes.conftest import get_messages
from tests.integration.kubernetes.test_rollouts import Watch
from tests.unit.kubernetes.configs import build, build_database

OLD = build("postgres")
NEW_IMAGE = "10.43.0.100:5000/nvoi-shop:20270101000000"
NEW = build("postgres", image=NEW_IMAGE, stamp="20270101000000")
SECONDS = 60.0


def list_images(state: ClusterState, workload: str) -> set[str]:
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in state.objects("Pod")
        if pod["metadata"]["name"].startswith(workload)
    }


def fail(cluster: Cluster, manifests: Any) -> None:
    with pytest.raises(ServiceError):
        cluster.roll_out(manifests, seconds=SECONDS)


def test_a_failed_release_is_taken_back_without_another_command(
    cluster: Cluster,
    state: ClusterState,
    commands_run: Callable[[], int],
    logged: pytest.LogCaptureFixture,
) -> None:
    cluster.roll_out(OLD.all, seconds=SECONDS)
    serving = [name for name in state.names("Pod") if name.startswith("shop-web")]
    state.behave("20270101000000", "crash")
    extra = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "extra", "labels": OLD.apps[0]["metadata"]["labels"]},  # type: ignore[index]
        "data": {},
    }
    fail(cluster, [*NEW.all, extra])
    before = commands_run()
    cluster.restore(OLD.kept, [Reference("Secret", "extra"), Reference("Job", "gone")])
    assert commands_run() == before
    assert "extra" not in state.names("Secret")
    assert set(serving) <= set(state.names("Pod"))
    assert list_images(state, "shop-web") == {"10.43.0.100:5000/nvoi-shop:20260102030405"}
    told = get_messages(logged)
    assert "Waiting until the previous release is ready again" in told
    assert "shop-web: 2 of 2 pods are ready" in told


def test_a_database_that_is_stuck_with_a_broken_pod_is_freed(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    cluster.roll_out(OLD.all, seconds=SECONDS)
    broken = copy.deepcopy([*OLD.database])
    for item in broken:
        if item["kind"] == "StatefulSet":
            template: Any = item["spec"]["template"]  # type: ignore[index]
            template["spec"]["containers"][0]["image"] = "postgres:none"
            template["metadata"]["annotations"]["nvoi.io/template"] = "broken"
    state.behave("postgres:none", "image-pull")
    fail(cluster, broken)
    cluster.restore(OLD.database, [])
    assert list_images(state, "db-shop") == {"postgres:17"}
    assert "Deleting what stands in the way: pod/db-shop-0" in get_messages(logged)


def test_what_the_old_release_went_through_meanwhile_is_no_reason_against_it(
    cluster: Cluster, state: ClusterState
) -> None:
    cluster.roll_out(OLD.all, seconds=SECONDS)
    state.behave("shop-web", "die", looks=0)
    cluster.restore(OLD.apps, [])
    restarts = [
        pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in state.objects("Pod")
        if pod["metadata"]["name"].startswith("shop-web")
    ]
    assert 1 in restarts


def test_the_first_release_of_an_app_is_taken_back_to_nothing(
    cluster: Cluster, state: ClusterState
) -> None:
    state.behave("shop-web", "image-pull")
    fail(cluster, OLD.all)
    cluster.restore([], [read_reference(item) for item in OLD.all])
    cluster.get(["pods"])
    cluster.get(["pods"])
    for kind in ("Deployment", "StatefulSet", "Service", "Secret", "Pod", "ReplicaSet"):
        assert state.names(kind) == [], kind


def test_what_was_made_anew_since_is_deleted_before_the_old_comes_back(
    cluster: Cluster, state: ClusterState
) -> None:
    changed = copy.deepcopy([*OLD.apps])
    for item in changed:
        if item["kind"] == "Deployment":
            spec: Any = item["spec"]
            labels = {"nvoi.io/other": "x"}
            spec["selector"]["matchLabels"] = labels
            spec["template"]["metadata"]["labels"] |= labels
    cluster.apply(OLD.secrets)
    cluster.roll_out(changed, seconds=SECONDS)
    cluster.restore(OLD.apps, [])
    selector = state.find("Deployment", "shop-web")["spec"]["selector"]
    assert selector == {"matchLabels": {"app.kubernetes.io/instance": "shop-web"}}


def test_a_release_before_that_does_not_come_back_is_told_once_its_time_is_over(
    cluster: Cluster, state: ClusterState
) -> None:
    cluster.roll_out(OLD.all, seconds=SECONDS)
    state.behave("shop-web", "crash", logs=["the database has moved on"])
    state.remove("Deployment", "shop-web")
    for pod in state.names("Pod"):
        state.remove("Pod", pod)
    # Each pod would have to stay ready for ten seconds, which the time allows for.
    apps = copy.deepcopy([*OLD.apps])
    for item in apps:
        if item["kind"] == "Deployment":
            item["spec"]["minReadySeconds"] = 1  # type: ignore[index]
    with pytest.raises(ServiceError) as caught:
        cluster.restore(apps, [], seconds={"app": 0.5})
    assert "CrashLoopBackOff" in caught.value.message
    assert "the database has moved on" in caught.value.output


def test_what_crashes_in_the_meantime_is_waited_for(cluster: Cluster, state: ClusterState) -> None:
    state.behave("shop-web", "crash", back_off=5)
    cluster.apply(OLD.secrets)

    def mend() -> None:
        state.behave("shop-web", "ready")

    with Watch(mend, "ended with exit code 1 again and again"):
        cluster.restore(OLD.apps, [])
    assert all(describe_pod(pod) == "is ready" for pod in state.objects("Pod"))


def test_what_crashes_until_its_database_is_back_comes_back_after_it(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    state.behave("shop-web", needs="db-shop")
    cluster.roll_out([*OLD.secrets, *OLD.database], seconds=SECONDS)
    cluster.roll_out(OLD.apps, seconds=SECONDS)
    state.behave("postgres:99", "image-pull")
    fail(cluster, build_database("postgres:99"))
    assert not any("is ready" in describe_pod(pod) for pod in state.objects("Pod"))
    logged.clear()
    cluster.restore([*OLD.apps, *OLD.database], [])
    told = get_messages(logged)
    assert told.index("db-shop: 1 of 1 pods are ready") < told.index(
        "shop-web: 2 of 2 pods are ready"
    )
    assert any(one.startswith("Deleting what stands in the way: pod/shop-web-") for one in told)


def test_what_was_not_ready_before_is_not_waited_for(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    for image in ("postgres:17", "postgres:99"):
        state.behave(image, "crash")
        fail(cluster, build_database(image))
    database = read_reference(OLD.database[-1])
    cluster.restore(OLD.database, [], unready={database})
    told = get_messages(logged)
    assert f"Not waited for, as it was not ready before either: {database}" in told
    # It holds what it held all the same.
    cluster.get(["pods"])
    cluster.get(["pods"])
    assert list_images(state, "db-shop") == {"postgres:17"}
