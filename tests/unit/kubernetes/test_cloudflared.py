"""What connects a cluster to a tunnel."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from nvoi.kubernetes.cloudflared import Connector, build_cloudflared
from nvoi.kubernetes.pods import build_app_policy
from nvoi.secret import Secret
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes.configs import build, container_of, dig, find, pod_of
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

WEB = "app: {web: {servers: [main], port: %d, domain: example.com}}"


def connect(token: str = "t0ken", deploy_id: str = "run") -> Any:
    return build_cloudflared(Connector("shop", "web", "an-id", Secret(token), deploy_id))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_takes_it(version: str) -> None:
    assert [find_errors(item, version) for item in connect()] == [[], [], []]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.replicas", 2),
        # Drained one after the other, and on one node rather than not at all.
        ("PodDisruptionBudget", "spec.maxUnavailable", 1),
        ("Deployment", "P.topologySpreadConstraints.0.whenUnsatisfiable", "ScheduleAnyway"),
        # Ready once it is connected; it ends within its grace.
        ("Deployment", "C.readinessProbe.httpGet.path", "/ready"),
        ("Deployment", "C.readinessProbe.httpGet.port", 2000),
        ("Deployment", "P.terminationGracePeriodSeconds", 35),
    ],
)
def test_it_stays_connected(kind: str, path: str, value: object) -> None:
    assert dig(find(connect(), kind, "cloudflared-shop-web"), path) == value


def test_its_image_is_one_version() -> None:
    image = container_of(find(connect(), "Deployment", "cloudflared"))["image"]
    name, _, version = image.partition(":")
    assert name == "cloudflare/cloudflared"
    assert tuple(map(int, version.split("."))) >= (2026, 8, 2)


def test_the_token_is_a_file_that_its_user_alone_reads() -> None:
    items = connect()
    secret, deployment = find(items, "Secret", "cloudflared"), find(items, "Deployment", "cloud")
    assert b64decode(secret["data"]["token"]).decode() == "t0ken"
    pod, container = pod_of(deployment), container_of(deployment)
    (volume,) = pod["volumes"]
    assert volume["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}
    (mount,) = container["volumeMounts"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["TUNNEL_TOKEN_FILE"] == f"{mount['mountPath']}/token"
    assert environment["TUNNEL_METRICS"] == "0.0.0.0:2000"
    assert "t0ken" not in str(deployment)
    security = pod["securityContext"] | container["securityContext"]
    assert (security["runAsUser"], security["fsGroup"], security["runAsNonRoot"]) == (
        65532,
        65532,
        True,
    )
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True


def test_another_token_starts_it_anew_and_another_run_does_not() -> None:
    def template(**settings: str) -> Any:
        return find(connect(**settings), "Deployment", "cloudflared")["spec"]["template"]

    assert template(deploy_id="other") == template()
    assert template(token="other") != template()
    names = {find(connect(token), "Secret", "cloud")["metadata"]["name"] for token in ("a", "b")}
    assert len(names) == 2


def test_the_apps_policy_lets_it_reach_the_pods() -> None:
    pod = find(connect(), "Deployment", "cloudflared")["spec"]["template"]["metadata"]["labels"]
    policy: Any = build_app_policy("shop", (), "run")
    (rule,) = policy["spec"]["ingress"]
    selectors = [
        peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer
    ]
    assert any(selector.items() <= pod.items() for selector in selectors)
    # And the Service of the app does not take it for one of its pods.
    service = find(build("web"), "Service", "shop-web")
    assert not service["spec"]["selector"].items() <= pod.items()


@pytest.mark.parametrize(("port", "ports"), [(3000, [3000, 80]), (80, [80])])
def test_a_service_with_a_domain_is_asked_at_one_port_whatever_its_own_is(
    port: int, ports: list[int]
) -> None:
    service = find(build(hetzner(WEB % port)), "Service", "shop-web")
    assert [one["port"] for one in service["spec"]["ports"]] == ports
    assert {one["targetPort"] for one in service["spec"]["ports"]} == {"main"}
