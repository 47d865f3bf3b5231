"""What goes with rented servers, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import ConfigError, ConnectionFailedError, NvoiError, RequestError, UsageError
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.delete import (
    WORKLOADS,
    finish,
    plan_end,
    plan_servers,
    reach_servers,
    remove_domains,
)
from nvoi.targets.cluster.lease import check_data
from nvoi.targets.cluster.servers import SERVERS
from tests.unit.k3s.servers import Answers, build_facts, build_k3s
from tests.unit.targets.cluster.rented import Account, build_server
from tests.unit.targets.cluster.runs import WEB, see

DATABASE = """
database:
  servers: [main]
  adapter: postgres
  secrets: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}
"""
LOCAL_DISK = "persistentvolumeclaim/data-db-shop-0"


class Holdings(Answers):
    """A cluster with a node, the marks of apps on it, and claims of disks."""

    def __init__(self, apps: Sequence[str] = ("shop",), claims: Sequence[str] = ()) -> None:
        marks = {f"nvoi.io/app.{app}": "true" for app in apps}
        super().__init__({"metadata": {"name": "shop-main-1", "labels": marks}})
        self.claims = tuple(
            {"kind": "PersistentVolumeClaim", "metadata": {"name": name}} for name in claims
        )

    def get(self, names: Sequence[str], **_: object) -> tuple[Any, ...]:  # type: ignore[override]
        return self.nodes if names == ["nodes"] else self.claims


class Silence:
    """Connections to servers of which none answers."""

    def run(self, *_: object, **__: object) -> None:
        raise ConnectionFailedError("it does not answer")


def rent(text: str = WEB, **given: Any) -> tuple[ClusterContext, Account]:
    """The context of an app whose one server was rented."""
    context = see([], text=text)
    account = Account(servers=(build_server("shop-main-1", is_master=True),), **given)
    context.provider = account
    context.survey.servers = account.servers
    return context, account


def reach(context: ClusterContext, cluster: Holdings | None) -> None:
    """Have its master answer, with a cluster or without."""
    k3s = build_k3s(None if cluster is None else "server")
    context.survey.facts["shop-main-1"] = build_facts(k3s=k3s)
    context.__dict__["cluster"] = cluster


def allow(context: ClusterContext) -> None:
    context.request = replace(context.request, delete_volumes=True)


def test_data_on_the_servers_own_disks_is_not_given_back_unasked() -> None:
    context, _ = rent(WEB + DATABASE)
    # The cluster cannot be asked: the config says it.
    with pytest.raises(UsageError, match=r"statefulset/db-shop"):
        check_data(context, is_known=True)
    with pytest.raises(UsageError):
        check_data(context, is_known=False)
    reach(context, Holdings(claims=["data-db-shop-0"]))
    with pytest.raises(UsageError, match=LOCAL_DISK) as caught:
        check_data(context, is_known=True)
    assert "add --delete-volumes" in caught.value.hint
    allow(context)
    check_data(context, is_known=True)


def test_what_never_came_to_have_data_goes_unasked() -> None:
    context, _ = rent(WEB + DATABASE)
    for cluster in (None, Holdings()):
        reach(context, cluster)
        check_data(context, is_known=True)
    context.survey.servers = ()
    check_data(context, is_known=True)


def test_servers_that_run_other_apps_too_are_not_given_back() -> None:
    context, _ = rent()
    reach(context, Holdings(apps=["shop", "blog"]))
    allow(context)
    with pytest.raises(UsageError, match="the servers also run blog"):
        check_data(context, is_known=True)


def test_the_last_line_says_whether_anything_goes_on_to_cost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    context, account = rent(kept=("shop-main-a", "shop-main-b"))
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


def test_what_leads_to_servers_that_do_not_answer_goes_after_them() -> None:
    # A tunnel that is still served cannot be removed.
    section = "domain_provider: {ingress: {email: ops@example.com}}\n"
    named = WEB.replace("port: 3000", "port: 3000, domain: example.com")
    context, account = rent(section + named)
    context.domains = Leading(account)  # type: ignore[assignment]
    remove_domains(context)
    finish(context)
    assert account.deleted == ["all", "domains"]
    reach(context, Holdings())
    remove_domains(context)
    finish(context)
    assert account.deleted == ["all", "domains", "domains", "all"]


def test_what_could_not_be_given_back_is_named_and_is_no_success() -> None:
    context, account = rent()
    account.error = NvoiError("left at Hetzner: server shop-main-1\nit is locked")
    with pytest.raises(NvoiError, match="left at Hetzner: server shop-main-1") as caught:
        finish(context)
    assert caught.value.exit_code == 1
    assert context.remark == ""


def test_a_provider_that_is_down_does_not_end_a_deletion_before_its_last_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context, account = rent()
    context.survey.servers = ()
    account.error = RequestError("Hetzner: did not answer", is_silence=True)
    reach_servers(context)
    assert "looked for once more at the end" in caplog.text
    # But one whose token is wrong does.
    account.error = ConfigError("config", [])
    with pytest.raises(ConfigError):
        reach_servers(context)


def test_a_run_does_not_ask_the_provider_for_the_sake_of_a_heading() -> None:
    context, account = rent()
    for plan in (SERVERS.plan, plan_servers, plan_end):
        assert next(iter(plan(context)))
    assert account.asked == 0
    assert "makes server shop-main-1" in [*SERVERS.plan(context)]
    assert "deletes server shop-main-1" in [*plan_end(context)]


def test_data_stays_where_the_config_names_another_master() -> None:
    # Its group was renamed, and the servers of the old one have the cluster.
    context, account = rent()
    account.servers, account.surplus = (), (build_server("shop-old-1", disk="shop-old-data"),)
    context.__dict__["connections"] = Silence()
    with pytest.raises(UsageError, match="data of its own may be on shop-old-1") as caught:
        reach_servers(context)
    assert "name its group as master again" in caught.value.hint
    assert [server.name for server in context.survey.servers] == ["shop-old-1"]
    with pytest.raises(UsageError, match="may be on shop-old-1"):
        [*plan_end(context)]
    allow(context)
    reach_servers(context)
    assert "deletes server shop-main-1" in [*plan_end(context)]
