"""Token buckets, and wrong passwords."""

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


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_let_through_and_then_one_for_each_that_the_rate_gives(clock: Clock) -> None:
    limit = RateLimit(2.0, 3.0, clock=clock)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.5
    assert limit.take("a") == 0
    assert limit.take("a") == 0.5


def test_who_waits_as_told_is_let_through(clock: Clock) -> None:
    limit = RateLimit(3.0, 1.0, clock=clock)
    limit.take("a")
    clock.now += 0.1
    clock.now += limit.take("a") + 1e-9
    assert limit.take("a") == 0


def test_a_refusal_takes_nothing(clock: Clock) -> None:
    limit = RateLimit(1.0, 1.0, clock=clock)
    limit.take("a")
    assert {limit.take("a") for _ in range(100)} == {1.0}


def test_each_key_has_a_bucket_of_its_own(clock: Clock) -> None:
    limit = RateLimit(1.0, 1.0, clock=clock)
    assert (limit.take("a"), limit.take("b")) == (0, 0)
    assert limit.take("a") > 0


def test_a_bucket_holds_no_more_than_a_burst(clock: Clock) -> None:
    limit = RateLimit(1.0, 2.0, clock=clock)
    limit.take("a")
    clock.now += 3600
    assert [limit.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_only_so_many_buckets_are_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BUCKETS", 2)
    limit = RateLimit(1.0, 1.0, clock=clock)
    for key in ("a", "b", "a", "c"):
        limit.take(key)
    # b was used longest ago.
    assert limit.take("a") > 0
    assert limit.take("b") == 0


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def test_a_client_may_guess_wrong_a_few_times_and_then_waits_longer_each_time(
    guesses: Guesses, clock: Clock
) -> None:
    waits = []
    for _ in range(GUESSES_OF_ONE + 7):
        waits.append(guesses.find_wait("a"))
        guesses.add_wrong("a")
    assert waits == [0] * GUESSES_OF_ONE + [1, 2, 4, 8, 16, LONGEST_WAIT, LONGEST_WAIT]
    assert guesses.find_wait("b") == 0
    clock.now += GUESS_WINDOW
    assert guesses.find_wait("a") == 0


def test_many_clients_together_have_to_wait_too(guesses: Guesses, clock: Clock) -> None:
    for number in range(GUESSES_OF_ALL):
        assert guesses.find_wait(f"client {number}") == 0
        guesses.add_wrong(f"client {number}")
    assert guesses.find_wait("another") == 1
    for number in range(1000):
        guesses.add_wrong(f"client {number}")
    assert guesses.find_wait("another") == LONGEST_WAIT
    clock.now += GUESS_WINDOW
    assert guesses.find_wait("another") == 0


def test_who_knew_the_password_does_not_wait_for_the_guesses_of_others(guesses: Guesses) -> None:
    guesses.add_right("known")
    for number in range(GUESSES_OF_ALL):
        guesses.add_wrong(f"client {number}")
    assert guesses.find_wait("known") == 0
    assert guesses.find_wait("unknown") > 0


def test_who_knew_the_password_still_waits_for_guesses_of_its_own(guesses: Guesses) -> None:
    guesses.add_right("known")
    for _ in range(GUESSES_OF_ONE):
        guesses.add_wrong("known")
    assert guesses.find_wait("known") == 1


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
