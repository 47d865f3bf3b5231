"""What a failed run takes back."""

from __future__ import annotations

from typing import Any

from nvoi.kubernetes.ownership import Reference
from nvoi.targets.cluster.context import ClusterContext
from nvoi.targets.cluster.undoing import sort
from tests.unit.targets.cluster.runs import SERVERS, STAMPS, WEB, build, record, see

WITH_EXTRA = SERVERS + "app: {web: {servers: [main], port: 3000}, extra: {servers: [main]}}"
CACHE = "\nservices: {cache: {servers: [main], image: 'redis:7', port: 6379}}"


def run(context: ClusterContext, text: str) -> None:
    """Have the run apply a release."""
    context.applied += build(text, STAMPS[5]).all


def names(references: Any) -> set[str]:
    return {str(one) for one in references if one.kind != "Secret"}


def test_what_there_was_comes_back_and_what_was_made_goes() -> None:
    context = see([record(STAMPS[0]), *build(WEB, STAMPS[0]).kept], text=WITH_EXTRA)
    run(context, WITH_EXTRA + CACHE)
    before, created = sort(context)
    assert names(before) == {"deployment/shop-web", "service/shop-web"}
    served = Reference("Deployment", "shop-web")
    assert before[served] in context.records[0].manifests
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
    before, created = sort(context)
    assert context.running == STAMPS[0]
    assert before[Reference("Deployment", "shop-web")] in context.records[0].manifests
    # No release that served is known to have had it.
    assert names(created) == {"deployment/shop-extra"}
    assert Reference("Deployment", "shop-cache") in before


def test_a_first_release_that_fails_leaves_nothing_even_of_one_that_was_cut_off() -> None:
    live = [record(STAMPS[0], begun=True), *build(WEB, STAMPS[0]).kept]
    context = see(live)
    run(context, WEB)
    before, created = sort(context)
    assert before == {}
    assert names(created) == {"deployment/shop-web", "service/shop-web"}


def test_where_the_record_of_what_runs_is_gone_it_comes_back_as_it_was_seen() -> None:
    context = see(build(WEB, STAMPS[0]).kept)
    run(context, WEB)
    before, created = sort(context)
    assert names(before) == {"deployment/shop-web", "service/shop-web"}
    assert names(created) == set()
