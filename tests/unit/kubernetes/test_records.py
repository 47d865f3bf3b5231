from __future__ import annotations

import json
from typing import Any

import pytest

from nvoi.kubernetes import ownership, records
from nvoi.kubernetes.application import build_manifests
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

STAMPS = ("20260101000000", "20260102000000", "20260103000000", "20260104000000")


def record(stamp: str, value: str = "1") -> Any:
    text = hetzner(f"app: {{web: {{servers: [main], env: {{A: {value}}}}}}}")
    release = configs.build_release(text, stamp=stamp, deploy_id=f"run/{stamp}")
    return records.build_record(release, build_manifests(release).apps)


@pytest.mark.parametrize("name", configs.NAMES)
def test_a_release_comes_back_from_its_record_as_it_was(name: str) -> None:
    release = configs.build_release(name)
    apps = build_manifests(release).apps
    item: Any = json.loads(json.dumps(records.build_record(release, apps)))
    (found,) = records.list_records(release.application.name, [item])
    assert found.manifests == apps
    assert (found.stamp, found.deploy_id) == (configs.STAMP, "run/1")
    assert len(item["metadata"]["name"]) <= 63


@pytest.mark.parametrize("version", VERSIONS)
def test_records_pass_the_cluster_s_schemas(version: str) -> None:
    assert find_errors(record(STAMPS[0]), version) == []


def test_the_same_release_gives_the_same_record() -> None:
    assert record(STAMPS[0]) == record(STAMPS[0])


def test_an_app_s_releases_are_listed_newest_first() -> None:
    items = [record(STAMPS[1]), record(STAMPS[0]), record(STAMPS[2])]
    found = records.list_records("shop", items)
    assert [item.stamp for item in found] == [STAMPS[2], STAMPS[1], STAMPS[0]]
    assert records.list_records("other", items) == []


def test_the_running_release_is_that_of_the_deployments() -> None:
    items: Any = configs.build("web", stamp=STAMPS[1]).kept
    assert records.find_running("shop", items) == STAMPS[1]
    assert records.find_running("other", items) is None


@pytest.mark.parametrize(
    ("running", "keep", "expired"),
    [
        (STAMPS[3], 2, [STAMPS[0]]),
        (STAMPS[3], 1, [STAMPS[1], STAMPS[0]]),
        (STAMPS[3], 9, []),
        # After going back, what one can go back to still stays.
        (STAMPS[1], 1, [STAMPS[3], STAMPS[2]]),
    ],
)
def test_the_running_release_and_those_to_go_back_to_are_kept(
    running: str, keep: int, expired: list[str]
) -> None:
    items = records.list_records("shop", [record(stamp) for stamp in STAMPS])
    assert [item.stamp for item in records.find_expired(items, running, keep)] == expired


def test_secrets_of_kept_releases_stay_and_records_are_not_pruned() -> None:
    old, new = record(STAMPS[0], "1"), record(STAMPS[1], "2")
    text = hetzner("app: {web: {servers: [main], env: {A: 1}}}")
    secrets: Any = configs.build(text).secrets
    live = [old, new, *secrets]
    (kept,) = records.list_records("shop", [old])
    assert ownership.find_obsolete("shop", live, [], kept.manifests) == []
    obsolete = ownership.find_obsolete("shop", live, [])
    assert obsolete == [ownership.read_reference(item) for item in secrets]
