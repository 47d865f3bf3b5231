from __future__ import annotations

from collections.abc import Callable

import pytest  # noqa: TC002 - pytest reads it

from nvoi.kubernetes.cluster import Cluster
from nvoi.targets.cluster.prepare import wait_for_names
from tests.fakes.cluster_state import ClusterState
from tests.integration.kubernetes.conftest import get_messages

IMAGE = "rancher/mirrored-coredns-coredns:1.12.3"
LABELS = {"k8s-app": "kube-dns"}
COREDNS: dict[str, object] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "coredns", "namespace": "kube-system", "labels": LABELS},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "containers": [
                    {
                        "name": "coredns",
                        "image": IMAGE,
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}},
                    }
                ]
            },
        },
    },
}
WAITING = "Waiting until names are answered in the cluster"


def wait(cluster: Cluster) -> None:
    wait_for_names(cluster, cluster.get(["deployments"], namespace="kube-system"))


def test_a_new_cluster_is_waited_for_until_it_answers_names_and_then_asked_once(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    cluster.apply([COREDNS])
    wait(cluster)
    assert state.find("Deployment", "coredns", "kube-system")["status"]["readyReplicas"] == 1
    assert WAITING in get_messages(logged)
    assert not get_messages(logged, "WARNING")
    logged.clear()
    calls = len(state.calls)
    wait(cluster)
    # The watches of the first time may end, and be asked for again, a moment later.
    assert [call for call in state.calls[calls:] if call[0] != "watch"] == [["get", "deployments"]]
    assert WAITING not in get_messages(logged)


def test_one_without_a_name_service_of_k3s_is_no_reason_to_wait(
    cluster: Cluster, commands_run: Callable[[], int], logged: pytest.LogCaptureFixture
) -> None:
    wait(cluster)
    assert commands_run() == 1
    assert WAITING not in get_messages(logged)
    assert not get_messages(logged, "WARNING")


def test_why_names_are_not_answered_is_a_warning_at_once(
    cluster: Cluster, state: ClusterState, logged: pytest.LogCaptureFixture
) -> None:
    cluster.apply([COREDNS])
    state.behave(IMAGE, "image-pull")
    wait(cluster)
    (warning,) = get_messages(logged, "WARNING")
    assert warning.startswith("The cluster's DNS does not answer")
    assert "Pull" in warning
