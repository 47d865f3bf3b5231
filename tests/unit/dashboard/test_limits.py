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
    WAITING_OF_ALL,
    WAITING_OF_ONE,
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


def test_only_so_many_guesses_wait_at_one_time(guesses: Guesses) -> None:
    guesses.add_right("known")
    for _ in range(GUESSES_OF_ALL):
        guesses.add_wrong("a")
    with contextlib.ExitStack() as stack:

        def hold(client: str) -> float | None:
            return stack.enter_context(guesses.hold(client))

        waits = [hold("a") for _ in range(WAITING_OF_ONE + 1)]
        assert waits == [LONGEST_WAIT] * WAITING_OF_ONE + [None]
        waits = [hold(f"client {number}") for number in range(WAITING_OF_ALL - WAITING_OF_ONE + 1)]
        assert waits == [1] * (WAITING_OF_ALL - WAITING_OF_ONE) + [None]
        assert hold("known") == 0
    with guesses.hold("a") as wait:
        assert wait == LONGEST_WAIT
