"""What a deletion does where something cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from nvoi.errors import ClusterSilenceError, ConnectionLostError, HostsError, NvoiError
from nvoi.k3s.nodes import ClusterNode, format_address
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.delete import (
    attempt,
    list_strays,
    remove_cluster,
    remove_volumes,
)
from tests.unit.k3s.servers import build_facts, build_k3s
from tests.unit.targets.cluster.runs import WEB, see


def fail(error: NvoiError) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.fixture
def context() -> ClusterContext:
    return see([], text=WEB)


@pytest.mark.parametrize(
    "error",
    [
        ClusterSilenceError("main", "looking at the cluster", "the connection was refused"),
        ConnectionLostError("main: the connection is lost"),
    ],
)
def test_a_cluster_that_does_not_answer_is_not_waited_for_again(
    context: ClusterContext, error: NvoiError
) -> None:
    done: list[str] = []
    attempt(context, "a", fail(error), in_cluster=True)
    attempt(context, "b", lambda: done.append("b"), in_cluster=True)
    attempt(context, "c", lambda: done.append("c"))
    assert done == ["c"]
    assert context.deletion.failures == ["a", "b"]


def test_what_fails_for_another_reason_is_told_and_the_next_is_tried(
    context: ClusterContext, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [NvoiError("main-1: no"), NvoiError("work-1: no", hint="mend it")]
    done: list[str] = []
    attempt(context, "a", fail(HostsError(errors)), in_cluster=True)
    attempt(context, "b", lambda: done.append("b"), in_cluster=True)
    assert done == ["b"]
    assert [record.getMessage() for record in caplog.records] == [
        "Not removed: a: main-1: no",
        "Not removed: a: work-1: no (mend it)",
    ]


def test_data_stays_while_what_uses_it_may_still_run(context: ClusterContext) -> None:
    attempt(context, "the app's workloads", fail(NvoiError("no")))
    context.request = replace(context.request, delete_volumes=True)
    remove_volumes(context)
    assert context.deletion.failures == ["the app's workloads", "its data"]


def test_an_app_that_could_not_be_removed_keeps_its_marks(context: ClusterContext) -> None:
    context.list_servers()
    (server,) = context.survey.servers
    context.survey.facts[server.name] = build_facts(k3s=build_k3s())
    attempt(context, "the app's workloads", fail(NvoiError("no")))
    context.deletion.is_unreachable = True
    remove_cluster(context)
    assert context.deletion.failures == ["the app's workloads"]


def test_k3s_is_taken_off_nodes_that_no_server_of_the_config_is(context: ClusterContext) -> None:
    def build(name: str, address: str, *, is_master: bool = False) -> ClusterNode:
        noted = {"nvoi.io/address": address} if address else {}
        return ClusterNode(name, is_ready=True, state="", is_master=is_master, annotations=noted)

    context.list_servers()
    (server,) = context.survey.servers
    k3s = build_k3s(config={"node-name": "by-another-way"})
    context.survey.facts = {server.name: build_facts(k3s=k3s)}
    nodes = [
        build("old-master", "root@10.0.0.9:22", is_master=True),
        build("by-another-way", "admin@10.0.0.1:2222"),
        build("away", format_address(server.host)),
        build("nobody-s", ""),
        build("left", "root@10.0.0.2:22"),
    ]
    assert [one.name for one in list_strays(context, nodes)] == ["left"]
