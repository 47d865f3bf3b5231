"""What visitors of the release before come by stays until the new one is reached."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from nvoi.kubernetes.ingress import build_ingress, keep_ways, list_rules
from nvoi.kubernetes.isolation import INGRESS
from nvoi.kubernetes.workloads import PUBLIC_PORT
from tests.unit.config.texts import ssh
from tests.unit.kubernetes import configs

SECTION = "domain_provider: {ingress: {email: ops@example.com}}\n"
SERVERS = "servers: {main: {host: 10.0.0.1}}\n"
WEB = "app: {web: {servers: [main], port: 3000}}"
PUBLIC = "app: {web: {servers: [main], port: 3000, domain: example.com}}"


def build(text: str) -> list[Any]:
    manifests = configs.build(ssh(SECTION * ("domain" in text) + SERVERS + text))
    return [*manifests.policies, *manifests.apps]


def route(workload: str, *hostnames: str) -> Any:
    service = workload.removeprefix("shop-")
    return build_ingress(
        "shop", service, workload=workload, port=80, hostnames=hostnames, deploy_id="run"
    )


def find(items: Iterable[Any], kind: str) -> Any:
    (found,) = (item for item in items if item["kind"] == kind)
    return found


def list_peers(items: Iterable[Any]) -> Any:
    (rule,) = find(items, "NetworkPolicy")["spec"]["ingress"]
    return rule.get("from")


def list_hosts(item: Any) -> list[str]:
    return [rule["host"] for rule in list_rules(item)]


def test_a_service_that_loses_its_domain_is_led_to_until_it_is_reached_otherwise() -> None:
    live, wanted = build(PUBLIC), build(WEB)
    before = copy.deepcopy(wanted)
    kept = keep_ways(live, wanted)
    ports = {port["name"]: port for port in find(kept, "Service")["spec"]["ports"]}
    assert ports["public"] == ports["main"] | {"name": "public", "port": PUBLIC_PORT}
    assert INGRESS in list_peers(kept)
    assert INGRESS not in list_peers(wanted)
    # Nothing else of the release differs from what it is recorded to be.
    assert wanted == before
    assert find(kept, "Deployment") == find(wanted, "Deployment")


def test_what_is_there_already_or_never_was_is_not_added() -> None:
    assert keep_ways(build(PUBLIC), build(PUBLIC)) == build(PUBLIC)
    assert keep_ways([], build(WEB)) == build(WEB)
    assert keep_ways(build(WEB), build(WEB)) == build(WEB)
    # A service whose own port that is has it once.
    own = build(WEB.replace("3000", "80"))
    assert find(keep_ways(build(PUBLIC), own), "Service") == find(own, "Service")


def test_a_policy_that_lets_everybody_in_lets_the_ingress_in() -> None:
    wanted = build(f"let_in: ['*']\n{WEB}")
    assert keep_ways(build(PUBLIC), wanted)[0] == wanted[0]
    # The ingress was among everybody, and stays let in where others are no longer.
    assert list_peers(keep_ways(wanted, build(WEB))) == [*list_peers(build(WEB)), INGRESS]


def test_names_that_an_ingress_loses_are_led_on_unless_another_one_has_them() -> None:
    live = [route("shop-web", "a.example.com", "b.example.com", "c.example.com")]
    wanted = [route("shop-web", "c.example.com"), route("shop-api", "b.example.com")]
    web, api = keep_ways(live, wanted)
    assert list_hosts(web) == ["c.example.com", "a.example.com"]
    assert list_rules(web)[1] == list_rules(live[0])[0]
    assert list_hosts(api) == ["b.example.com"]
