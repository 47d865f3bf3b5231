from __future__ import annotations

import copy
from typing import Any

import pytest

from nvoi.kubernetes import drift, ownership
from nvoi.kubernetes.ownership import Reference
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes.configs import TEXTS, build, find


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
    assert drift.list_immutable_changes(items, wanted) == []
    find(items, "Deployment", "shop-web")["spec"]["selector"] = {"matchLabels": {"app": "shop-web"}}
    find(items, "Service", "db-shop")["spec"]["clusterIP"] = "None"
    assert shown(drift.list_immutable_changes(items, wanted)) == [
        "deployment/shop-web",
        "service/db-shop",
    ]


def test_a_database_that_gets_a_volume_is_made_anew() -> None:
    fixed = drift.list_immutable_changes(live("disk"), build("postgres").kept)
    assert shown(fixed) == ["statefulset/db-shop"]


def test_a_job_that_ran_before_is_made_anew() -> None:
    fixed = drift.list_immutable_changes(live("mounts"), build("mounts").all)
    assert [reference.kind for reference in fixed] == ["Job"]


def test_every_config_s_objects_are_of_kinds_that_are_pruned() -> None:
    for name in TEXTS:
        assert {item["kind"] for item in build(name).all} <= set(ownership.KINDS)
