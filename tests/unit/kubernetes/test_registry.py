from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import bcrypt
import pytest

from nvoi.kubernetes import registry
from nvoi.kubernetes.objects import EXECUTE_SECONDS
from nvoi.kubernetes.registry import build_credentials, build_registry
from nvoi.secret import Secret
from tests.unit.kubernetes.configs import container_of, dig, find, pod_of
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

TOKEN = "5eed" * 16
CREDENTIALS = build_credentials(Secret(TOKEN))
ITEMS = build_registry("id", CREDENTIALS, node="shop-main-1", image="mirror.local/registry:3.0.0")
ON_MASTER = {
    "node-role.kubernetes.io/control-plane": "true",
    "kubernetes.io/hostname": "shop-main-1",
}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "P.nodeSelector", ON_MASTER),
        ("Deployment", "P.volumes.0.hostPath.path", "/opt/nvoi/registry"),
        ("Deployment", "C.image", "mirror.local/registry:3.0.0"),
        ("Deployment", "C.env", [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}]),
        # Named, so that the places where versions 2 and 3 look for their own do not matter.
        ("Deployment", "C.args.1", "/etc/nvoi-registry/config.yml"),
        ("Deployment", "C.volumeMounts.1.mountPath", "/etc/nvoi-registry"),
        ("Service", "spec.type", "ClusterIP"),
        # The range that Kubernetes gives out by chance begins after its first 256 addresses.
        ("Service", "spec.clusterIP", "10.43.0.100"),
    ],
)
def test_the_registry_runs_on_the_master_and_is_reached_inside_the_cluster_alone(
    kind: str, path: str, value: object
) -> None:
    assert dig(find(ITEMS, kind, "nvoi-registry"), path) == value
    assert not pod_of(find(ITEMS, "Deployment", "nvoi")).get("hostNetwork")


def test_images_can_be_deleted_from_the_registry_which_is_of_version_3() -> None:
    assert registry.IMAGE.startswith("registry:3.")
    settings: Any = find(ITEMS, "ConfigMap", "nvoi")["data"]
    assert json.loads(settings["config.yml"])["storage"]["delete"] == {"enabled": True}


def test_the_registry_lets_in_whom_the_nodes_are_and_asks_all_others() -> None:
    settings: Any = json.loads(find(ITEMS, "ConfigMap", "nvoi")["data"]["config.yml"])
    folder, _, name = settings["auth"]["htpasswd"]["path"].rpartition("/")
    (users,) = find(ITEMS, "Secret", "nvoi")["data"].values()
    user, _, hashed = b64decode(users).decode().strip().partition(":")
    assert user == "nvoi"
    password = CREDENTIALS.password.reveal().encode()
    assert bcrypt.checkpw(password, hashed.encode())
    assert not bcrypt.checkpw(b"another", hashed.encode())
    mounts = container_of(find(ITEMS, "Deployment", "nvoi"))["volumeMounts"]
    assert folder in [mount["mountPath"] for mount in mounts]
    assert list(find(ITEMS, "Secret", "nvoi")["data"]) == [name]
    assert CREDENTIALS.password.reveal() not in json.dumps(ITEMS)
    # The kubelet's probes have no password.
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    container = container_of(find(ITEMS, "Deployment", "nvoi"))
    assert {container[probe]["httpGet"]["path"] for probe in probes} == {"/"}


def test_the_same_password_starts_the_registry_once_and_another_starts_it_anew() -> None:
    def build(token: str) -> Any:
        items = build_registry("id", build_credentials(Secret(token)), node="shop-main-1")
        return find(items, "Deployment", "nvoi")["spec"]["template"]

    assert build("a") == build("a")
    assert build("a") != build("b")


def test_the_token_gives_one_password_in_either_of_its_forms() -> None:
    full = Secret(f"K10{'ab' * 32}::server:{TOKEN}")
    assert build_credentials(full) == CREDENTIALS
    assert len(CREDENTIALS.password.reveal()) == 64
    assert TOKEN not in CREDENTIALS.password.reveal()
    assert build_credentials(Secret("other")) != CREDENTIALS


def test_only_nodes_reach_the_registry() -> None:
    policy = find(ITEMS, "NetworkPolicy", "nvoi-registry")
    assert policy["metadata"]["namespace"] == "kube-system"
    labels = find(ITEMS, "Deployment", "nvoi")["spec"]["template"]["metadata"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels["labels"].items()
    (rule,) = policy["spec"]["ingress"]
    assert not [peer for peer in rule["from"] if "ipBlock" not in peer]


def test_garbage_is_collected_no_longer_than_whoever_asked_for_it_waits() -> None:
    """What outlives the lock would take the next run's layers for garbage."""
    _, seconds = registry.LIMIT
    assert float(seconds) < EXECUTE_SECONDS


def test_an_image_s_reference_begins_with_the_registry_and_ends_with_its_digest() -> None:
    reference = registry.build_reference("nvoi-shop:1", "sha256:ab")
    assert reference == "10.43.0.100:5000/nvoi-shop:1@sha256:ab"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_registry_passes_the_cluster_s_schemas(version: str) -> None:
    for manifest in ITEMS:
        assert find_errors(manifest, version) == []
