"""The fake does what the real one does, so far as other tests stand on it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from nvoi.kubernetes.commands import Kubectl, build_apply, build_delete, build_drain, build_get
from nvoi.kubernetes.ownership import Reference
from tests.fakes.cluster_state import ClusterState
from tests.fakes.kubernetes.program import main
from tests.unit.kubernetes.configs import build

WEB = [*build("web").all]
NEXT = [*build("web", image="next:1").all]


class Fake:
    """Calls the fake within this process."""

    def __init__(self, state: ClusterState, capsys: pytest.CaptureFixture[str], patch: Any) -> None:
        self.state, self._capsys, self._patch = state, capsys, patch

    def call(self, call: Kubectl) -> tuple[int, str, str]:
        self._patch.setattr("sys.stdin", Input((call.stdin or b"").decode()))
        code = main(str(self.state.folder), list(call.argv[1:]))
        return (code, *self._capsys.readouterr())

    def apply(self, *manifests: Any) -> str:
        code, output, errors = self.call(build_apply(manifests))
        assert code == 0, errors
        return output

    def refuse(self, *manifests: Any) -> str:
        code, _, errors = self.call(build_apply(manifests))
        assert code == 1
        return errors

    def look(self, *kinds: str, selector: str | None = None) -> list[Any]:
        code, output, errors = self.call(build_get(kinds or ("pods",), selector=selector))
        assert code == 0, errors
        return list(json.loads(output)["items"])


class Input:
    def __init__(self, text: str) -> None:
        self.read = lambda: text


@pytest.fixture
def fake(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Fake:
    state = ClusterState(tmp_path)
    state.register_node("a", labels={"nvoi.io/server-name": "main"})
    state.register_node("b", labels={"nvoi.io/server-name": "main"})
    return Fake(state, capsys, monkeypatch)


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
    for _ in range(8):
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
    fake.state.run("annotate", "service", "shop-web", "theirs=1")
    fake.apply(*WEB)
    live = fake.state.find("Service", "shop-web")
    assert "mine" not in live["metadata"]["annotations"]
    assert live["metadata"]["annotations"]["theirs"] == "1"
    assert live["spec"]["clusterIP"] == address


def test_only_a_changed_spec_makes_a_new_generation(fake: Fake) -> None:
    assert "deployment.apps/shop-web serverside-applied" in fake.apply(*WEB)
    fake.apply(*WEB)
    assert fake.state.find("Deployment", "shop-web")["metadata"]["generation"] == 1
    fake.apply(*NEXT)
    assert fake.state.find("Deployment", "shop-web")["metadata"]["generation"] == 2


def test_a_trial_changes_nothing(fake: Fake) -> None:
    assert fake.call(build_apply(WEB, dry_run=True))[0] == 0
    assert fake.state.objects("Deployment") == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "words"),
    [
        ("Deployment", ("spec", "selector", "matchLabels"), {"x": "y"}, "does not match template"),
        ("Service", ("spec", "clusterIP"), "10.43.9.9", "may not change once set"),
        ("Secret", ("data",), {}, "field is immutable when `immutable` is set"),
        ("Deployment", ("apiVersion",), "v1", 'no matches for kind "Deployment" in version "v1"'),
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
    fake.call(build_delete([Reference("Pod", "db-shop-0")])[0])
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
    code, _, errors = fake.call(build_drain("b"))
    assert code == 1
    assert "global timeout reached" in errors
    settle(fake)
    pods = fake.look()
    assert lost["metadata"]["name"] in [pod["metadata"]["name"] for pod in pods]
    assert {pod["spec"]["nodeName"] for pod in pods if is_ready(pod)} == {"a"}


def test_what_is_deleted_takes_what_was_made_for_it_along(fake: Fake) -> None:
    fake.apply(*WEB)
    settle(fake)
    (call,) = build_delete([Reference("Deployment", "shop-web"), Reference("Deployment", "none")])
    assert fake.call(call)[1] == 'deployment.apps "shop-web" deleted\n'
    assert fake.look("deployments", "replicasets", "pods") == []


def test_a_pod_without_its_secret_does_not_start(fake: Fake) -> None:
    fake.apply(*(item for item in WEB if item["kind"] != "Secret"))
    settle(fake)
    state = fake.look()[0]["status"]["containerStatuses"][0]["state"]
    assert state["waiting"]["reason"] == "CreateContainerConfigError"
    fake.apply(*WEB)
    settle(fake)
    assert all(map(is_ready, fake.look()))


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("app=a", 1),
        ("app!=a", 2),
        ("app in (a,b)", 2),
        ("app notin (a, b),app", 0),
        ("app", 2),
        ("!app", 1),
        ("app in (a,b),x/y=1", 1),
    ],
)
def test_selectors_choose(fake: Fake, selector: str, count: int) -> None:
    for name, labels in (("one", {"app": "a"}), ("two", {"app": "b", "x/y": "1"}), ("three", {})):
        metadata = {"name": name, "labels": labels}
        fake.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert len(fake.look("configmaps", selector=selector)) == count


def test_a_service_is_shown_where_a_test_has_a_server(fake: Fake) -> None:
    fake.state.scenario(addresses={"shop-web": ["127.0.0.1", 1234]})
    fake.apply(*WEB)
    (service,) = fake.look("services")
    assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == (
        "127.0.0.1",
        1234,
    )
