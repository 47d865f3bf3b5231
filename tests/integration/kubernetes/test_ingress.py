"""The ingress that the apps of a cluster share: set up, agreed on, and given back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nvoi.errors import NvoiError, ServiceError
from nvoi.kubernetes.cluster import Cluster
from nvoi.kubernetes.ingress import build_ingress
from nvoi.targets.cluster import domains
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.delete import WORKLOADS, remove_domains
from nvoi.targets.cluster.domains import give_ports_back, read_refusals, set_ingress_up
from tests.fakes.cluster_state import ClusterState
from tests.unit.k3s.servers import build_facts, build_k3s
from tests.unit.targets.cluster.runs import see

TEXT = """\
domain_provider: {ingress: {email: EMAIL}}
servers: {main: {host: 127.0.0.11}}
app: {web: {servers: [main], port: 3000, domain: shop.example.com, subdomain: www}}
"""
Begin = Callable[..., ClusterContext]


@pytest.fixture
def begin(cluster: Cluster) -> Begin:
    """Begins runs on the cluster."""

    def make(email: str = "ops@example.com") -> ClusterContext:
        context = see([], text=TEXT.replace("EMAIL", email))
        context.cluster = cluster
        context.list_servers()
        return context

    return make


def add_ingress(state: ClusterState, app: str) -> None:
    """Have an app that Traefik leads visitors to."""
    names = [f"{app}.example.com"]
    state.add(
        build_ingress(
            app, "web", workload=f"{app}-web", port=80, hostnames=names, deploy_id="run/0"
        )
    )


def list_arguments(state: ClusterState) -> list[str]:
    """Those of the Traefik that runs; none where there is none."""
    item: Any = state.find("Deployment", "traefik", "kube-system")
    if item is None:
        return []
    (container,) = item["spec"]["template"]["spec"]["containers"]
    arguments: list[str] = container["args"]
    return arguments


def test_traefik_is_set_up_once_and_left_alone_then(state: ClusterState, begin: Begin) -> None:
    set_ingress_up(begin())
    assert "--certificatesResolvers.nvoi.acme.email=ops@example.com" in list_arguments(state)
    before = state.calls
    set_ingress_up(begin())
    assert ["apply", "helmchartconfig/traefik"] not in state.calls[len(before) :]


def test_apps_of_a_cluster_agree_on_it(state: ClusterState, begin: Begin) -> None:
    set_ingress_up(begin())
    add_ingress(state, "blog")
    set_ingress_up(begin())
    with pytest.raises(NvoiError) as raised:
        set_ingress_up(begin("other@example.com"))
    assert raised.value.message == (
        "the cluster's ingress is that of blog too, which has its certificates for "
        "ops@example.com at https://acme-v02.api.letsencrypt.org/directory; this config says "
        "other@example.com at https://acme-v02.api.letsencrypt.org/directory"
    )
    assert "--certificatesResolvers.nvoi.acme.email=ops@example.com" in list_arguments(state)


def test_an_app_that_has_it_for_itself_may_change_it(state: ClusterState, begin: Begin) -> None:
    set_ingress_up(begin())
    add_ingress(state, "shop")
    set_ingress_up(begin("other@example.com"))
    assert "--certificatesResolvers.nvoi.acme.email=other@example.com" in list_arguments(state)


def test_what_others_have_set_up_is_left_to_them(state: ClusterState, begin: Begin) -> None:
    metadata = {"name": "traefik", "namespace": "kube-system"}
    spec = {"valuesContent": json.dumps({"additionalArguments": ["--own"]})}
    state.add({"kind": "HelmChartConfig", "metadata": metadata, "spec": spec})
    with pytest.raises(NvoiError, match="helmchartconfig/traefik, which nvoi did not make"):
        set_ingress_up(begin())
    give_ports_back(begin())
    found = state.find("HelmChartConfig", "traefik", "kube-system")
    assert found["spec"] == spec


def test_it_is_given_back_once_no_app_needs_it(state: ClusterState, begin: Begin) -> None:
    give_ports_back(begin())
    assert state.find("HelmChartConfig", "traefik", "kube-system") is None
    set_ingress_up(begin())
    add_ingress(state, "blog")
    give_ports_back(begin())
    assert list_arguments(state)
    state.remove("Ingress", "blog-web")
    # What is not nvoi's counts just as well.
    spec = {"rules": [{"host": "x.example.com"}]}
    state.add({"kind": "Ingress", "metadata": {"name": "own"}, "spec": spec})
    give_ports_back(begin())
    assert list_arguments(state)
    state.remove("Ingress", "own")
    give_ports_back(begin())
    state.api.move()
    assert state.objects("Deployment", "kube-system") == []
    assert state.objects("Pod", "kube-system") == []
    set_ingress_up(begin("other@example.com"))
    assert "--certificatesResolvers.nvoi.acme.email=other@example.com" in list_arguments(state)


@pytest.mark.parametrize("failures", [[], [WORKLOADS]])
def test_a_deletion_gives_it_back_unless_something_of_the_app_is_left(
    state: ClusterState, begin: Begin, failures: list[str]
) -> None:
    context = begin()
    set_ingress_up(context)
    context.survey.facts = {context.master.name: build_facts(k3s=build_k3s(config={"disable": []}))}
    context.deletion.failures += failures
    remove_domains(context)
    state.api.move()
    assert bool(list_arguments(state)) is bool(failures)


def test_k3s_that_does_not_set_it_up_is_told(
    state: ClusterState, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "INSTALL_SECONDS", 0.0)
    state.scenario(charts_stuck=True)
    with pytest.raises(ServiceError, match="k3s has not set it up after 0 s") as raised:
        set_ingress_up(begin())
    assert "logs job/helm-install-traefik" in raised.value.hint


def test_what_the_authority_refuses_is_told_with_the_public_check(
    state: ClusterState, begin: Begin
) -> None:
    refusal = "ERR Unable to obtain ACME certificate for domains error=403"
    own, others = (f"{refusal} domains={name}" for name in ("www.shop.example.com", "b.example"))
    state.behave("traefik", logs=["INF Traefik version 3.7.8", own, others])
    context = begin()
    set_ingress_up(context)
    assert [*read_refusals(context, ["www.shop.example.com"])] == [own]
