"""How long the traffic check goes on, in a time of its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nvoi.command import Result
from nvoi.config.schema import AppService
from nvoi.errors import HostsError, RemoteTimeoutError, ServiceError
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.targets.cluster import traffic
from nvoi.targets.cluster.context import ClusterContext, Rollout
from tests.integration.targets.cluster.app_server import AppServer
from tests.unit.targets.cluster.runs import SERVERS, STAMPS, build
from tests.waiting import PATIENCE

WORKER = SERVERS + (
    "app: {worker: {servers: [main], "
    "healthcheck: {type: exec, command: 'test $A', interval: %d, timeout: %d}}}"
)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="nvoi")
    return caplog


class TimedCluster:
    """Runs commands in containers, each of which takes some of the test's time."""

    def __init__(self, answer: Callable[[int], int], seconds: float) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self._answer = answer
        self._seconds = seconds

    def execute(self, target: str, words: Sequence[str], *, seconds: float) -> Result:
        self.asked.append(f"{target}: {words[-1]}")
        self.now += min(self._seconds, seconds)
        if self._seconds > seconds:
            raise RemoteTimeoutError("main", "kubectl exec", "ended after its time-out")
        return Result(self._answer(len(self.asked)), "", (), self._seconds)

    def follow(
        self,
        references: Sequence[Reference],
        seconds: float,
        *,
        selector: str,
        is_quiet: bool = False,
    ) -> None:
        assert "app.kubernetes.io/part-of=shop" in selector
        # A pod that is ready again counts once it has stayed so.
        assert seconds == traffic.STEADY_SECONDS + AppService.min_ready
        self.asked.append(f"follow {', '.join(map(str, references))}")

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(cluster: TimedCluster, *, interval: int = 10, timeout: int = 5) -> None:
    """The traffic check of a worker with that healthcheck."""
    apps = build(WORKER % (interval, timeout), STAMPS[0]).apps
    rollout = Rollout(STAMPS[0], apps=apps, applied=[*apps], ready={*map(read_reference, apps)})
    application = SimpleNamespace(name="shop")
    context: Any = SimpleNamespace(cluster=cluster, rollout=rollout, application=application)
    traffic.run(cast("ClusterContext", context), clock=lambda: cluster.now, sleep=cluster.sleep)


@pytest.mark.parametrize("seconds", [0.1, 3.0, 16.0])
def test_a_check_may_be_as_slow_as_the_healthcheck_says(seconds: float) -> None:
    cluster = TimedCluster(lambda _: 0, seconds)
    run(cluster, timeout=20)
    # And then whether all that was rolled out still runs.
    assert cluster.asked == [
        *["deployment/shop-worker: test $A"] * 3,
        "follow deployment/shop-worker",
    ]


def test_good_answers_that_have_begun_in_time_are_waited_for() -> None:
    # The third one begins after 2.4 s more than the 15 s that there are.
    cluster = TimedCluster(lambda number: number <= 2, 5.0)
    run(cluster, interval=1, timeout=1)
    assert len(cluster.asked) == 5 + 1


def test_bad_answers_are_asked_again_for_three_intervals_and_timeouts() -> None:
    cluster = TimedCluster(lambda _: 3, 4.0)
    with pytest.raises(ServiceError, match="its healthcheck ended with exit code 3"):
        run(cluster, interval=30, timeout=20)
    assert 3 * (30 + 20) <= cluster.now < 3 * (30 + 20) + 10


def test_a_check_that_does_not_end_is_a_bad_answer() -> None:
    cluster = TimedCluster(lambda _: 0, 1000.0)
    with pytest.raises(ServiceError, match="has not ended after its 5 s"):
        run(cluster)
    assert cluster.now < 3 * (10 + 5) + 2 * (5 + traffic.EXECUTE_SECONDS)


def check_traffic(text: str, services: Mapping[str, int], **more: Any) -> None:
    """The traffic check of an app whose Services are at these ports of this machine."""
    context: Any = SimpleNamespace(
        connections=SimpleNamespace(
            reaches=lambda *_: True, forward=lambda _host, _address, port: nullcontext(port)
        ),
        master=SimpleNamespace(host=None),
        rollout=Rollout(
            STAMPS[0],
            apps=build(SERVERS + text, STAMPS[0]).apps,
            services=[
                {
                    "metadata": {"name": name},
                    "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port, "targetPort": 80}]},
                }
                for name, port in services.items()
            ],
        ),
    )
    traffic.run(cast("ClusterContext", context), **{"sleep": lambda _: None, **more})


@pytest.mark.parametrize(("check", "is_told"), [("", True), (", healthcheck: {type: tcp}", False)])
def test_that_only_the_port_was_looked_at_is_told_where_there_is_no_healthcheck(
    logged: pytest.LogCaptureFixture, check: str, is_told: bool
) -> None:
    check_traffic(f"app: {{web: {{servers: [main], port: 3000{check}}}}}", {"shop-web": 3000})
    limit = "; only its port was looked at, as it has no healthcheck" if is_told else ""
    assert logged.messages == [f"shop-web answers at port 3000{limit}"]


def test_all_services_are_asked_at_once_and_all_that_do_not_answer_well_are_told(
    logged: pytest.LogCaptureFixture,
) -> None:
    service = "{servers: [main], port: 80, healthcheck: {path: /up, timeout: 60}}"
    text = f"app: {{web: {service}, admin: {service}}}"
    # Those of the one are answered only while the other's wait as well.
    barrier = threading.Barrier(2)
    app_server = AppServer(lambda: barrier.wait(PATIENCE))
    services = dict.fromkeys(("shop-web", "shop-admin"), app_server.port)
    with closing(app_server):
        check_traffic(text, services)
        assert all(f"{name} answers at /up" in logged.text for name in services)
        app_server.status = 500
        clock = itertools.count(step=1000)
        with pytest.raises(HostsError) as caught:
            check_traffic(text, services, clock=lambda: float(next(clock)))
    assert all(f"{name} does not answer" in str(caught.value) for name in services)
    assert "it answered 500" in str(caught.value)
