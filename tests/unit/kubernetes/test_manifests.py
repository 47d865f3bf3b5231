"""What holds of every config's manifests."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

import pytest

from nvoi.config.environment import build_environment
from nvoi.kubernetes.pods import INGRESS
from nvoi.naming import build_database_name, build_workload_name
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

every_config = pytest.mark.parametrize("name", configs.NAMES)


def pods(name: str) -> list[Any]:
    items: tuple[Any, ...] = configs.build(name).all
    return [item for item in items if "template" in item.get("spec", {})]


@every_config
def test_objects_have_names_and_labels_that_kubernetes_takes_and_say_whose_they_are(
    name: str,
) -> None:
    items: tuple[Any, ...] = configs.build(name).all
    names = [(item["kind"], item["metadata"]["name"]) for item in items]
    assert len(set(names)) == len(names)
    named = {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component", "part-of")}
    forms = {"Secret": DNS_SUBDOMAIN, "Service": SERVICE_NAME}
    for item in items:
        metadata, labels = item["metadata"], item["metadata"]["labels"]
        assert forms.get(item["kind"], DNS_LABEL).fullmatch(metadata["name"])
        assert metadata["namespace"] == "default"
        assert all(map(LABEL_VALUE.fullmatch, labels.values()))
        assert labels["app.kubernetes.io/managed-by"] == "nvoi"
        assert named <= labels.keys()
        assert labels["nvoi.io/deploy-id"].startswith("run-1-")
        assert metadata["annotations"]["nvoi.io/deploy-id"] == "run/1"
    for item in pods(name):
        parts = configs.pod_of(item)["containers"] + configs.pod_of(item).get("volumes", [])
        assert all(DNS_LABEL.fullmatch(part["name"]) for part in parts)


@every_config
def test_another_deploy_of_the_same_image_leaves_all_pods_as_they_are(name: str) -> None:
    first = pods(name)
    items: tuple[Any, ...] = configs.build(name, deploy_id="2", stamp="20270101000000").all
    second = [item for item in items if "template" in item.get("spec", {})]
    for before, after in zip(first, second, strict=True):
        if before["kind"] != "Job":
            assert before["spec"] == after["spec"]


@every_config
def test_selectors_find_the_own_pods_only(name: str) -> None:
    items: tuple[Any, ...] = configs.build(name).all
    labels = {
        (item["kind"], item["metadata"]["name"]): item["spec"]["template"]["metadata"]["labels"]
        for item in pods(name)
    }
    for item in items:
        selector = item.get("spec", {}).get("selector")
        if not selector:
            continue
        if item["kind"] == "PodDisruptionBudget":
            assert selector == find(configs.build(name), "Deployment", item)["spec"]["selector"]
            continue
        wanted = selector.get("matchLabels", selector).items()
        found = [key for key, own in labels.items() if wanted <= own.items()]
        assert len(found) == 1
        assert found[0][0] != "Job"
        if item["kind"] != "Service":
            assert found == [(item["kind"], item["metadata"]["name"])]


def find(manifests: Any, kind: str, of: Any) -> Any:
    named = [item for item in manifests.all if item["metadata"]["name"] == of["metadata"]["name"]]
    (found,) = [item for item in named if item["kind"] == kind]
    return found


@every_config
def test_an_app_s_pods_are_reached_by_its_own_and_by_nodes_alone(name: str) -> None:
    (policy,) = configs.build(name).policies
    spec: Any = policy["spec"]
    own = spec["podSelector"]["matchLabels"]
    for item in pods(name):
        assert own.items() <= item["spec"]["template"]["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    peers = [peer for peer in rule["from"] if "ipBlock" not in peer]
    assert peers == [{"podSelector": {"matchLabels": own}}, *[INGRESS] * (name == "ingress")]


@every_config
def test_each_workload_has_a_secret_of_its_own_with_its_whole_environment(name: str) -> None:
    secrets = {
        item["metadata"]["name"]: item.get("data", {})
        for item in configs.build(name).secrets
        if isinstance(item["metadata"], dict)
    }
    application = configs.load_application(name)
    used = []
    for item in pods(name):
        (source,) = configs.container_of(item)["envFrom"]
        assert "env" not in configs.container_of(item)
        if item["kind"] != "Job":
            used.append(source["secretRef"]["name"])
    assert sorted(used) == sorted(secrets)
    runs = any(item["kind"] == "StatefulSet" for item in pods(name))
    host = build_database_name(application.name) if runs else None
    for service in application.app.values():
        workload = build_workload_name(application.name, service.name)
        item = next(item for item in pods(name) if item["metadata"]["name"] == workload)
        data: Any = secrets[configs.container_of(item)["envFrom"][0]["secretRef"]["name"]]
        values = {key: b64decode(value).decode() for key, value in data.items()}
        assert values == build_environment(application, service, database_host=host)


@every_config
def test_no_secret_is_seen_outside_of_the_secrets(name: str) -> None:
    application = configs.load_application(name)
    values = [value.reveal() for value in application.secrets.values()]
    if application.database:
        values += [value.reveal() for key, value in application.database.secrets.items()]
        values += [application.database.url.reveal()] if application.database.url else []
    for login in application.registries.values():
        values += [login.password.reveal(), login.basic.reveal()]
    manifests = configs.build(name)
    shown = json.dumps([*manifests.database, *manifests.jobs, *manifests.services, *manifests.apps])
    for value in values:
        if len(value) > 4 and value not in application.name:
            assert value not in shown
    for release in (configs.build_release(name), *manifests.secrets, *manifests.logins):
        assert not any(f"'{value}'" in repr(release) for value in values if len(value) > 5)


@every_config
def test_every_mounted_volume_is_there_once(name: str) -> None:
    for item in pods(name):
        volumes = [volume["name"] for volume in configs.pod_of(item).get("volumes", [])]
        claims = [c["metadata"]["name"] for c in item["spec"].get("volumeClaimTemplates", [])]
        mounts = configs.container_of(item).get("volumeMounts", [])
        assert {mount["name"] for mount in mounts} == {*volumes, *claims}
        assert len(set(volumes)) == len(volumes)
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


@every_config
def test_every_pod_is_limited_stays_on_its_servers_and_becomes_no_more_than_it_is(
    name: str,
) -> None:
    groups = configs.load_application(name).servers
    for item in pods(name):
        pod, container = configs.pod_of(item), configs.container_of(item)
        assert {"requests", "limits"} == set(container["resources"])
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        placed = json.dumps([pod.get(key) for key in ("nodeSelector", "affinity")])
        assert "nvoi.io/server-name" in placed
        assert any(f'"{group}"' in placed for group in groups)
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert pod["securityContext"]["seccompProfile"]


@pytest.mark.parametrize("version", VERSIONS)
@every_config
def test_every_manifest_passes_the_cluster_s_schemas(name: str, version: str) -> None:
    for manifest in configs.build(name).all:
        assert find_errors(manifest, version) == []
