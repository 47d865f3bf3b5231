"""What is seen of rented servers before any is changed: whose they are, and what lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from nvoi.errors import NvoiError, UsageError
from nvoi.invocation import set_branch
from nvoi.operation import Request
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.delete import finish, plan_end, reach_servers
from nvoi.targets.cluster.servers import K3S, SERVERS
from tests.unit.k3s.servers import build_facts, build_k3s
from tests.unit.targets.cluster.rented import Account, build_server
from tests.unit.targets.cluster.runs import WEB, see

FOUND = ("network nvoi-shop-network", "server shop-main-1")


class Strict(Account):
    """One that is to be left as it is."""

    def ensure_servers(self, *_: object) -> tuple[()]:
        raise AssertionError("it was changed")

    keep_host_keys = ensure_servers  # type: ignore[assignment]
    delete_servers = ensure_servers  # type: ignore[assignment]


class ReachedError(Exception):
    """The run has gone on to what changes something."""


class Open(Account):
    def ensure_servers(self, *_: object) -> tuple[()]:
        raise ReachedError


def rent(account: Account, text: str = WEB, **given: object) -> ClusterContext:
    context = see([], text=text)
    request: Request = replace(context.request, **given)  # type: ignore[arg-type]
    context.request, context.provider = request, account
    return context


def test_a_deploy_ends_with_a_list_of_what_the_gem_has_rented_before_it_changes_any() -> None:
    context = rent(Strict(unlabelled=FOUND))
    with pytest.raises(UsageError, match="network nvoi-shop-network, server shop-main-1") as told:
        SERVERS.run(context)
    assert "`nvoi deploy --adopt` takes them over" in told.value.hint
    # As a dry run says, behind its list.
    plan = iter(SERVERS.plan(context))
    assert [next(plan), next(plan)][1] == "makes server shop-main-1"
    with pytest.raises(UsageError, match="server shop-main-1"):
        next(plan)
    assert len([*SERVERS.plan(rent(Strict(unlabelled=FOUND), adopt=True))]) == 3


def test_what_the_gem_has_rented_is_taken_over_once_it_was_shown_and_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    asked: list[str] = []

    def answer(question: str) -> bool:
        asked.append(question)
        assert caplog.messages[-2:] == [f"  {one}" for one in FOUND]
        return len(asked) > 1

    with pytest.raises(NvoiError, match="nothing was taken over, and nothing changed"):
        SERVERS.run(rent(Strict(unlabelled=FOUND), adopt=True, confirm=answer))
    with pytest.raises(ReachedError):
        SERVERS.run(rent(Open(unlabelled=FOUND), adopt=True, confirm=answer))
    assert len(asked) == 2
    # Nothing is asked of what is nvoi's already.
    with pytest.raises(ReachedError):
        SERVERS.run(rent(Open(), adopt=True, confirm=answer))
    assert len(asked) == 2


@pytest.fixture
def branch() -> Iterator[None]:
    set_branch("topic")
    yield
    set_branch(None)


@pytest.mark.usefixtures("branch")
def test_a_command_that_a_hint_names_is_that_of_the_run_s_branch() -> None:
    with pytest.raises(UsageError) as told:
        SERVERS.run(rent(Strict(unlabelled=FOUND)))
    assert "`nvoi deploy --adopt --branch topic`" in told.value.hint
    context = rent(Account(kept=("shop-main-data",)))
    finish(context)
    assert "`nvoi delete --delete-volumes --branch topic` gives it back" in context.remark
    with pytest.raises(NvoiError) as missing:
        _ = context.master
    assert missing.value.hint == "`nvoi deploy --branch topic` makes what it lacks"


def test_a_delete_leaves_the_servers_of_the_gem_and_all_that_is_on_them() -> None:
    server = replace(build_server("shop-main-1", is_master=True), is_labelled=False)
    context = rent(Strict(servers=(server,), unlabelled=FOUND))
    with pytest.raises(UsageError, match="no label says whose these servers are: shop-main-1"):
        reach_servers(context)
    with pytest.raises(UsageError, match="shop-main-1"):
        [*plan_end(context)]


DATABASE = """
database:
  servers: [main]
  adapter: postgres
  secrets: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}
"""
WORKER = build_server("shop-work-1")


def test_a_server_of_nobody_is_not_told_as_one_that_the_master_left_behind() -> None:
    servers = (replace(WORKER, is_labelled=False),)
    account = Strict(servers=servers, unlabelled=("server shop-work-1",))
    context = rent(account, text=WEB + DATABASE)
    with pytest.raises(UsageError, match="no label says whose they are: server shop-work-1"):
        SERVERS.run(context)
    with pytest.raises(UsageError, match="no label says whose they are"):
        [*SERVERS.plan(context)]


def test_data_that_went_with_a_master_is_told_before_anything_is_made() -> None:
    context = rent(Strict(servers=(WORKER,)), text=WEB + DATABASE)
    with pytest.raises(UsageError, match=r"the master is gone, .* shop-work-1 .* statefulset/db-s"):
        SERVERS.run(context)
    with pytest.raises(UsageError, match="the master is gone"):
        [*SERVERS.plan(context)]
    for account, text, accepted in (
        (Open(servers=(WORKER,)), WEB + DATABASE, True),
        (Open(servers=(WORKER,)), WEB, False),
        # A run that was cut off had made no master yet.
        (Open(servers=(replace(WORKER, is_new=True),)), WEB + DATABASE, False),
        (Open(), WEB + DATABASE, False),
    ):
        with pytest.raises(ReachedError):
            SERVERS.run(rent(account, text=text, accept_data_move=accepted))


def test_data_that_went_with_a_master_s_k3s_is_told_before_its_workers_are_set_up_anew() -> None:
    context = rent(Strict(), text=WEB + DATABASE)
    master = build_server("shop-main-1", is_master=True)
    context.survey.servers = (master, replace(WORKER, is_rented=True))
    context.survey.facts = {
        master.name: build_facts(k3s=build_k3s(None)),
        WORKER.name: build_facts(2, k3s=build_k3s("agent")),
    }
    with pytest.raises(UsageError, match=r"that shop-work-1 belonged to .* statefulset/db-shop"):
        K3S.run(context)
