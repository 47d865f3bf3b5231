from __future__ import annotations

import threading

import pytest

from nvoi.errors import ConnectionFailedError, HostsError, NvoiError
from nvoi.ssh.rounds import Round, current, work_on_all


def test_all_hosts_are_worked_on_at_once_and_answer_in_their_order() -> None:
    barrier = threading.Barrier(3)

    def work(host: str) -> str:
        barrier.wait(10)
        return host.upper()

    assert list(work_on_all(["c", "a", "b"], work).items()) == [("c", "C"), ("a", "A"), ("b", "B")]


def test_one_failure_is_raised_as_it_is_when_all_have_ended() -> None:
    done = []

    def work(host: str) -> None:
        if host == "a":
            raise ConnectionFailedError("a is away")
        done.append(host)

    with pytest.raises(ConnectionFailedError, match="a is away"):
        work_on_all(["a", "b", "c"], work)
    assert sorted(done) == ["b", "c"]


def test_several_failures_are_all_told() -> None:
    def work(host: str) -> None:
        raise NvoiError(f"{host} is away", hint="start it", output=[f"{host} said so"])

    with pytest.raises(HostsError) as caught:
        work_on_all(["a", "b"], work)
    assert str(caught.value) == "a is away\nb is away (start it)"
    assert caught.value.output == ("a said so", "b said so")
    assert [error.message for error in caught.value.errors] == ["a is away", "b is away"]


def test_a_fault_of_the_program_is_raised_as_it_is() -> None:
    def work(host: str) -> None:
        if host == "b":
            raise ZeroDivisionError
        raise NvoiError(host)

    with pytest.raises(ZeroDivisionError):
        work_on_all(["a", "b"], work)


def test_no_hosts_are_no_work() -> None:
    assert work_on_all([], str) == {}


class Piece:
    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


def test_cancelling_ends_what_runs_and_lets_nothing_begin() -> None:
    round_, piece = Round(), Piece()
    with round_.hold(piece):
        round_.cancel()
        assert piece.cancelled.is_set()
    with pytest.raises(NvoiError, match="cancelled"), round_.hold(Piece()):
        pass


def test_each_thread_knows_its_round() -> None:
    rounds = work_on_all(["a", "b"], lambda _: current.get())
    assert rounds["a"] is rounds["b"] is not None
    assert current.get() is None
