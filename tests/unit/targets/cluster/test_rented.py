"""Rented servers: whose they are before any is changed, what lacks, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nvoi.errors import (
    ClusterSilenceError,
    ConfigError,
    ConnectionFailedError,
    LockError,
    NvoiError,
    RequestError,
    UsageError,
)
from nvoi.invocation import set_branch
from nvoi.providers import Server
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.delete import (
    WORKLOADS,
    finish,
    plan_end,
    plan_servers,
    reach_servers,
    remove_domains,
    remove_workloads,
    take_lock,
)
from nvoi.targets.cluster.lock_file import build_refusal
from nvoi.targets.cluster.servers import K3S, SERVERS
from nvoi.targets.cluster.teardown import check_apps_and_claims
from tests.unit.k3s.servers import build_facts, build_k3s
from tests.unit.targets.cluster.rented import Account, build_server, rent
from tests.unit.targets.cluster.runs import DATABASE, WEB, LiveCluster, connect

LOCAL_DISK = "persistentvolumeclaim/data-db-shop-0"
FOUND = ("network nvoi-shop-network", "server shop-main-1")


class ReachedError(Exception):
    """The run has gone on to what changes something."""


class Closed(Account):
    """One that is to be left as it is."""

    def ensure_servers(self, *_: object) -> tuple[()]:
        raise ReachedError

    keep_host_keys = ensure_servers  # type: ignore[assignment]
    delete_servers = ensure_servers  # type: ignore[assignment]


def open_run(*servers: Server, **given: Any) -> ClusterContext:
    return rent(*servers, account=Closed, **given)[0]


def test_a_deploy_ends_with_a_list_of_what_the_gem_has_rented_before_it_changes_any() -> None:
    context = open_run(unlabelled=FOUND)
    with pytest.raises(UsageError, match="network nvoi-shop-network, server shop-main-1") as told:
        SERVERS.run(context)
    assert "`nvoi deploy --adopt` takes them over" in told.value.hint
    # As a dry run says, behind its list.
    plan = iter(SERVERS.plan(context))
    assert [next(plan), next(plan)][1] == "makes server shop-main-1"
    with pytest.raises(UsageError, match="server shop-main-1"):
        next(plan)
    assert len([*SERVERS.plan(open_run(unlabelled=FOUND, adopt=True))]) == 3


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
        SERVERS.run(open_run(unlabelled=FOUND, adopt=True, confirm=answer))
    with pytest.raises(ReachedError):
        SERVERS.run(open_run(unlabelled=FOUND, adopt=True, confirm=answer))
    assert len(asked) == 2
    # Nothing is asked of what is nvoi's already.
    with pytest.raises(ReachedError):
        SERVERS.run(open_run(adopt=True, confirm=answer))
    assert len(asked) == 2


@pytest.fixture
def branch() -> Iterator[None]:
    set_branch("topic")
    yield
    set_branch(None)


@pytest.mark.usefixtures("branch")
def test_a_command_that_a_hint_names_is_that_of_the_run_s_branch() -> None:
    with pytest.raises(UsageError) as told:
        SERVERS.run(open_run(unlabelled=FOUND))
    assert "`nvoi deploy --adopt --branch topic`" in told.value.hint
    context, _ = rent(kept=("shop-main-data",))
    finish(context)
    assert "`nvoi delete --delete-volumes --branch topic` gives it back" in context.remark
    with pytest.raises(NvoiError) as missing:
        _ = context.master
    assert missing.value.hint == "`nvoi deploy --branch topic` makes what it lacks"


def test_a_delete_leaves_the_servers_of_the_gem_and_all_that_is_on_them() -> None:
    server = replace(build_server("shop-main-1", is_master=True), is_labelled=False)
    context = open_run(server, unlabelled=FOUND)
    with pytest.raises(UsageError, match="no label says whose these servers are: shop-main-1"):
        reach_servers(context)
    with pytest.raises(UsageError, match="shop-main-1"):
        [*plan_end(context)]


WORKER = build_server("shop-work-1")


def test_a_server_of_nobody_is_not_told_as_one_that_the_master_left_behind() -> None:
    server, unlabelled = replace(WORKER, is_labelled=False), ("server shop-work-1",)
    context = open_run(server, unlabelled=unlabelled, text=WEB + DATABASE)
    with pytest.raises(UsageError, match="no label says whose they are: server shop-work-1"):
        SERVERS.run(context)
    with pytest.raises(UsageError, match="no label says whose they are"):
        [*SERVERS.plan(context)]


def test_data_that_went_with_a_master_is_told_before_anything_is_made() -> None:
    context = open_run(WORKER, text=WEB + DATABASE)
    with pytest.raises(UsageError, match=r"the master is gone, .* shop-work-1 .* statefulset/db-s"):
        SERVERS.run(context)
    with pytest.raises(UsageError, match="the master is gone"):
        [*SERVERS.plan(context)]
    for servers, text, accepted in (
        ([WORKER], WEB + DATABASE, True),
        ([WORKER], WEB, False),
        # A run that was cut off had made no master yet.
        ([replace(WORKER, is_new=True)], WEB + DATABASE, False),
        ([], WEB + DATABASE, False),
    ):
        with pytest.raises(ReachedError):
            SERVERS.run(open_run(*servers, text=text, accept_data_move=accepted))


def test_data_that_went_with_a_master_s_k3s_is_told_before_its_workers_are_set_up_anew() -> None:
    context = open_run(text=WEB + DATABASE)
    master = build_server("shop-main-1", is_master=True)
    context.survey.servers = (master, replace(WORKER, is_rented=True))
    context.survey.facts = {
        master.name: build_facts(k3s=build_k3s(None)),
        WORKER.name: build_facts(2, k3s=build_k3s("agent")),
    }
    with pytest.raises(UsageError, match=r"that shop-work-1 belonged to .* statefulset/db-shop"):
        K3S.run(context)


# What goes with them, and what is said of it


class Silence:
    """Connections to servers of which none answers."""

    def run(self, *_: object, **__: object) -> None:
        raise ConnectionFailedError("it does not answer")


MASTER = build_server("shop-main-1", is_master=True)


def begin(text: str = WEB, **given: Any) -> tuple[ClusterContext, Account]:
    """The context of an app whose one server was rented."""
    context, account = rent(MASTER, text=text, **given)
    context.survey.servers = account.servers
    return context, account


def build_cluster(apps: Sequence[str] = ("shop",), claims: Sequence[str] = ()) -> LiveCluster:
    """A cluster with a node, the marks of apps on it, and claims of disks."""
    marks = {f"nvoi.io/app.{app}": "true" for app in apps}
    return LiveCluster(
        nodes=[{"metadata": {"name": "shop-main-1", "labels": marks}}],
        persistentvolumeclaims=[
            {"kind": "PersistentVolumeClaim", "metadata": {"name": name}} for name in claims
        ],
    )


def reach(context: ClusterContext, cluster: LiveCluster | None) -> None:
    """Have its master answer, with a cluster or without."""
    k3s = build_k3s(None if cluster is None else "server")
    context.survey.facts["shop-main-1"] = build_facts(k3s=k3s)
    connect(context, cluster)


def allow(context: ClusterContext) -> None:
    context.request = replace(context.request, delete_volumes=True)


def test_data_on_the_servers_own_disks_is_not_given_back_unasked() -> None:
    context, _ = begin(WEB + DATABASE, with_cluster=True)
    # The cluster cannot be asked: the config says it.
    with pytest.raises(UsageError, match=r"statefulset/db-shop"):
        check_apps_and_claims(context)
    context.survey.servers, context.deletion.is_known = (), False
    with pytest.raises(UsageError, match=r"statefulset/db-shop"):
        check_apps_and_claims(context)
    context, _ = begin(WEB + DATABASE)
    reach(context, build_cluster(claims=["data-db-shop-0"]))
    with pytest.raises(UsageError, match=LOCAL_DISK) as caught:
        check_apps_and_claims(context)
    assert "add --delete-volumes" in caught.value.hint
    allow(context)
    check_apps_and_claims(context)


def test_what_never_came_to_have_data_goes_unasked() -> None:
    context, _ = begin(WEB + DATABASE)
    for cluster in (None, build_cluster()):
        reach(context, cluster)
        check_apps_and_claims(context)
    context.survey.servers = ()
    check_apps_and_claims(context)


def test_servers_that_run_other_apps_too_are_not_given_back() -> None:
    context, _ = begin(with_cluster=True)
    reach(context, build_cluster(apps=["shop", "blog"]))
    allow(context)
    with pytest.raises(UsageError, match="the servers also run blog"):
        check_apps_and_claims(context)


class Dumb(LiveCluster):
    """A cluster that does not answer."""

    def get(self, kinds: Sequence[object], **_: object) -> tuple[Any, ...]:
        self.looks += map(str, kinds)
        raise ClusterSilenceError("shop-main-1", "looking at the cluster", "it was refused")


@pytest.mark.parametrize(
    ("is_reached", "reason", "remedy"),
    [
        (True, r"the cluster on shop-main-1 is not known: .*it was refused", "restart k3s"),
        (False, r"use shop-main-1 is not known", "start what is down at the cloud"),
    ],
)
def test_servers_of_which_nobody_says_what_they_run_are_given_back_only_where_that_is_told(
    caplog: pytest.LogCaptureFixture, *, is_reached: bool, reason: str, remedy: str
) -> None:
    context, _ = begin()
    cluster = Dumb()
    if is_reached:
        reach(context, cluster)
    allow(context)
    with pytest.raises(UsageError, match=reason) as caught:
        check_apps_and_claims(context)
    assert remedy in caught.value.hint
    assert "`nvoi delete --cluster` gives all of it back" in caught.value.hint
    context.request = replace(context.request, with_cluster=True)
    check_apps_and_claims(context)
    assert "given back all the same" in caplog.text
    # A cluster that did not answer is not waited for again.
    cluster.looks.clear()
    remove_workloads(context)
    assert cluster.looks == []
    assert context.deletion.failures == [WORKLOADS] * is_reached


def test_each_cluster_on_the_servers_is_asked_whichever_of_them_is_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The config names another group as the master by now, and the one before still runs k3s."""
    old = build_server("shop-old-1")
    for silent, master, other in (
        ("shop-main-1", Dumb(), build_cluster(apps=["shop", "blog"])),
        ("shop-old-1", build_cluster(apps=["shop", "blog"]), Dumb()),
    ):
        context, _ = begin(WEB + DATABASE)
        reach(context, master)
        context.survey.servers = (MASTER, old)
        context.survey.facts[old.name] = build_facts(k3s=build_k3s("server"))
        context.__dict__["connections"] = Silence()
        beside = nullcontext(other)
        monkeypatch.setattr("nvoi.targets.cluster.teardown.Cluster", lambda *_, it=beside: it)
        allow(context)
        with pytest.raises(UsageError, match=f"the cluster on {silent} is not known"):
            check_apps_and_claims(context)
        context.request = replace(context.request, with_cluster=True)
        with pytest.raises(UsageError, match="the servers also run blog"):
            check_apps_and_claims(context)
        assert context.deletion.is_unreachable is (silent == MASTER.name)
        assert f"the cluster on {silent} is not known" in caplog.text
    # What one of them has, and what the config says of the other, is told together, each once.
    claims = build_cluster(claims=["data-db-shop-0"])
    monkeypatch.setattr("nvoi.targets.cluster.teardown.Cluster", lambda *_: nullcontext(Dumb()))
    connect(context, claims)
    context.request = replace(context.request, delete_volumes=False)
    with pytest.raises(UsageError, match=rf"with them: {LOCAL_DISK}, statefulset/db-shop \("):
        check_apps_and_claims(context)


def test_a_server_on_which_nothing_was_ever_set_up_is_given_back_unasked() -> None:
    context, _ = begin()
    context.survey.servers = (replace(MASTER, is_new=True),)
    check_apps_and_claims(context)


def test_a_server_that_can_have_no_lock_is_given_back_and_one_that_another_run_locks_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context, _ = begin()
    reach(context, build_cluster())
    errors = [build_refusal(MASTER.host, "/lock", "no space left"), LockError("another run has it")]

    def hold(_: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr("nvoi.targets.cluster.delete.hold_lock", hold)
    take_lock(context)
    assert "no space left" in caplog.text
    with pytest.raises(LockError):
        take_lock(context)


def test_another_app_that_came_while_the_lock_was_waited_for_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, _ = begin()
    reach(context, build_cluster())
    check_apps_and_claims(context)

    def hold(_: object) -> None:
        connect(context, build_cluster(apps=["shop", "blog"]))
        context.lock = SimpleNamespace(rival="blog")  # type: ignore[assignment]

    monkeypatch.setattr("nvoi.targets.cluster.delete.hold_lock", hold)
    with pytest.raises(UsageError, match="the servers also run blog"):
        take_lock(context)


def test_the_last_line_says_whether_anything_goes_on_to_cost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    context, account = begin(kept=("shop-main-a", "shop-main-b"))
    # What was not removed in the cluster went with the servers.
    context.deletion.failures.append(WORKLOADS)
    finish(context)
    assert account.deleted == ["all"]
    assert context.remark.startswith("2 volumes left, which cost money: `nvoi delete --del")
    assert "Its data stays: volume shop-main-b" in caplog.messages
    allow(context)
    finish(context)
    assert context.remark == "0 billable resources left"


class Leading:
    """Domains that note when they were taken away."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def disconnect(self, *_: object) -> None:
        self._account.deleted.append("domains")


@pytest.mark.parametrize("domain", [", domain: example.com", ""])
def test_what_leads_to_servers_that_do_not_answer_goes_after_them(domain: str) -> None:
    # A tunnel that is still served cannot be removed, nor one of a name that has left the config.
    section = "domain_provider: {ingress: {email: ops@example.com}}\n"
    context, account = begin(section + WEB.replace("port: 3000", f"port: 3000{domain}"))
    context.domains = Leading(account)  # type: ignore[assignment]
    remove_domains(context)
    finish(context)
    assert account.deleted == ["all", "domains"]
    reach(context, build_cluster())
    remove_domains(context)
    finish(context)
    assert account.deleted == ["all", "domains", "domains", "all"]


def test_what_could_not_be_given_back_is_named_and_is_no_success() -> None:
    context, account = begin()
    account.error = NvoiError("left at Hetzner: server shop-main-1\nit is locked")
    with pytest.raises(NvoiError, match="left at Hetzner: server shop-main-1") as caught:
        finish(context)
    assert caught.value.exit_code == 1
    assert context.remark == ""


def test_a_provider_that_is_down_does_not_end_a_deletion_before_its_last_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context, account = begin()
    context.survey.servers = ()
    account.error = RequestError("Hetzner: did not answer", is_silence=True)
    reach_servers(context)
    assert "looked for once more at the end" in caplog.text
    # It answers by then, and has servers of which nobody was asked what else they run.
    account.error, context.__dict__["connections"] = None, Silence()
    with pytest.raises(NvoiError, match=r"rented for it \(which apps use shop-main-1 is not known"):
        finish(context)
    assert account.deleted == []
    account.servers, context.deletion.is_known = (), False
    context.survey.servers, context.deletion.failures = (), []
    finish(context)
    assert account.deleted == ["all"]
    # But one whose token is wrong does.
    account.error = ConfigError("config", [])
    with pytest.raises(ConfigError):
        reach_servers(context)


def test_a_run_does_not_ask_the_provider_for_the_sake_of_a_heading() -> None:
    context, account = begin()
    for plan in (SERVERS.plan, plan_servers, plan_end):
        assert next(iter(plan(context)))
    assert account.asked == 0
    assert "makes server shop-main-1" in [*SERVERS.plan(context)]
    assert "deletes server shop-main-1" in [*plan_end(context)]


def test_data_stays_where_the_config_names_another_master() -> None:
    # Its group was renamed, and the servers of the old one have the cluster.
    context, account = begin()
    account.servers, account.surplus = (), (build_server("shop-old-1", disk="shop-old-data"),)
    context.__dict__["connections"] = Silence()
    with pytest.raises(UsageError, match="data of its own may be on shop-old-1") as caught:
        reach_servers(context)
    assert "name its group as master again" in caught.value.hint
    assert [server.name for server in context.survey.servers] == ["shop-old-1"]
    with pytest.raises(UsageError, match="may be on shop-old-1"):
        [*plan_end(context)]
    allow(context)
    with pytest.raises(UsageError, match="which apps use shop-old-1 is not known"):
        reach_servers(context)
    context.request = replace(context.request, with_cluster=True)
    reach_servers(context)
    assert "deletes server shop-main-1" in [*plan_end(context)]
