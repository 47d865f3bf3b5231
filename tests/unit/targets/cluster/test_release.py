"""When a release stands, what a failed run takes back, and what where it cannot do all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from nvoi.errors import NvoiError, ServiceError
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.release import apply_secrets, find_changes, keep_release, restore
from nvoi.targets.cluster.rollback import remove_newer
from tests.unit.targets.cluster.runs import SERVERS, STAMPS, WEB, build, record, see

WITH_JOB = SERVERS + "app: {web: {servers: [main], port: 3000, pre_run_command: migrate}}"
WITH_EXTRA = SERVERS + "app: {web: {servers: [main], port: 3000}, extra: {servers: [main]}}"
WEB_ALONE = {"deployment/shop-web", "service/shop-web", "poddisruptionbudget/shop-web"}
CACHE = "\nservices: {cache: {servers: [main], image: 'redis:7', port: 6379}}"


@dataclass
class Recorder:
    """In the place of a cluster: keeps what it was asked for, and refuses what it is told to."""

    refuses: dict[str, NvoiError] = field(default_factory=dict)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def apply(self, manifests: Iterable[Any]) -> None:
        self._take("apply", map(read_reference, manifests))

    def delete(self, references: Iterable[Reference], *, wait: bool = True) -> None:
        self._take("delete" if wait else "delete later", references)

    def restore(self, before: Iterable[Any], created: Iterable[Reference]) -> None:
        del created
        self._take("restore", map(read_reference, before))

    def _take(self, verb: str, references: Iterable[Reference]) -> None:
        self.asked.append((verb, [str(one) for one in references]))
        if verb in self.refuses:
            raise self.refuses[verb]


def connect(context: ClusterContext, **refuses: NvoiError) -> Recorder:
    recorder = Recorder({verb.replace("_", " "): error for verb, error in refuses.items()})
    context.__dict__["cluster"] = recorder
    return recorder


def test_a_release_that_is_kept_is_not_taken_back() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept])
    recorder = connect(context)
    apply_secrets(context)
    keep_release(context)
    restore(context)
    assert [verb for verb, _ in recorder.asked] == ["apply", "apply"]


def test_one_that_has_only_begun_is_known_to_the_cluster_from_its_first_change() -> None:
    context = see([])
    recorder = connect(context)
    apply_secrets(context)
    ((_, applied),) = recorder.asked
    assert f"secret/nvoi-shop-release-{context.rollout.stamp}" in applied


def test_a_rollback_stands_where_what_is_newer_cannot_be_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = see([record(STAMPS[0]), *build(WITH_EXTRA, STAMPS[1]).kept])
    recorder = connect(context, delete_later=NvoiError("main-1: no"))
    context.rollout.apps = context.state.records[0].manifests
    context.rollout.applied += context.rollout.apps
    remove_newer(context)
    ((_, removed),) = recorder.asked
    assert removed[0] == "deployment/shop-extra"
    assert "Not removed" in caplog.text
    restore(context)
    assert [verb for verb, _ in recorder.asked] == ["delete later"]


def test_a_job_is_ended_even_where_the_old_release_does_not_come_up() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept], text=WITH_JOB)
    recorder = connect(context, restore=ServiceError("web: no"))
    context.rollout.applied += build(WITH_JOB, context.rollout.stamp).all
    with pytest.raises(ServiceError):
        restore(context)
    assert recorder.asked[-1] == ("delete", [f"job/shop-web-pre-run-{context.rollout.stamp}"])


def run(context: ClusterContext, text: str) -> None:
    """Have the run apply a release."""
    context.rollout.applied += build(text, STAMPS[5]).all


def names(references: Any) -> set[str]:
    return {str(one) for one in references if one.kind != "Secret"}


def test_what_there_was_comes_back_and_what_was_made_goes() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept], text=WITH_EXTRA)
    run(context, WITH_EXTRA + CACHE)
    before, created = find_changes(context.state, context.rollout.applied)
    assert names(before) == WEB_ALONE | {"networkpolicy/nvoi-shop"}
    served = Reference("Deployment", "shop-web")
    assert before[served] in context.state.records[0].manifests
    assert names(created) == {
        "deployment/shop-extra",
        "deployment/shop-cache",
        "service/shop-cache",
    }


def test_after_a_run_that_was_cut_off_the_release_before_that_comes_back() -> None:
    live = [
        record(STAMPS[0]),
        record(STAMPS[1], STAMPS[0], text=WITH_EXTRA, begun=True),
        *build(WITH_EXTRA + CACHE, STAMPS[1]).kept,
    ]
    context = see(live, text=WITH_EXTRA)
    run(context, WITH_EXTRA + CACHE)
    before, created = find_changes(context.state, context.rollout.applied)
    assert context.state.running == STAMPS[0]
    assert before[Reference("Deployment", "shop-web")] in context.state.records[0].manifests
    # No release that served is known to have had it.
    assert names(created) == {"deployment/shop-extra"}
    assert Reference("Deployment", "shop-cache") in before


def test_a_first_release_that_fails_leaves_nothing_even_of_one_that_was_cut_off() -> None:
    live = [record(STAMPS[0], begun=True), *build(WEB, STAMPS[0]).kept]
    context = see(live)
    run(context, WEB)
    before, created = find_changes(context.state, context.rollout.applied)
    assert before == {}
    assert names(created) == WEB_ALONE | {"networkpolicy/nvoi-shop"}


def test_where_the_record_of_what_runs_is_gone_it_comes_back_as_it_was_seen() -> None:
    context = see(build(WEB, STAMPS[0]).kept)
    run(context, WEB)
    before, created = find_changes(context.state, context.rollout.applied)
    assert names(before) == WEB_ALONE | {"networkpolicy/nvoi-shop"}
    assert names(created) == set()
