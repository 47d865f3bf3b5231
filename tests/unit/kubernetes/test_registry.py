from __future__ import annotations

import ipaddress
import json
from base64 import b64decode
from typing import Any

import bcrypt
import pytest
from ruamel.yaml import YAML

from nvoi.kubernetes import registry
from nvoi.kubernetes.registry import build_credentials, build_registry
from nvoi.secret import Secret
from tests.unit.kubernetes.configs import container_of, find, pod_of
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

TOKEN = "5eed" * 16
CREDENTIALS = build_credentials(Secret(TOKEN))


def test_the_registry_runs_on_the_master_beside_its_data() -> None:
    pod = pod_of(find(build_registry("id", node="shop-main-1"), "Deployment", "nvoi"))
    assert pod["nodeSelector"] == {
        "node-role.kubernetes.io/control-plane": "true",
        "kubernetes.io/hostname": "shop-main-1",
    }
    assert pod["volumes"][0]["hostPath"]["path"] == "/opt/nvoi/registry"
    assert not pod.get("hostNetwork")


def test_the_registry_has_an_address_of_its_own_that_is_not_open_to_the_outside() -> None:
    service = find(build_registry("id"), "Service", "nvoi-registry")
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["clusterIP"] == registry.CLUSTER_IP
    # The range that Kubernetes gives out by chance begins after its first 256 addresses.
    first = ipaddress.ip_network("10.43.0.0/16").network_address
    assert 10 < int(ipaddress.ip_address(registry.CLUSTER_IP)) - int(first) <= 256


def test_the_registry_s_image_can_be_replaced() -> None:
    items = build_registry("id", image="mirror.local/registry:3.0.0")
    assert container_of(find(items, "Deployment", "nvoi"))["image"] == "mirror.local/registry:3.0.0"


def test_the_registry_runs_version_3_with_nvois_config_and_sends_no_traces() -> None:
    items = build_registry("id")
    container = container_of(find(items, "Deployment", "nvoi"))
    assert container["image"].startswith("registry:3.")
    assert container["env"] == [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}]
    # Named, so that the places where versions 2 and 3 look for their own do not matter.
    folder, _, name = container["args"][-1].rpartition("/")
    assert name in find(items, "ConfigMap", "nvoi")["data"]
    assert folder in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_images_can_be_deleted_from_the_registry() -> None:
    settings: Any = find(build_registry("id"), "ConfigMap", "nvoi")["data"]
    assert json.loads(settings["config.yml"])["storage"]["delete"] == {"enabled": True}


def test_containerd_is_told_to_pull_from_the_registry_and_from_mirrors() -> None:
    mirrors = {"docker.io": ["https://mirror.local"]}
    text = registry.build_registries_file(registry.ADDRESS, mirrors, CREDENTIALS)
    assert CREDENTIALS.password.reveal() not in f"{text}{CREDENTIALS}"
    assert YAML(typ="safe").load(text.reveal()) == {
        "mirrors": {
            "10.43.0.100:5000": {"endpoint": ["http://10.43.0.100:5000"]},
            "docker.io": {"endpoint": ["https://mirror.local"]},
        },
        "configs": {
            "10.43.0.100:5000": {
                "auth": {"username": "nvoi", "password": CREDENTIALS.password.reveal()}
            }
        },
    }


def test_the_registry_lets_in_whom_the_nodes_are_and_asks_all_others() -> None:
    items = build_registry("id", credentials=CREDENTIALS)
    settings: Any = json.loads(find(items, "ConfigMap", "nvoi")["data"]["config.yml"])
    folder, _, name = settings["auth"]["htpasswd"]["path"].rpartition("/")
    (users,) = find(items, "Secret", "nvoi")["data"].values()
    user, _, hashed = b64decode(users).decode().strip().partition(":")
    assert user == "nvoi"
    password = CREDENTIALS.password.reveal().encode()
    assert bcrypt.checkpw(password, hashed.encode())
    assert not bcrypt.checkpw(b"another", hashed.encode())
    mounts = container_of(find(items, "Deployment", "nvoi"))["volumeMounts"]
    assert folder in [mount["mountPath"] for mount in mounts]
    assert list(find(items, "Secret", "nvoi")["data"]) == [name]
    assert CREDENTIALS.password.reveal() not in json.dumps(items)
    # The kubelet's probes have no password.
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    container = container_of(find(items, "Deployment", "nvoi"))
    assert {container[probe]["httpGet"]["path"] for probe in probes} == {"/"}


def test_the_same_password_starts_the_registry_once_and_another_starts_it_anew() -> None:
    def build(token: str | None) -> Any:
        credentials = build_credentials(Secret(token)) if token else None
        return find(build_registry("id", credentials=credentials), "Deployment", "nvoi")

    assert build("a") == build("a")
    templates = {json.dumps(build(token)["spec"]["template"]) for token in ("a", "b", None)}
    assert len(templates) == 3


def test_the_token_gives_one_password_in_either_of_its_forms() -> None:
    full = Secret(f"K10{'ab' * 32}::server:{TOKEN}")
    assert build_credentials(full) == CREDENTIALS
    assert len(CREDENTIALS.password.reveal()) == 64
    assert TOKEN not in CREDENTIALS.password.reveal()
    assert build_credentials(Secret("other")).mark != CREDENTIALS.mark


def test_only_nodes_reach_the_registry() -> None:
    policy = find(build_registry("id"), "NetworkPolicy", "nvoi-registry")
    assert policy["metadata"]["namespace"] == "kube-system"
    labels = find(build_registry("id"), "Deployment", "nvoi")["spec"]["template"]["metadata"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels["labels"].items()
    (rule,) = policy["spec"]["ingress"]
    assert not [peer for peer in rule["from"] if "ipBlock" not in peer]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_registry_passes_the_cluster_s_schemas(version: str) -> None:
    for manifest in build_registry("id", node="shop-main-1", credentials=CREDENTIALS):
        assert find_errors(manifest, version) == []
