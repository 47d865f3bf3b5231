"""When a release stands, and what an undo does where it cannot do all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from nvoi.errors import NvoiError, ServiceError
from nvoi.kubernetes.ownership import Reference, read_reference
from nvoi.targets.cluster.cleaning import record as keep
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.rollback import remove_newer
from nvoi.targets.cluster.undoing import undo
from nvoi.targets.cluster.workloads import apply_secrets
from tests.unit.targets.cluster.runs import SERVERS, STAMPS, WEB, build, record, see

WITH_JOB = SERVERS + "app: {web: {servers: [main], port: 3000, pre_run_command: migrate}}"
WITH_EXTRA = SERVERS + "app: {web: {servers: [main], port: 3000}, extra: {servers: [main]}}"


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
    keep(context)
    undo(context)
    assert [verb for verb, _ in recorder.asked] == ["apply", "apply"]


def test_one_that_has_only_begun_is_known_to_the_cluster_from_its_first_change() -> None:
    context = see([])
    recorder = connect(context)
    apply_secrets(context)
    ((_, applied),) = recorder.asked
    assert f"secret/nvoi-shop-release-{context.stamp}" in applied


def test_a_rollback_stands_where_what_is_newer_cannot_be_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = see([record(STAMPS[0]), *build(WITH_EXTRA, STAMPS[1]).kept])
    recorder = connect(context, delete_later=NvoiError("main-1: no"))
    context.serving = context.records[0].manifests
    context.applied += context.serving
    remove_newer(context)
    ((_, removed),) = recorder.asked
    assert removed[0] == "deployment/shop-extra"
    assert "Not removed" in caplog.text
    undo(context)
    assert [verb for verb, _ in recorder.asked] == ["delete later"]


def test_a_job_is_ended_even_where_the_old_release_does_not_come_up() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept], text=WITH_JOB)
    recorder = connect(context, restore=ServiceError("web: no"))
    context.applied += build(WITH_JOB, context.stamp).all
    with pytest.raises(ServiceError):
        undo(context)
    assert recorder.asked[-1] == ("delete", [f"job/shop-web-pre-run-{context.stamp}"])
