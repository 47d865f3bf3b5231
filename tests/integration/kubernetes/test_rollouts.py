from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.ssh.connections import Connections
from tests.fakes.cluster_state import ClusterState
from tests.integration.ssh.server import Server
from tests.unit.kubernetes.configs import build

WEB = build("web")
SECONDS = 60.0


def roll_out(cluster: Cluster, manifests: Any = WEB, **more: Any) -> Any:
    return cluster.roll_out(manifests.all, **({"seconds": SECONDS} | more))


def fail(cluster: Cluster, manifests: Any = WEB, **more: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        roll_out(cluster, manifests, **more)
    return caught.value


def count_commands(connections: Connections, server: Server) -> int:
    return connections.tallies[server.host].sessions


def get_messages(logged: pytest.LogCaptureFixture, level: str = "INFO") -> list[str]:
    return [record.getMessage() for record in logged.records if record.levelname == level]


def test_a_rollout_that_succeeds_is_one_command_and_is_told_as_it_goes(
    cluster: Cluster,
    state: ClusterState,
    connections: Connections,
    server: Server,
    logged: pytest.LogCaptureFixture,
) -> None:
    found = roll_out(cluster)
    assert {item["kind"] for item in found} == {"Deployment", "Service"}
    assert count_commands(connections, server) == 1
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
