"""What one client may do; what it comes to over HTTP is tested there."""

from __future__ import annotations

import contextlib

import pytest

from nvoi.dashboard import limits
from nvoi.dashboard.limits import (
    GUESS_WINDOW,
    GUESSES_OF_ALL,
    GUESSES_OF_ONE,
    LONGEST_WAIT,
    Allowance,
    Guesses,
    RateLimit,
)


def test_a_burst_is_let_through_and_then_one_for_each_that_the_rate_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    limit = RateLimit(2.0, 3.0, clock=lambda: now)
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert limit.take("b") == 0
    now += 0.5
    assert [limit.take("a") for _ in range(2)] == [0, 0.5]
    now += 3600
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    # The bucket that was used longest ago makes room.
    monkeypatch.setattr(limits, "MOST_BUCKETS", 2)
    limit.take("c")
    limit.take("b")
    assert limit.take("a") == 0


# -- guesses --------------------------------------------------------------------------------


class Clock:
    now = 1_700_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def guess_wrong(guesses: Guesses, count: int) -> None:
    for number in range(count):
        guesses.add_wrong(f"client {number}")


def test_a_client_may_guess_wrong_a_few_times_and_then_waits_longer_each_time(
    guesses: Guesses, clock: Clock
) -> None:
    waits = []
    for _ in range(GUESSES_OF_ONE + 7):
        waits.append(guesses.find_wait("a"))
        guesses.add_wrong("a")
    assert waits == [0] * GUESSES_OF_ONE + [1, 2, 4, 8, 16, LONGEST_WAIT, LONGEST_WAIT]
    assert guesses.find_wait("b") == 0
    clock.now += int(GUESS_WINDOW)
    assert guesses.find_wait("a") == 0


def test_many_clients_together_wait_but_not_who_knew_the_password(
    guesses: Guesses, clock: Clock
) -> None:
    guesses.add_right("known")
    guess_wrong(guesses, GUESSES_OF_ALL - 1)
    assert guesses.find_wait("another") == 0
    guess_wrong(guesses, 1)
    assert (guesses.find_wait("another"), guesses.find_wait("known")) == (1, 0)
    guess_wrong(guesses, 1000)
    assert guesses.find_wait("another") == LONGEST_WAIT
    # It waits for guesses of its own.
    for _ in range(GUESSES_OF_ONE):
        guesses.add_wrong("known")
    assert guesses.find_wait("known") == 1
    clock.now += int(GUESS_WINDOW)
    assert guesses.find_wait("another") == 0


def test_the_right_password_forgives_the_wrong_ones_before_it(guesses: Guesses) -> None:
    for _ in range(GUESSES_OF_ONE - 1):
        guesses.add_wrong("a")
    guesses.add_right("a")
    guesses.add_wrong("a")
    assert guesses.find_wait("a") == 0


def test_one_client_may_hold_a_share_and_all_together_no_more_than_there_is() -> None:
    allowance = Allowance(10, 4)
    with contextlib.ExitStack() as stack:
        holds = {who: stack.enter_context(allowance.reserve(who)) for who in "abc"}
        assert [holds["a"](2) for _ in range(3)] == [True, True, False]
        assert holds["b"](4)
        assert not holds["c"](1)
    with allowance.reserve("a") as hold:
        assert hold(4)
