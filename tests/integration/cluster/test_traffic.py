"""The traffic check, over a real connection to a server that leads to the services."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nvoi.errors import HostsError
from nvoi.providers.provider import Server
from nvoi.ssh.connections import Connections
from nvoi.targets.cluster.context import ClusterContext, Rollout
from nvoi.targets.cluster.traffic import run
from tests.integration.cluster.conftest import StartMachine
from tests.integration.cluster.visitors import Visitors

NAMES = ("shop-web", "shop-admin")
#: Seconds that one waits for the other to be asked too.
PATIENCE = 10.0


@pytest.fixture
def visitors() -> Iterator[Visitors]:
    """Those of both services; the one's are answered only while the other's wait as well."""
    barrier = threading.Barrier(len(NAMES))
    made = Visitors(lambda: barrier.wait(PATIENCE))
    yield made
    made.close()


@pytest.fixture
def context(
    start_machine: StartMachine, connections: Connections, visitors: Visitors
) -> ClusterContext:
    """A run that has rolled two services out."""
    master = Server("main-1", "main", start_machine().host, is_master=True)
    probe = {"httpGet": {"path": "/up", "port": 3000}, "timeoutSeconds": PATIENCE}
    port = {"port": visitors.port, "targetPort": 3000}
    container = {"readinessProbe": probe}
    deployment: dict[str, Any] = {"template": {"spec": {"containers": [container]}}}
    made = SimpleNamespace(
        master=master,
        connections=connections,
        rollout=Rollout(
            "20260102030405",
            services=[
                {"metadata": {"name": name}, "spec": {"clusterIP": "127.0.0.1", "ports": [port]}}
                for name in NAMES
            ],
            apps=tuple(
                {"kind": "Deployment", "metadata": {"name": name}, "spec": deployment}
                for name in NAMES
            ),
        ),
    )
    return cast("ClusterContext", made)


def test_all_services_are_asked_at_once(
    context: ClusterContext, logged: pytest.LogCaptureFixture
) -> None:
    run(context)
    assert all(f"{name} answers" in logged.text for name in NAMES)


def test_all_that_do_not_answer_well_are_told(context: ClusterContext, visitors: Visitors) -> None:
    visitors.status = 500
    clock = itertools.count(step=60)
    with pytest.raises(HostsError) as caught:
        run(context, clock=lambda: float(next(clock)))
    assert all(f"{name} does not answer" in str(caught.value) for name in NAMES)
    assert "it answered 500" in str(caught.value)
