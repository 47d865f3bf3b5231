"""How what leads visitors to an app comes and goes with its releases."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nvoi.config.schema import Ingress
from nvoi.errors import HostsError, NvoiError, ServiceError
from nvoi.k3s.facts import Facts, K3s
from nvoi.kubernetes.ingress import build_chart_config
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.kubernetes.pods import INGRESS
from nvoi.targets.cluster import cleanup, domains
from nvoi.targets.cluster.domains import OLD_ROUTES, ROUTES
from nvoi.targets.cluster.release import apply_secrets, roll_out
from tests.fakes.clouds.cloudflare import Cloudflare
from tests.fakes.clouds.server import Fault, Refused
from tests.unit.domains.accounts import API, WEB, build_application, deploy, open_domains
from tests.unit.targets.cluster.rented import Account, build_server
from tests.unit.targets.cluster.runs import STAMPS, LiveCluster, build, connect, see

INGRESS_SECTION = "domain_provider: {ingress: {email: ops@example.com}}\n"
CLOUDFLARE_SECTION = "domain_provider: {cloudflare: {api_token: t0ken, account_id: own}}\n"
POD = {"name": "traefik-1", "namespace": "kube-system"}
CONNECTOR = "deployment/cloudflared-shop-api"


class CountingCluster(LiveCluster):
    """Notes, too, how many tunnels and records there are at Cloudflare by then."""

    def __init__(self, cloudflare: Cloudflare) -> None:
        super().__init__()
        self.done: list[str] = []
        self._cloudflare = cloudflare

    def change(self, reference: Reference, change: Any) -> None:
        self.take(f"scale to {change['spec']['replicas']}", [reference])

    def take(self, verb: str, references: Iterable[object]) -> None:
        there = len(self._cloudflare.live_tunnels), len(self._cloudflare.all_records)
        self.done.append(f"{verb} {', '.join(map(str, references))}: %d, %d" % there)


@pytest.fixture
def cloudflare() -> Iterator[Cloudflare]:
    with Cloudflare() as found:
        yield found


def begin(cloudflare: Cloudflare, application: Any, live: Sequence[Any] = ()) -> Any:
    """A run that has looked at the account and the cluster."""
    # Of Secrets a run reads the names alone.
    context: Any = see([item for item in live if item["kind"] != "Secret"])
    config = SimpleNamespace(application=application)
    context.request = SimpleNamespace(config=config, deploy_id="run", environ={})
    context.domains = open_domains(cloudflare, application)
    context.domains.check()
    connect(context, CountingCluster(cloudflare))
    return context


def test_a_service_that_is_gone_is_led_to_until_its_tunnel_is_gone(cloudflare: Cloudflare) -> None:
    live = deploy(cloudflare, build_application(WEB, API))
    context = begin(cloudflare, build_application(WEB), live)
    domains.connect(context)
    domains.remove_old(context)
    budget = CONNECTOR.replace("deployment", "poddisruptionbudget")
    assert context.cluster.done == [
        f"roll out {', '.join(map(str, map(read_reference, context.rollout.routes)))}: 2, 2",
        f"scale to 0 {CONNECTOR}: 2, 2",
        f"delete later {budget}, {CONNECTOR}: 1, 1",
    ]


def test_what_cannot_be_removed_at_cloudflare_stays_in_the_cluster_for_the_next_run(
    cloudflare: Cloudflare, caplog: pytest.LogCaptureFixture
) -> None:
    live = deploy(cloudflare, build_application(WEB, API))
    context = begin(cloudflare, build_application(WEB), live)
    domains.connect(context)
    cloudflare.fail_on("DELETE", "/connections$", Fault(Refused(400, "1001", "not now")))
    with caplog.at_level(logging.WARNING):
        domains.remove_old(context)
    assert "Not removed: what led to names that are gone" in caplog.text
    assert not [line for line in context.cluster.done if line.startswith("delete")]
    # The last step takes it for what the config no longer names, and leaves it there.
    cleanup.remove_unwanted(context, (), ())
    assert not [line for line in context.cluster.done if CONNECTOR in line and "delete" in line]

    again = begin(cloudflare, build_application(WEB), live)
    domains.remove_old(again)
    assert [*cloudflare.live_tunnels] == ["nvoi-shop-web"]
    assert CONNECTOR in again.cluster.done[-1]


def test_a_config_without_an_account_says_what_stays(
    cloudflare: Cloudflare, caplog: pytest.LogCaptureFixture
) -> None:
    live = deploy(cloudflare, build_application(WEB))
    context: Any = see([item for item in live if item["kind"] != "Secret"])
    connect(context, CountingCluster(cloudflare))
    with caplog.at_level(logging.WARNING):
        domains.remove_old(context)
    assert "outside the cluster stays" in caplog.text
    assert context.cluster.done[-1].startswith("delete")
    # A deletion has not removed all of it then.
    with pytest.raises(NvoiError, match="outside the cluster stays") as caught:
        domains.remove(context)
    assert "have `domain_provider`" in caught.value.hint


def test_names_are_looked_at_again_where_another_run_was_at_work(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application(WEB))
    context = begin(cloudflare, build_application(WEB))
    context.lock = SimpleNamespace(rival=object(), check=lambda: None, is_lost=False)
    with cloudflare.record() as calls:
        domains.connect(context)
    assert calls[0].path == "/zones"


@pytest.mark.parametrize(
    ("error", "before"),
    [
        (ServiceError("no certificate", output=["x"]), ["x"]),
        (HostsError([NvoiError("b"), NvoiError("c")]), []),
    ],
)
def test_what_traefik_was_refused_is_told_with_the_public_check(
    monkeypatch: pytest.MonkeyPatch, error: NvoiError, before: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(domains, "ask_all", fail)
    refusal = "ERR Unable to obtain a certificate for example.com"
    web = "servers: {main: {host: 10.0.0.1}}\napp: {web: {servers: [main], port: 3000%s}}"
    for section, told in ((INGRESS_SECTION, [refusal]), (CLOUDFLARE_SECTION, [])):
        context = see([], text=section + web % ", domain: example.com")
        context.list_servers()
        cluster = connect(context, LiveCluster(pods=[{"kind": "Pod", "metadata": POD}]))
        cluster.read_lines = lambda *_, **__: ["INF Traefik", refusal]
        error.output = (*before,)
        with pytest.raises(type(error)) as raised:
            domains.ask(context)
        assert [*raised.value.output] == [*before, *told]
        assert context.urls == []


def test_a_release_that_fails_has_its_names_led_back_first(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application(WEB))
    target = cloudflare.all_records["www.example.com CNAME"]["content"]
    context = begin(cloudflare, build_application(WEB.replace("web:", "site:")))
    domains.connect(context)
    assert cloudflare.all_records["www.example.com CNAME"]["content"] != target
    assert ROUTES.undo is not None
    ROUTES.undo(context)
    assert cloudflare.all_records["www.example.com CNAME"]["content"] == target


def test_what_the_ingress_came_by_goes_once_the_release_is_reached_otherwise() -> None:
    parts = "servers: {main: {host: 10.0.0.1}}\napp: {web: {servers: [main], port: 3000%s}}"
    before = build(INGRESS_SECTION + parts % ", domain: example.com", STAMPS[0])
    context: Any = see([*before.policies, *before.apps], text=parts % "")
    done: list[str] = []

    def put(items: Iterable[Any], **_: object) -> tuple[Any, ...]:
        done.extend(map(describe_way, items))
        return tuple(items)

    context.__dict__["cluster"] = SimpleNamespace(apply=put, roll_out=put)
    context.provider = Account(close=lambda: done.append("close the ports"))
    apply_secrets(context)
    context.rollout.apps = tuple(one for one in context.manifests.apps if one["kind"] == "Service")
    roll_out(context, context.rollout.apps, 1.0)
    assert [line for line in done if line] == ["policy, Traefik too", "service 3000 80"]
    done.clear()
    assert [*OLD_ROUTES.plan(context)] == ["removes what led to names and services that are gone"]
    domains.remove_old(context)
    assert done == ["policy", "service 3000", "close the ports"]


def describe_way(item: Any) -> str:
    """By which visitors come to an app; empty for all else."""
    if item["kind"] == "NetworkPolicy":
        (rule,) = item["spec"]["ingress"]
        return "policy, Traefik too" if INGRESS in rule["from"] else "policy"
    if item["kind"] == "Service":
        return " ".join(["service", *(str(one["port"]) for one in item["spec"]["ports"])])
    return ""


def test_ports_that_stay_open_are_told(caplog: pytest.LogCaptureFixture) -> None:
    context: Any = see([])
    context.provider = Account(error=NvoiError("the API is down"))
    domains.remove_old(context)
    assert caplog.messages == ["Not removed: what let visitors in at the firewall: the API is down"]


@pytest.mark.parametrize(("disabled", "asked"), [([], 1), (["traefik"], 0)])
def test_traefik_gives_ports_back_that_a_run_which_failed_had_it_take(
    disabled: list[str], asked: int
) -> None:
    context: Any = see([])
    server = build_server("shop-main-1", is_master=True)
    context.survey.servers = (server,)
    context.survey.facts = {server.name: Facts("amd64", k3s=K3s(config={"disable": disabled}))}
    chart = build_chart_config(Ingress("ops@example.com"), "run")
    cluster = connect(context, LiveCluster(helmchartconfigs=[chart]))
    domains.remove_old(context)
    assert [item["spec"] for item in cluster.given.get("apply", ())] == [
        build_chart_config(None, "run")["spec"]
    ] * asked
