"""What k3s sets its Traefik up by, and what brings that to an app."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nvoi.config.schema import Ingress
from nvoi.kubernetes.ingress import (
    build_chart_config,
    build_ingress,
    is_set_up,
    keep_ways,
    list_rules,
)
from nvoi.kubernetes.pods import INGRESS
from nvoi.kubernetes.workloads import PUBLIC_PORT
from tests.fakes.kubernetes.charts import SPEC
from tests.unit.config.texts import ssh
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.configs import build, find
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

SETTINGS = Ingress("ops@example.com")
STAGING = Ingress("ops@example.com", "https://acme-staging.example/directory")

#: What its CustomResourceDefinition allows.
CHART_CONFIG: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "helm.cattle.io/v1"},
        "kind": {"const": "HelmChartConfig"},
        "metadata": {"properties": {"name": {"const": "traefik"}}},
        "spec": SPEC | {"additionalProperties": False},
    },
}
#: What the chart's own schema has of these values, alike from release 33.2 to 41.3.
VALUES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "additionalArguments": {"type": "array", "items": {"type": "string"}},
        "deployment": {"properties": {"enabled": {"type": "boolean"}}},
        "nodeSelector": {"type": "object"},
        "persistence": {"properties": {"enabled": {"type": "boolean"}}},
        "ports": {
            "additionalProperties": False,
            "properties": {
                name: {"properties": {"hostPort": {"type": ["integer", "null"], "minimum": 0}}}
                for name in ("web", "websecure")
            },
        },
        "service": {"properties": {"enabled": {"type": "boolean"}}},
        "updateStrategy": {
            "additionalProperties": False,
            "properties": {
                "rollingUpdate": {
                    "properties": {
                        key: {"type": ["integer", "string", "null"]}
                        for key in ("maxSurge", "maxUnavailable")
                    }
                },
                "type": {"type": "string"},
            },
        },
    },
}


def read_values(settings: Ingress | None) -> Any:
    item: Any = build_chart_config(settings, "run/1")
    return json.loads(item["spec"]["valuesContent"])


@pytest.mark.parametrize("settings", [SETTINGS, STAGING, None])
def test_the_settings_pass_the_schemas_of_k3s_and_of_the_chart(settings: Ingress | None) -> None:
    Draft202012Validator(CHART_CONFIG).validate(build_chart_config(settings, "run/1"))
    Draft202012Validator(VALUES).validate(read_values(settings))


def test_traefik_asks_the_authority_over_http_and_keeps_what_it_gets() -> None:
    values = read_values(STAGING)
    arguments = dict(one.split("=", 1) for one in values["additionalArguments"])
    acme = "--certificatesResolvers.nvoi.acme"
    assert arguments[f"{acme}.email"] == "ops@example.com"
    assert arguments[f"{acme}.caServer"] == "https://acme-staging.example/directory"
    assert arguments[f"{acme}.httpChallenge.entryPoint"] == "web"
    assert arguments[f"{acme}.storage"].startswith("/data/")
    assert arguments["--entryPoints.web.http.redirections.entryPoint.scheme"] == "https"
    assert values["persistence"] == {"enabled": True}


def test_the_certificates_of_one_authority_are_not_taken_for_those_of_another() -> None:
    def find_storage(settings: Ingress) -> str:
        arguments: list[str] = read_values(settings)["additionalArguments"]
        return next(one for one in arguments if ".storage=" in one)

    assert find_storage(SETTINGS) != find_storage(STAGING)
    assert find_storage(SETTINGS) == find_storage(Ingress("other@example.com"))


def test_traefik_sees_who_asks_at_the_ports_of_the_master_alone() -> None:
    values = read_values(SETTINGS)
    assert values["ports"] == {"web": {"hostPort": 80}, "websecure": {"hostPort": 443}}
    # With a Service k3s would have every server take the ports, and hide who asks.
    assert values["service"] == {"enabled": False}
    assert values["nodeSelector"] == {"node-role.kubernetes.io/control-plane": "true"}
    # The next pod cannot have the ports before the one before has given them back.
    assert values["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_where_no_app_needs_traefik_it_has_no_pod_and_no_port_and_keeps_its_disk() -> None:
    values = read_values(None)
    assert values["deployment"] == values["service"] == {"enabled": False}
    assert values["persistence"] == {"enabled": True}


def build_web(*hostnames: str) -> Any:
    return build_ingress(
        "shop", "web", workload="shop-web", port=3000, hostnames=hostnames, deploy_id="run/1"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ingress_passes_the_cluster_s_schemas(version: str) -> None:
    assert find_errors(build_web("example.com", "www.example.com"), version) == []


def test_an_ingress_leads_each_name_to_the_service_over_https_with_a_certificate() -> None:
    item = build_web("example.com", "www.example.com")
    assert [rule["host"] for rule in item["spec"]["rules"]] == ["example.com", "www.example.com"]
    (path,) = item["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "shop-web", "port": {"number": 3000}}
    router = "traefik.ingress.kubernetes.io/router"
    annotations = item["metadata"]["annotations"]
    assert annotations[f"{router}.entrypoints"] == "websecure"
    assert annotations[f"{router}.tls.certresolver"] == "nvoi"
    assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shop"


def test_the_ingress_reaches_the_pods_of_an_app_that_it_serves_and_of_no_other() -> None:
    def list_peers(text: str) -> Any:
        (policy,) = build(text).policies
        spec: Any = policy["spec"]
        return spec["ingress"][0].get("from")

    assert INGRESS in list_peers("ingress")
    assert INGRESS not in list_peers("web")
    assert find(build("ingress"), "NetworkPolicy", "nvoi-shop")


def test_traefik_is_set_up_once_it_runs_with_all_of_its_arguments() -> None:
    def build_deployment(arguments: list[str]) -> Any:
        return {"spec": {"template": {"spec": {"containers": [{"args": arguments}]}}}}

    own = read_values(SETTINGS)["additionalArguments"]
    assert is_set_up(build_deployment(["--ping=true", *own]), SETTINGS)
    assert not is_set_up(build_deployment(["--ping=true", *own]), STAGING)
    assert not is_set_up(build_deployment([]), SETTINGS)


SECTION = "domain_provider: {ingress: {email: ops@example.com}}\n"
SERVERS = "servers: {main: {host: 10.0.0.1}}\n"
WEB = "app: {web: {servers: [main], port: 3000}}"
PUBLIC = "app: {web: {servers: [main], port: 3000, domain: example.com}}"


def build_objects(text: str) -> list[Any]:
    manifests = configs.build(ssh(SECTION * ("domain" in text) + SERVERS + text))
    return [*manifests.policies, *manifests.apps]


def route(workload: str, *hostnames: str) -> Any:
    service = workload.removeprefix("shop-")
    return build_ingress(
        "shop", service, workload=workload, port=80, hostnames=hostnames, deploy_id="run"
    )


def list_peers(items: Iterable[Any]) -> Any:
    (rule,) = find(items, "NetworkPolicy", "nvoi-shop")["spec"]["ingress"]
    return rule.get("from")


def list_hosts(item: Any) -> list[str]:
    return [rule["host"] for rule in list_rules(item)]


def test_a_service_that_loses_its_domain_is_led_to_until_it_is_reached_otherwise() -> None:
    live, wanted = build_objects(PUBLIC), build_objects(WEB)
    before = copy.deepcopy(wanted)
    kept = keep_ways(live, wanted)
    ports = {port["name"]: port for port in find(kept, "Service", "shop-web")["spec"]["ports"]}
    assert ports["public"] == ports["main"] | {"name": "public", "port": PUBLIC_PORT}
    assert INGRESS in list_peers(kept)
    assert INGRESS not in list_peers(wanted)
    # Nothing else of the release differs from what it is recorded to be.
    assert wanted == before
    assert find(kept, "Deployment", "shop-web") == find(wanted, "Deployment", "shop-web")


def test_what_is_there_already_or_never_was_is_not_added() -> None:
    assert keep_ways(build_objects(PUBLIC), build_objects(PUBLIC)) == build_objects(PUBLIC)
    assert keep_ways([], build_objects(WEB)) == build_objects(WEB)
    assert keep_ways(build_objects(WEB), build_objects(WEB)) == build_objects(WEB)
    # A service whose own port that is has it once.
    own = build_objects(WEB.replace("3000", "80"))
    assert find(keep_ways(build_objects(PUBLIC), own), "Service", "shop-web") == find(
        own, "Service", "shop-web"
    )


def test_a_policy_that_lets_everybody_in_lets_the_ingress_in() -> None:
    wanted = build_objects(f"let_in: ['*']\n{WEB}")
    assert keep_ways(build_objects(PUBLIC), wanted)[0] == wanted[0]
    # The ingress was among everybody, and stays let in where others are no longer.
    assert list_peers(keep_ways(wanted, build_objects(WEB))) == [
        *list_peers(build_objects(WEB)),
        INGRESS,
    ]


def test_names_that_an_ingress_loses_are_led_on_unless_another_one_has_them() -> None:
    live = [route("shop-web", "a.example.com", "b.example.com", "c.example.com")]
    wanted = [route("shop-web", "c.example.com"), route("shop-api", "b.example.com")]
    web, api = keep_ways(live, wanted)
    assert list_hosts(web) == ["c.example.com", "a.example.com"]
    assert list_rules(web)[1] == list_rules(live[0])[0]
    assert list_hosts(api) == ["b.example.com"]
