from __future__ import annotations

import logging

import pytest

from nvoi.waiting import NotReadyError, Reminder, wait_for

log = logging.getLogger("nvoi.test")


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def look_until(clock: Clock, moment: float) -> str:
    if clock.now < moment:
        raise NotReadyError(f"seen at {clock.now - 100:.0f}")
    return "there"


def wait(clock: Clock, moment: float, seconds: float = 60.0) -> str:
    return wait_for(
        lambda: look_until(clock, moment),
        what="the thing",
        seconds=seconds,
        log=log,
        sleep=clock.sleep,
        clock=clock,
    )


def test_pauses_grow_to_the_longest(clock: Clock) -> None:
    wait(clock, 130.0)
    assert clock.pauses[:3] == pytest.approx([0.02, 0.03, 0.045])
    assert max(clock.pauses) == 1.0


def test_the_deadline_raises_what_was_seen_last(clock: Clock) -> None:
    with pytest.raises(NotReadyError, match="seen at 5"):
        wait(clock, 200.0, seconds=5.0)
    assert clock.now == pytest.approx(105.0)


def test_what_comes_at_the_deadline_is_still_found(clock: Clock) -> None:
    assert wait(clock, 105.0, seconds=5.0) == "there"


def test_another_error_ends_the_wait(clock: Clock) -> None:
    def look() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        wait_for(look, what="x", seconds=9, log=log, sleep=clock.sleep, clock=clock)


def test_a_long_wait_says_every_15_seconds_what_it_is_for(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wait(clock, 140.0)
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("waiting for the thing (15 s): seen at 15")
    assert second.startswith("waiting for the thing (3")


def test_a_reminder_counts_anew_when_something_was_heard(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reminder = Reminder("the command", log, clock)
    clock.sleep(14)
    reminder.restart()
    clock.sleep(14)
    reminder.tell()
    assert caplog.messages == []
    clock.sleep(1)
    reminder.tell()
    assert caplog.messages == ["waiting for the command (29 s)"]
