from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from nvoi.outcome import (
    Outcome,
    Serving,
    Timing,
    describe_serving,
    format_seconds,
    tell_failure,
    tell_success,
)

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(seconds=-300), "1 second ago"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=12, seconds=50), "12 minutes ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=40), "40 days ago"),
    ],
)
def test_a_release_that_serves_on_is_told_by_its_age(age: timedelta, told: str) -> None:
    serving = Serving(f"{NOW - age:%Y%m%d%H%M%S}", ["http://localhost:1"])
    expected = f"the release of {told} still serves at http://localhost:1"
    assert describe_serving("shop", serving, NOW) == expected


@pytest.mark.parametrize(
    ("serving", "told"),
    [
        (Serving(), "nothing of shop serves"),
        (Serving("20260115092900"), "the release of 1 hour ago still serves"),
        (Serving("of-old"), "release of-old still serves"),
        (
            Serving("20260115102900", ["http://localhost:1"], ["api", "worker"]),
            "api and worker of the release of 1 minute ago do not run: deploy again",
        ),
    ],
)
def test_what_serves_is_told_as_it_is(serving: Serving, told: str) -> None:
    assert describe_serving("shop", serving, NOW) == told


def test_only_what_took_long_is_in_the_table_of_times(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="nvoi")
    timings = [Timing("quick", 0.9), Timing("build", 30), Timing("try", 9, failed=True)]
    error = RuntimeError("no")
    tell_failure(Outcome("Deploy", "shop", 40, timings, error=error), verbose=False)
    assert caplog.messages[:4] == [
        "Where the time went:",
        "  build    30.0 s   75 %",
        "  try       9.0 s   22 %, failed",
        "RuntimeError: no",
    ]
    caplog.clear()
    # The line of the step that failed says all of this.
    tell_failure(Outcome("Deploy", "shop", 10, timings[::2], error=error), verbose=False)
    assert caplog.messages[0] == "RuntimeError: no"
    caplog.clear()
    tell_success(Outcome("Delete", "shop", 0.9, timings[:1]))
    assert caplog.messages == ["Delete of shop done in 0.9 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (125.4, "2 min 05 s"),
    ],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
