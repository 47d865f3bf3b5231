from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from threading import Condition
from typing import Any

import pytest

from nvoi import operation
from nvoi.errors import CommandError
from nvoi.operation import Operation, Report, Request
from nvoi.signals import ENDING, RAISING, SOON, Interruption, Shield, Signals, interruptible
from tests.integration.log.signals import interrupt
from tests.unit.test_operation import Trail, build_step, build_target


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "text", "code"),
    [
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGHUP, "SIGHUP", 129),
        (signal.SIGQUIT, "SIGQUIT", 131),
    ],
)
def test_the_first_signal_interrupts_what_runs(number: int, text: str, code: int) -> None:
    with pytest.raises(Interruption, match=text) as caught, interruptible():
        send(number)
    assert caught.value.exit_code == code


class Sending:
    """A lock that sends the signal from inside Condition's own code."""

    acquire: Any = staticmethod(print)
    release: Any = staticmethod(print)
    __enter__: Any = staticmethod(partial(os.kill, os.getpid(), signal.SIGINT))
    exits = 0

    def __exit__(self, *exception: object) -> None:
        self.exits += 1


def test_a_lock_that_is_taken_when_a_signal_comes_is_given_back() -> None:
    lock: Any = Sending()
    with pytest.raises(Interruption), interruptible(), Condition(lock):
        for _ in iter(int, 1):
            pass
    assert lock.exits == 1


@pytest.mark.parametrize("number", ENDING)
def test_once_the_outcome_is_settled_a_signal_changes_nothing(number: int) -> None:
    with interruptible() as signals:
        signals.settle()
        send(number)
        if number != signal.SIGINT:
            send(number)


def test_after_the_run_all_are_ignored() -> None:
    with interruptible():
        pass
    for number in ENDING:
        send(number)
        assert signal.getsignal(number) is signal.SIG_IGN


def test_a_second_ctrl_c_has_its_default_effect() -> None:
    with interruptible() as signals:
        signals.settle()
        send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_after_a_ctrl_c_that_was_held_back_a_second_one_has_its_default_effect() -> None:
    with interruptible() as signals:
        signals.settle()
        with signals.hold():
            send(signal.SIGINT)
            send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_where_a_second_ctrl_c_is_to_change_nothing_it_does_not() -> None:
    with interruptible(second_ends=False) as signals:
        signals.settle()
        send(signal.SIGINT)
        send(signal.SIGINT)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_held_back_interrupts_at_the_end(number: int) -> None:
    done = []

    def send_twice(signals: Signals) -> None:
        with signals.hold():
            send(number)
            send(number)
            done.append("held")

    with pytest.raises(Interruption) as caught, interruptible() as signals:
        send_twice(signals)
    assert done == ["held"]
    assert caught.value.exit_code == 128 + number


def test_a_signal_that_is_held_back_until_all_is_settled_changes_nothing() -> None:
    with interruptible() as signals, signals.hold():
        send(signal.SIGTERM)
        signals.settle()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_the_shell_ignores_stays_ignored(number: int) -> None:
    signal.signal(number, signal.SIG_IGN)
    with interruptible():
        send(number)
        assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_a_failed_step_is_undone_does_not_stop_the_undoing(
    request_: Request, number: int
) -> None:
    trail = Trail()
    steps = (
        build_step("a", undo_signal=number),
        build_step("b", CommandError("b failed"), undo_signal=number),
    )
    target = build_target(trail, *steps)
    # One SIGINT is all that is ignored: a second one ends the process.
    wanted = target.deploy[1:] if number == signal.SIGINT else target.deploy
    with interruptible() as signals:
        report = Report(settle=signals.settle)
        with pytest.raises(CommandError, match="b failed"):
            operation.run(Operation("Deploy", target, wanted), request_, report)
    undone = [item for item in trail.done if item.startswith("undone")]
    assert undone == (["undone b"] if number == signal.SIGINT else ["undone b", "undone a"])


class URLs(list[str]):
    """Sends a signal when it is read, which is after the last step."""

    def __iter__(self) -> Iterator[str]:
        send(signal.SIGTERM)
        return iter(["http://localhost:1"])


def test_a_signal_after_the_last_step_does_not_make_a_done_deploy_fail(request_: Request) -> None:
    trail = Trail(urls=URLs())
    target = build_target(trail, build_step("a"))
    with interruptible() as signals:
        report = Report(settle=signals.settle)
        operation.run(Operation("Deploy", target, target.deploy), request_, report)
    assert trail.done == ["open", "run a", "close"]


# -- shields ----------------------------------------------------------------------------------


class HandlerError(Exception):
    """What a program's own handler raises."""


def refuse(number: int, frame: object) -> None:
    raise HandlerError(number)


@pytest.mark.parametrize("number", RAISING)
def test_what_a_handler_raises_waits_for_the_end_of_a_shield(number: int) -> None:
    before = signal.signal(number, refuse)
    done = []

    def send_twice() -> None:
        with Shield(lambda: done.append("noted")):
            send(number)
            send(number)
            done.append("held")

    try:
        with pytest.raises(HandlerError) as caught:
            send_twice()
        assert signal.getsignal(number) is refuse
    finally:
        signal.signal(number, before)
    assert done == ["noted", "noted", "held"]
    assert caught.value.args == (number,)


def test_a_shield_within_a_handler_of_another_holds_back_as_well() -> None:
    done = []

    def close_again(number: int, frame: object) -> None:
        with Shield():
            send(signal.SIGUSR2)
            done.append("inner")

    def close() -> None:
        with Shield():
            send(signal.SIGUSR1)
            done.append("outer")

    before = [signal.signal(signal.SIGUSR1, close_again), signal.signal(signal.SIGUSR2, refuse)]
    try:
        with pytest.raises(HandlerError):
            close()
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGUSR2, before[1])
    assert done == ["inner", "outer"]


def test_a_handler_that_is_set_within_a_shield_stays() -> None:
    def change(number: int, frame: object) -> None:
        signal.signal(number, refuse)

    before = signal.signal(signal.SIGUSR1, change)
    try:
        with Shield():
            send(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is refuse
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_shield_leaves_what_python_does_not_handle(handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Shield():
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interruption_waits_for_the_end_of_a_shield_whatever_takes_a_lock_meanwhile() -> None:
    done = []

    lock: Any = Sending()
    condition = Condition(lock)

    def interrupt_a_lock() -> None:
        with Shield() as shield:
            with condition:
                done.append(len(shield.raised))
            # A timer that would bring it past the shield has its time.
            while 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= SOON:
                pass
            done.append(len(shield.raised))

    with pytest.raises(Interruption), interruptible():
        interrupt_a_lock()
    assert done == [1, 1]


def test_a_signal_while_a_shield_is_put_up_or_lowered_leaves_the_handlers_as_they_were() -> None:
    def use() -> None:
        with Shield():
            pass

    before = signal.getsignal(signal.SIGINT)
    step, passed = 0, True
    while passed:
        step += 1
        try:
            passed = interrupt(use, step, lambda: signal.raise_signal(signal.SIGINT))
        except KeyboardInterrupt:
            passed = True
        assert signal.getsignal(signal.SIGINT) is before
    assert step > 20
