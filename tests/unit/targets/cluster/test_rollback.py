"""Which release `nvoi rollback` goes back to."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.errors import NvoiError, UsageError
from nvoi.kubernetes.cloudflared import Connector, build_cloudflared
from nvoi.kubernetes.releases import read_record
from nvoi.secret import Secret
from nvoi.targets.cluster.release import build_own_record
from nvoi.targets.cluster.rollback import choose_release
from tests.unit.targets.cluster.runs import STAMPS, WEB, build, record, see

FIRST, SECOND, THIRD = STAMPS[:3]


def serve(stamp: str) -> list[Any]:
    return [*build(WEB, stamp).kept]


def test_after_going_back_and_a_new_deploy_it_is_the_one_that_served_before() -> None:
    records = [record(FIRST), record(SECOND, FIRST), record(THIRD, FIRST)]
    assert choose_release(see([*records, *serve(THIRD)]).state, None).stamp == FIRST


def test_from_a_deploy_that_was_cut_off_it_is_the_one_that_served() -> None:
    records = [record(FIRST), record(SECOND, FIRST), record(THIRD, SECOND, begun=True)]
    assert choose_release(see([*records, *serve(THIRD)]).state, None).stamp == SECOND
    # Which may be named too: some of it runs no more.
    assert choose_release(see([*records, *serve(THIRD)]).state, SECOND).stamp == SECOND


def test_one_that_was_cut_off_cannot_be_named() -> None:
    live = [record(FIRST), record(SECOND, FIRST, begun=True), *serve(SECOND)]
    with pytest.raises(UsageError, match=f"release {SECOND} is not kept"):
        choose_release(see(live).state, SECOND)


def test_before_the_first_there_is_none() -> None:
    none = "no release that differs from the one that runs is kept from before it"
    with pytest.raises(UsageError, match=none):
        choose_release(see([record(FIRST), *serve(FIRST)]).state, None)
    # Nor where all that ran before was the same.
    same = [record(stamp, image="web:1") for stamp in (FIRST, SECOND)]
    with pytest.raises(UsageError, match=none):
        choose_release(see([*same, *serve(SECOND)]).state, None)


def test_an_unchanged_deploy_goes_back_to_what_served_before_the_release_that_it_repeats() -> None:
    # Gone back from the second to the first, and then on to the third, deployed once more.
    image = "registry.example/web:3"
    live = [record(FIRST), record(SECOND, FIRST), record(THIRD, FIRST, image=image)]
    context = see([*live, *serve(THIRD)])
    context.image.reference = image
    own = read_record(build_own_record(context))
    assert own.before == FIRST
    begun = read_record(build_own_record(context, is_begun=True))
    assert begun.before == THIRD
    context.image.reference = "registry.example/web:4"
    assert read_record(build_own_record(context)).before == THIRD


def test_the_one_that_runs_is_refused() -> None:
    with pytest.raises(UsageError, match="runs already"):
        choose_release(see([record(FIRST), *serve(FIRST)]).state, FIRST)


def test_where_nothing_has_run_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(UsageError, match="kept: none"):
        choose_release(see([]).state, None)


def test_a_release_without_the_service_that_visitors_are_led_to_is_refused() -> None:
    before, after = WEB.replace("web:", "site:"), WEB
    routes = build_cloudflared(Connector("shop", "web", "a-tunnel", Secret("token"), "run"))
    live: list[Any] = [
        record(FIRST, text=before),
        record(SECOND, FIRST, text=after),
        *build(after, SECOND).kept,
        *(item for item in routes if item["kind"] != "Secret"),
    ]
    with pytest.raises(NvoiError, match=f"led to web, which release {FIRST} does not have"):
        choose_release(see(live).state, None)
    live[0] = record(FIRST, text=after)
    assert choose_release(see(live).state, None).stamp == FIRST
