from __future__ import annotations

import copy
from typing import Any

import pytest

from nvoi.kubernetes import ownership
from nvoi.kubernetes.ownership import Reference
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes.configs import TEXTS, build, container_of, find


def live(*names: str) -> list[Any]:
    items = [item for name in names for item in build(name).all]
    return copy.deepcopy(items)


def shown(references: list[Reference]) -> list[str]:
    return [str(reference) for reference in references]


def test_what_the_config_no_longer_names_is_removed() -> None:
    wanted = build("web").kept
    before = live("web", "postgres")
    obsolete = shown(ownership.find_obsolete("shop", before, wanted))
    assert "statefulset/db-shop" in obsolete
    assert "service/db-shop" in obsolete
    assert any(name.startswith("secret/db-shop-") for name in obsolete)
    assert "deployment/shop-web" not in obsolete


def test_jobs_of_earlier_deploys_are_removed() -> None:
    obsolete = ownership.find_obsolete("shop", live("mounts"), build("mounts").kept)
    assert [item.kind for item in obsolete] == ["Job"]


def test_data_is_never_removed() -> None:
    claim = {"kind": "PersistentVolumeClaim", "metadata": live("web")[0]["metadata"]}
    assert ownership.find_obsolete("shop", [claim], []) == []
    assert len(ownership.find_claims("shop", [claim])) == 1
    assert ownership.find_claims("other", [claim]) == []


@pytest.mark.parametrize("name", ["other", "shop-web", "_shop", "shop_"])
def test_another_app_s_objects_are_left_alone(name: str) -> None:
    assert ownership.find_obsolete(name, live("postgres"), []) == []


def test_what_nvoi_has_not_made_is_left_alone() -> None:
    items = live("web")
    for item in items:
        item["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    assert ownership.find_obsolete("shop", items, []) == []


def test_a_secret_stays_as_long_as_a_kept_release_needs_it() -> None:
    old, new = (build(hetzner(f"app: {{web: {{servers: [main], env: {{A: {n}}}}}}}")) for n in "12")
    (secret,) = old.secrets
    replica_set = copy.deepcopy(find(old, "Deployment", "shop-web")) | {"kind": "ReplicaSet"}
    owner = {"kind": "Deployment", "name": "shop-web"}
    replica_set["metadata"]["ownerReferences"] = [owner]
    items: list[Any] = [*new.kept, secret, replica_set]
    assert ownership.find_obsolete("shop", items, new.kept) == []
    gone = shown(ownership.find_obsolete("shop", items[:-1], new.kept))
    assert gone == [f"secret/{secret['metadata']['name']}"]  # type: ignore[index]


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    items = live("web")
    for item in items:
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert ownership.find_obsolete("shop", items, []) == []


def test_what_cannot_be_changed_is_found_before_it_is_applied() -> None:
    items = live("postgres")
    wanted = build("postgres").kept
    # The cluster has chosen this one.
    find(items, "Service", "shop-web")["spec"]["clusterIP"] = "10.43.7.7"
    assert ownership.list_immutable_changes(items, wanted) == []
    find(items, "Deployment", "shop-web")["spec"]["selector"] = {"matchLabels": {"app": "shop-web"}}
    find(items, "Service", "db-shop")["spec"]["clusterIP"] = "None"
    assert shown(ownership.list_immutable_changes(items, wanted)) == [
        "deployment/shop-web",
        "service/db-shop",
    ]


def test_a_database_that_gets_a_volume_is_made_anew() -> None:
    fixed = ownership.list_immutable_changes(live("disk"), build("postgres").kept)
    assert shown(fixed) == ["statefulset/db-shop"]


def test_a_job_that_ran_before_is_made_anew() -> None:
    fixed = ownership.list_immutable_changes(live("mounts"), build("mounts").all)
    assert [reference.kind for reference in fixed] == ["Job"]


def test_every_config_s_objects_are_of_kinds_that_are_pruned() -> None:
    for name in TEXTS:
        assert {item["kind"] for item in build(name).all} <= set(ownership.KINDS)


def build_kept(deploy_id: str = "run/1") -> list[Any]:
    return [*build("postgres", deploy_id=deploy_id).kept]


def complete(item: Any) -> Any:
    """An object as the API keeps it: with defaults, its own fields, and amounts in its own way."""
    live: Any = copy.deepcopy(ownership.sign(item))
    live["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    live["status"] = {"replicas": 1}
    if "template" in live.get("spec", {}):
        (container,) = live["spec"]["template"]["spec"]["containers"]
        container |= {"imagePullPolicy": "IfNotPresent"}
        limits = container["resources"]["limits"]
        limits["cpu"] = {"1000m": "1"}.get(limits["cpu"], limits["cpu"])
        live["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst"}
    return live


def test_what_was_applied_by_another_deploy_and_is_so_still_is_unchanged() -> None:
    for item, again in zip(build_kept(), build_kept("run/2"), strict=True):
        # Nothing beside a Secret says what it holds.
        assert ownership.is_unchanged(complete(item), again) is (item["kind"] != "Secret")
        assert not ownership.is_unchanged(None, again)


def test_what_others_have_changed_or_deleted_is_not() -> None:
    for item in build_kept():
        live = complete(item)
        live["metadata"]["labels"]["app.kubernetes.io/part-of"] = "blog"
        assert not ownership.is_unchanged(live, item)
        gone = complete(item)
        gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert not ownership.is_unchanged(gone, item)
    deployment = find(build_kept(), "Deployment", "shop-web")
    live = complete(deployment)
    live["spec"]["replicas"] = 5
    assert not ownership.is_unchanged(live, deployment)


def test_what_a_manifest_no_longer_names_is_seen() -> None:
    """It is in the object still, which says all that the manifest says."""
    deployment = find(build_kept(), "Deployment", "shop-web")
    less = copy.deepcopy(deployment)
    del container_of(less)["ports"]
    live = complete(deployment)
    assert ownership.holds(live, less)
    assert not ownership.is_unchanged(live, less)


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ("1", "1000m", True),
        ("1Gi", "1024Mi", True),
        ("2", "1000m", False),
        ("512Mi", "1Gi", False),
        (None, {}, True),
        (None, [], True),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ({"a": 1}, {"a": 2}, False),
        ("text", {"a": 1}, False),
        (False, None, True),
    ],
)
def test_values_are_compared_by_what_they_mean(live: Any, wanted: Any, same: bool) -> None:
    assert ownership.holds(live, wanted) is same
