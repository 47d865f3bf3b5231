from __future__ import annotations

import json
from typing import Any

import pytest

from nvoi.kubernetes import ownership, releases
from nvoi.kubernetes.manifests import build_manifests
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.schemas import VERSIONS, find_errors

STAMPS = ("20260101000000", "20260102000000", "20260103000000", "20260104000000")


def record(
    stamp: str, value: str | None = None, before: str | None = None, *, begun: bool = False
) -> Any:
    """The record of a release; those of other values of A run something else."""
    text = hetzner(f"app: {{web: {{servers: [main], env: {{A: {value or stamp}}}}}}}")
    release = configs.build_release(text, stamp=stamp, deploy_id=f"run/{stamp}")
    apps = build_manifests(release).apps
    return releases.build_record(release, apps, before=before, is_begun=begun)


def list_records(live: Any) -> list[releases.ReleaseRecord]:
    return releases.read_records("shop", live)


def find_running(live: Any) -> str | None:
    return releases.find_running(releases.list_stamps("shop", live), list_records(live))


def find_previous(items: Any, running: str) -> str | None:
    found = releases.find_previous(items, running)
    return found.stamp if found else None


def find_expired(items: Any, running: str, keep: int) -> list[str]:
    return [one.stamp for one in releases.find_expired(items, running, keep)]


def deployment(stamp: str) -> Any:
    return configs.find(configs.build("web", stamp=stamp).apps, "Deployment", "shop-web")


@pytest.mark.parametrize("name", configs.NAMES)
def test_a_release_comes_back_from_its_record_as_it_was(name: str) -> None:
    release = configs.build_release(name)
    manifests = build_manifests(release)
    kept = (*manifests.database, *manifests.services, *manifests.apps)
    item: Any = json.loads(json.dumps(releases.build_record(release, kept)))
    (found,) = releases.read_records(release.application.name, [item])
    assert (found.manifests, found.apps) == (kept, manifests.apps)
    assert (found.stamp, found.deploy_id) == (configs.STAMP, "run/1")
    assert len(item["metadata"]["name"]) <= 63


@pytest.mark.parametrize("version", VERSIONS)
def test_records_pass_the_cluster_s_schemas(version: str) -> None:
    assert find_errors(record(STAMPS[0]), version) == []


def test_an_app_s_releases_are_listed_newest_first() -> None:
    items = [record(STAMPS[1]), record(STAMPS[0]), record(STAMPS[2])]
    found = list_records(items)
    assert [item.stamp for item in found] == [STAMPS[2], STAMPS[1], STAMPS[0]]
    assert releases.read_records("other", items) == []


DAMAGES: dict[str, Any] = {
    "no data": {"data": None},
    "no base64": {"data": {"manifests": "%"}},
    "cut off": {"data": {"manifests": record(STAMPS[1])["data"]["manifests"][:40]}},
    "no archive": {"data": {"manifests": "e30="}},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_record_that_is_damaged_is_told_and_stands_in_nobody_s_way(
    damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    live = [record(STAMPS[0]), record(STAMPS[1]) | damage, deployment(STAMPS[1])]
    assert [(item.stamp, bool(item.manifests)) for item in list_records(live)] == [
        (STAMPS[1], False),
        (STAMPS[0], True),
    ]
    assert find_running(live) == STAMPS[1]
    assert "nvoi-shop-release-20260102000000 cannot be read" in caplog.text
    # What was cut off does not run for that.
    live[1] = record(STAMPS[1], before=STAMPS[0], begun=True) | damage
    assert find_running(live) == STAMPS[0]


def test_the_running_release_is_that_of_the_deployments() -> None:
    items: Any = configs.build("web", stamp=STAMPS[1]).kept
    assert find_running(items) == STAMPS[1]
    assert releases.list_stamps("other", items) == set()


def test_a_release_that_was_cut_off_does_not_run_and_cannot_be_gone_back_to() -> None:
    live = [record(STAMPS[0]), record(STAMPS[1], before=STAMPS[0], begun=True)]
    live.append(deployment(STAMPS[1]))
    assert find_running(live) == STAMPS[0]
    found = [(item.stamp, item.is_begun) for item in list_records(live)]
    assert found == [(STAMPS[1], True), (STAMPS[0], False)]
    # Another one that was cut off after it.
    live += [record(STAMPS[2], before=STAMPS[0], begun=True), deployment(STAMPS[2])]
    assert find_running(live) == STAMPS[0]
    # The very first one.
    first = [record(STAMPS[0], begun=True), deployment(STAMPS[0])]
    assert find_running(first) is None


def test_a_deployment_that_could_not_be_removed_does_not_say_what_runs() -> None:
    live = [record(STAMPS[0]), record(STAMPS[1]), deployment(STAMPS[0]), deployment(STAMPS[1])]
    assert find_running(live) == STAMPS[1]


def test_an_app_without_services_of_its_own_runs_its_newest_release() -> None:
    assert find_running([record(STAMPS[1]), record(STAMPS[0])]) == STAMPS[1]


@pytest.mark.parametrize(
    ("running", "before"),
    [
        # Deployed after going back from 2 to 1: 2 is not what served before.
        (STAMPS[3], STAMPS[1]),
        (STAMPS[2], STAMPS[1]),
        (STAMPS[1], STAMPS[0]),
        (STAMPS[0], None),
    ],
)
def test_what_served_before_a_release_is_what_one_goes_back_to(
    running: str, before: str | None
) -> None:
    history = {3: 1, 2: 1, 1: 0, 0: None}
    live = [record(STAMPS[n], before=None if b is None else STAMPS[b]) for n, b in history.items()]
    kept = list_records(live)
    assert find_previous(kept, running) == before
    # And it stays for that, rather than the newer one that was left.
    assert STAMPS[2] in find_expired(kept, STAMPS[3], 2)


def test_where_what_served_before_is_not_kept_the_newest_older_one_is_gone_back_to() -> None:
    live = [record(STAMPS[3], before=STAMPS[2]), record(STAMPS[1]), record(STAMPS[0])]
    assert find_previous(list_records(live), STAMPS[3]) == STAMPS[1]


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
    items = list_records([record(stamp) for stamp in STAMPS])
    assert find_expired(items, running, keep) == expired


def test_releases_that_run_the_same_do_not_count_and_are_removed() -> None:
    one, two, three, four = STAMPS
    # Three deploys of one commit after another one's; the second of them is the running one's base.
    live = [
        record(one, "a"),
        record(two, "b", one),
        record(three, "b", one),
        record(four, "b", one),
    ]
    items = list_records(live)
    assert find_expired(items, four, 1) == [three, two]
    assert find_previous(items, four) == one
    # As it is where only a group of servers was renamed between the two.
    live[-1] = record(four, "b", three)
    assert find_previous(list_records(live), four) == one
    alone = list_records(live[1:])
    assert find_previous(alone, four) is None
    assert find_expired(alone, four, 2) == [three, two]


def test_what_served_before_something_else_stays_though_it_runs_again() -> None:
    one, two, three, _ = STAMPS
    live = [record(one, "a"), record(two, "b", one), record(three, "a", two)]
    items = list_records(live)
    assert find_expired(items, three, 2) == []
    assert find_previous(items, two) == one


def test_secrets_of_kept_releases_stay_and_records_are_not_pruned() -> None:
    old, new = record(STAMPS[0], "1"), record(STAMPS[1], "2")
    text = hetzner("app: {web: {servers: [main], env: {A: 1}}}")
    secrets: Any = configs.build(text).secrets
    live = [old, new, *secrets]
    (kept,) = list_records([old])
    assert ownership.find_obsolete("shop", live, [], kept.manifests) == []
    obsolete = ownership.find_obsolete("shop", live, [])
    assert obsolete == [ownership.read_reference(item) for item in secrets]
