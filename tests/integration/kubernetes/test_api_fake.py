"""The fake does what the real one does, so far as other tests stand on it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3 import HTTPSConnectionPool

from nvoi.errors import RequestError
from nvoi.http import Client
from nvoi.kubernetes.api import Api
from nvoi.kubernetes.kubeconfig import build_ssl_context, parse_kubeconfig
from nvoi.kubernetes.ownership import Reference
from tests.fakes.cluster_state import ClusterState
from tests.unit.kubernetes.configs import build

WEB = [*build("web").all]
NEXT = [*build("web", image="next:1").all]


class Fake:
    """Calls the fake without a network."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.api = Api(Client(self._connect))

    def _connect(self) -> HTTPSConnectionPool:
        config = parse_kubeconfig((self.state.folder / "kubeconfig.json").read_text())
        return HTTPSConnectionPool(
            config.address, config.port, ssl_context=build_ssl_context(config)
        )

    def apply(self, *manifests: Any) -> None:
        for manifest in manifests:
            self.api.apply(manifest)

    def refuse(self, *manifests: Any) -> str:
        with pytest.raises(RequestError) as caught:
            self.apply(*manifests)
        return str(caught.value.document)

    def look(self, *kinds: str, selector: str | None = None) -> list[Any]:
        return [
            item
            for kind in kinds or ("pods",)
            for item in self.api.list_all(kind, "default", selector=selector).items
        ]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    state = ClusterState(tmp_path)
    state.register_node("a", labels={"nvoi.io/server-name": "main"})
    state.register_node("b", labels={"nvoi.io/server-name": "main"})
    yield Fake(state)
    state.close()


def is_ready(pod: Any) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"


def settle(fake: Fake) -> None:
    for _ in range(4):
        fake.look()


def edit(manifests: list[Any], kind: str) -> tuple[list[Any], Any]:
    """A copy of manifests, and the one of a kind among them."""
    changed = copy.deepcopy(manifests)
    return changed, next(item for item in changed if item["kind"] == kind)


def test_a_rollout_never_has_fewer_ready_pods_than_wanted_nor_more_than_one_too_many(
    fake: Fake,
) -> None:
    fake.apply(*WEB)
    settle(fake)
    fake.apply(*NEXT)
    for _ in range(32):
        pods = fake.look()
        assert sum(map(is_ready, pods)) >= 2
        assert sum("deletionTimestamp" not in pod["metadata"] for pod in pods) <= 3
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"next:1"}
    assert {pod["spec"]["nodeName"] for pod in pods} == {"a", "b"}


def test_a_workload_that_replaces_all_has_no_two_releases_at_once(fake: Fake) -> None:
    old, new = ([*build("sqlite3", image=image).all] for image in ("one:1", "two:1"))
    fake.apply(*old)
    settle(fake)
    fake.apply(*new)
    images = [{p["spec"]["containers"][0]["image"] for p in fake.look()} for _ in range(5)]
    assert {"one:1", "two:1"} not in images
    assert images[-1] == {"two:1"}


def test_what_an_owner_no_longer_names_is_removed_and_what_others_own_stays(fake: Fake) -> None:
    manifests, service = edit(WEB, "Service")
    service["metadata"]["annotations"]["mine"] = "1"
    fake.apply(*manifests)
    address = fake.state.find("Service", "shop-web")["spec"]["clusterIP"]
    theirs = {"metadata": {"annotations": {"theirs": "1"}}}
    fake.api.patch(Reference("Service", "shop-web"), theirs)
    fake.apply(*WEB)
    live = fake.state.find("Service", "shop-web")
    assert "mine" not in live["metadata"]["annotations"]
    assert live["metadata"]["annotations"]["theirs"] == "1"
    assert live["spec"]["clusterIP"] == address


def test_only_a_changed_spec_makes_a_new_generation(fake: Fake) -> None:
    fake.apply(*WEB)
    fake.apply(*WEB)
    assert fake.state.find("Deployment", "shop-web")["metadata"]["generation"] == 1
    fake.apply(*NEXT)
    assert fake.state.find("Deployment", "shop-web")["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("kind", "path", "value", "words"),
    [
        ("Deployment", ("spec", "selector", "matchLabels"), {"x": "y"}, "does not match template"),
        ("Service", ("spec", "clusterIP"), "10.43.9.9", "may not change once set"),
        ("Secret", ("data",), {}, "field is immutable when `immutable` is set"),
        ("Deployment", ("apiVersion",), "v1", "is not of Deployment"),
        ("Deployment", ("metadata", "name"), "A_b", "a lowercase RFC 1123 subdomain"),
        ("Service", ("metadata", "namespace"), "none", 'namespaces "none" not found'),
    ],
)
def test_what_the_api_refuses_is_refused(
    fake: Fake, kind: str, path: tuple[str, ...], value: Any, words: str
) -> None:
    fake.apply(*WEB)
    changed, item = edit(WEB, kind)
    *folders, last = path
    for folder in folders:
        item = item[folder]
    item[last] = value
    assert words in fake.refuse(*changed)


def test_a_statefulset_waits_for_a_broken_pod_and_keeps_its_disk(fake: Fake) -> None:
    manifests = [*build("postgres without a volume").all]
    fake.apply(*manifests)
    settle(fake)
    assert fake.state.names("PersistentVolumeClaim") == ["data-db-shop-0"]
    changed, database = edit(manifests, "StatefulSet")
    database["spec"]["template"]["spec"]["containers"][0]["image"] = "none:1"
    fake.state.behave("none:1", "image-pull")
    fake.apply(*changed)
    settle(fake)
    fake.apply(*manifests)
    settle(fake)
    image = fake.state.find("Pod", "db-shop-0")["spec"]["containers"][0]["image"]
    assert image == "none:1"
    assert not fake.api.delete(Reference("Pod", "db-shop-0"), "Background")
    settle(fake)
    assert is_ready(fake.state.find("Pod", "db-shop-0"))
    (statefulset,) = fake.look("statefulsets")
    assert statefulset["status"]["currentRevision"] == statefulset["status"]["updateRevision"]


def test_a_node_that_is_lost_keeps_its_pods_and_gets_no_new_ones(fake: Fake) -> None:
    fake.apply(*WEB)
    settle(fake)
    fake.state.register_node("b", ready=False)
    lost = next(pod for pod in fake.look() if pod["spec"]["nodeName"] == "b")
    assert not is_ready(lost)
    assert fake.api.evict(Reference("Pod", lost["metadata"]["name"]))
    settle(fake)
    pods = fake.look()
    assert lost["metadata"]["name"] in [pod["metadata"]["name"] for pod in pods]
    assert {pod["spec"]["nodeName"] for pod in pods if is_ready(pod)} == {"a"}


def test_what_is_deleted_takes_what_was_made_for_it_along(fake: Fake) -> None:
    fake.apply(*WEB)
    settle(fake)
    assert not fake.api.delete(Reference("Deployment", "shop-web"), "Foreground")
    assert fake.api.delete(Reference("Deployment", "none"), "Foreground")
    settle(fake)
    assert fake.look("deployments", "replicasets", "pods") == []


def test_a_pod_without_its_secret_does_not_start(fake: Fake) -> None:
    fake.apply(*(item for item in WEB if item["kind"] != "Secret"))
    settle(fake)
    state = fake.look()[0]["status"]["containerStatuses"][0]["state"]
    assert state["waiting"]["reason"] == "CreateContainerConfigError"
    fake.apply(*WEB)
    settle(fake)
    assert all(map(is_ready, fake.look()))


def test_selectors_choose(fake: Fake) -> None:
    for name, labels in (("one", {"app": "a"}), ("two", {"app": "b", "x/y": "1"}), ("three", {})):
        metadata = {"name": name, "labels": labels}
        fake.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    counts = {
        "app=a": 1,
        "app!=a": 2,
        "app in (a,b)": 2,
        "app notin (a, b),app": 0,
        "app": 2,
        "!app": 1,
        "app in (a,b),x/y=1": 1,
    }
    found = {selector: len(fake.look("configmaps", selector=selector)) for selector in counts}
    assert found == counts


def test_a_service_is_shown_where_a_test_has_a_server(fake: Fake) -> None:
    fake.state.scenario(addresses={"shop-web": ["127.0.0.1", 1234]})
    fake.apply(*WEB)
    (service,) = fake.look("services")
    assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == (
        "127.0.0.1",
        1234,
    )
