"""The API's client, on the stand-in or, with ``NVOI_TEST_KUBECONFIG``, on a real cluster."""

from __future__ import annotations

import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from urllib3 import HTTPSConnectionPool

from nvoi.errors import RequestError, ServiceError
from nvoi.http import Client
from nvoi.kubernetes import api as module
from nvoi.kubernetes.api import Api, build_path
from nvoi.kubernetes.kubeconfig import build_ssl_context, parse_kubeconfig
from nvoi.kubernetes.ownership import Reference
from nvoi.kubernetes.refusals import explain
from nvoi.parallel import CancelledError, Task
from nvoi.secret import Secret
from tests.fakes.cluster_state import ClusterState
from tests.fakes.real_cluster import find_kubeconfig
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.real_cluster] if find_kubeconfig() else []
PRINT = ("config", "view", "--minify", "--flatten", "--output=json")
SELECTOR = "nvoi.io/test=api"


def read_kubeconfig(state: ClusterState | None) -> str:
    if state is not None:
        return (state.folder / "kubeconfig.json").read_text()
    words = ["kubectl", f"--kubeconfig={find_kubeconfig()}", *PRINT]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def connect(text: str) -> Api:
    config = parse_kubeconfig(text)
    context = build_ssl_context(config)
    return Api(
        Client(lambda: HTTPSConnectionPool(config.address, config.port, ssl_context=context))
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ClusterState | None]:
    """The stand-in, where there is no real cluster."""
    made = None if find_kubeconfig() else ClusterState(tmp_path / "cluster")
    yield made
    if made is not None:
        made.close()


@pytest.fixture
def api(state: ClusterState | None) -> Iterator[Api]:
    made = connect(read_kubeconfig(state))
    yield made
    for item in made.list_all("configmaps", "default", selector=SELECTOR).items:
        made.delete(Reference("ConfigMap", item["metadata"]["name"]), "Background")


def build_map(name: str, **data: str) -> Any:
    metadata = {"name": name, "namespace": "default", "labels": {"nvoi.io/test": "api"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def list_names(api: Api) -> list[str]:
    found = api.list_all("configmaps", "default", selector=SELECTOR).items
    return [item["metadata"]["name"] for item in found]


def test_what_an_owner_applies_is_its_own_until_it_names_it_no_more(api: Api) -> None:
    api.apply(build_map("nvoi-a", one="1", two="2"))
    api.apply(build_map("nvoi-a", three="3"), "somebody-else")
    applied = api.apply(build_map("nvoi-a", one="1"))
    found = api.find(Reference("ConfigMap", "nvoi-a"))
    assert found is not None
    assert found["data"] == applied["data"] == {"one": "1", "three": "3"}
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
    assert "managedFields" not in found["metadata"]


def test_what_others_have_set_is_taken_back_and_told(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    reference = Reference("ConfigMap", "nvoi-a")
    api.apply(build_map("nvoi-a", one="1", two="2"))
    for manager, change in (("kubectl-edit", {"one": "9"}), ("nvoi-node-blog", {"two": "9"})):
        api._client.request(
            "PATCH",
            build_path(reference),
            query={"fieldManager": manager},
            body={"data": change},
            headers={"Content-Type": "application/merge-patch+json"},
        )
    api.apply(build_map("nvoi-a", one="1", two="2", three="3"))
    found = api.find(reference)
    assert found is not None
    assert found["data"] == {"one": "1", "two": "2", "three": "3"}
    wanted = "configmap/nvoi-a: taking back what others have set: .data.one (kubectl-edit)"
    assert [record.getMessage() for record in caplog.records] == [wanted]
    caplog.clear()
    api.apply(build_map("nvoi-a", one="8"))
    assert caplog.records == []


def test_what_is_patched_with_none_goes(api: Api) -> None:
    api.apply(build_map("nvoi-a", one="1", two="2"))
    reference = Reference("ConfigMap", "nvoi-a")
    assert api.patch(reference, {"data": {"one": None}})["data"] == {"two": "2"}
    with pytest.raises(RequestError) as caught:
        api.patch(Reference("ConfigMap", "nvoi-none"), {})
    assert explain(caught.value) == ('configmaps "nvoi-none" not found',)


def test_all_of_a_kind_come_page_by_page_with_their_kind(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    names = [f"nvoi-{letter}" for letter in "abcde"]
    for name in names:
        api.apply(build_map(name))
    found = api.list_all("configmaps", "default", selector=SELECTOR).items
    assert [item["metadata"]["name"] for item in found] == names
    assert {item["kind"] for item in found} == {"ConfigMap"}


def test_names_are_had_without_what_the_objects_hold(api: Api) -> None:
    api.apply(build_map("nvoi-a", one="1"))
    (listed,) = api.list_all("configmaps", "default", selector=SELECTOR, names_only=True).items
    found = api.find(Reference("ConfigMap", "nvoi-a"), names_only=True)
    for item in (listed, found):
        assert item is not None
        assert (item["kind"], item["metadata"]["name"]) == ("ConfigMap", "nvoi-a")
        assert "data" not in item
    assert api.find(Reference("ConfigMap", "nvoi-none"), names_only=True) is None


def test_what_is_deleted_twice_is_gone_and_what_took_its_place_stays(api: Api) -> None:
    api.apply(build_map("nvoi-a"))
    reference = Reference("ConfigMap", "nvoi-a")
    assert api.delete(reference, "Background", uid="uid-of-the-one-before")
    found = api.find(reference)
    assert found is not None
    assert api.delete(reference, "Background", uid=found["metadata"]["uid"])
    assert api.delete(reference, "Foreground")
    assert api.find(reference) is None


def test_what_is_immutable_is_refused_without_its_value(api: Api) -> None:
    value = b64encode(b"s3cr3t-0f-it").decode()
    metadata = {"name": "nvoi-secret", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": True}
    api.apply(secret | {"data": {"A": value}})
    try:
        with pytest.raises(RequestError) as caught:
            api.apply(secret | {"data": {"A": value, "B": value}})
        (sentence,) = explain(caught.value)
        assert sentence.startswith("secret nvoi-secret: data: Forbidden: field is immutable")
    finally:
        api.delete(Reference("Secret", "nvoi-secret"), "Background")


def watch(api: Api) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a watch tells of the test's objects, by their names."""
    for change in api.watch("configmaps", "default", selector=SELECTOR):
        yield change.type, tuple(item["metadata"]["name"] for item in change.items)


def test_a_watch_tells_what_there_is_and_each_change(api: Api) -> None:
    api.apply(build_map("nvoi-a"))
    seen = watch(api)
    assert next(seen) == ("LISTED", ("nvoi-a",))
    api.apply(build_map("nvoi-b"))
    assert next(seen) == ("ADDED", ("nvoi-b",))
    api.apply(build_map("nvoi-b", one="1"))
    assert next(seen) == ("MODIFIED", ("nvoi-b",))
    api.delete(Reference("ConfigMap", "nvoi-a"), "Background")
    assert next(seen) == ("DELETED", ("nvoi-a",))


def test_a_watch_that_is_cancelled_ends(api: Api) -> None:
    has_listed = threading.Event()

    def follow() -> None:
        for _ in watch(api):
            has_listed.set()

    task = Task(follow)
    task.start()
    assert has_listed.wait(PATIENCE)
    task.cancel()
    with pytest.raises(CancelledError):
        task.future.result(timeout=PATIENCE)


def test_a_watch_that_is_lost_goes_on_where_it_was_or_lists_again(
    api: Api, state: ClusterState | None
) -> None:
    if state is None:
        pytest.skip("a real cluster forgets nothing that soon")
    seen = watch(api)
    assert next(seen) == ("LISTED", ())
    state.api.cut()
    api.apply(build_map("nvoi-a"))
    assert next(seen) == ("ADDED", ("nvoi-a",))
    state.forget_changes()
    api.apply(build_map("nvoi-b"))
    assert next(seen) == ("LISTED", ("nvoi-a", "nvoi-b"))


def test_a_page_whose_place_is_forgotten_is_asked_for_from_the_beginning(
    api: Api, state: ClusterState | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state is None:
        pytest.skip("a real cluster forgets nothing that soon")
    for name in ("nvoi-a", "nvoi-b"):
        api.apply(build_map(name))
    monkeypatch.setattr(module, "PAGE", 1)
    gone = {"after": 1, "status": 410, "reason": "Expired"}
    state.scenario(fail={"get configmaps": gone})
    assert list_names(api) == ["nvoi-a", "nvoi-b"]


def test_an_api_that_another_authority_vouches_for_is_not_asked(
    state: ClusterState | None, tmp_path: Path
) -> None:
    text = read_kubeconfig(state)
    config = parse_kubeconfig(text)
    other = b64encode(config.authority.encode()).decode()
    own = b64encode(config.certificate.encode()).decode()
    with pytest.raises(RequestError, match="its certificate is not to be trusted"):
        connect(text.replace(other, own)).list_all("configmaps", "default")


def test_a_kubeconfig_s_key_is_on_no_disk_and_in_no_text(
    state: ClusterState | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {*tmp_path.iterdir()}
    config = parse_kubeconfig(read_kubeconfig(state))
    written: list[str] = []

    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, file: Any, **options: Any) -> None:
        written.append(Path(file).read_text())
        load(self, file, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    build_ssl_context(config)
    assert {*tmp_path.iterdir()} == before
    assert "ENCRYPTED PRIVATE KEY" in written[0]
    body = config.key.reveal().splitlines()[1]
    assert body not in written[0]
    with pytest.raises(ServiceError, match="cannot be used"):
        build_ssl_context(replace(config, key=Secret("none")))
    with pytest.raises(ServiceError, match="cannot be used"):
        build_ssl_context(replace(config, certificate=config.authority))
    assert "PRIVATE KEY" not in repr(config)
