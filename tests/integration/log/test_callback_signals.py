"""Whatever a signal interrupts, at whichever step: nothing hangs, and no line is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.log import scenarios, signals
from tests.integration.log.accounts import get_messages, read_records
from tests.integration.streams import KEY
from tests.waiting import PATIENCE

STATES = ("new", "closed")


def run(scenario: Callable[..., None], receiver: Receiver, folder: Path, *rest: str) -> list[int]:
    """The numbers that a scenario prints."""
    return list(map(int, scenarios.run_well(scenario, receiver, folder, *rest).split()))


def count(messages: list[str], word: str) -> list[int]:
    """The numbers that follow upon ``word``, in order."""
    return sorted(int(text.split()[1]) for text in messages if text.startswith(f"{word} "))


@pytest.mark.parametrize("state", STATES)
def test_a_signal_handler_may_log_at_any_step_of_a_log_call(tmp_path: Path, state: str) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        (steps,) = run(signals.log_in_the_first_call, receiver, tmp_path, state)
        messages = receiver.messages
    assert steps > 20
    assert count(messages, "first") == list(range(1, steps + 1))
    assert count(messages, "within") == list(range(1, steps))


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_at_any_step_of_a_log_call_costs_no_later_record(tmp_path: Path, state: str) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        (steps,) = run(signals.press_ctrl_c_in_the_first_call, receiver, tmp_path, state)
        messages = receiver.messages
    assert steps > 20
    assert count(messages, "second") == list(range(1, steps + 1))


def test_ctrl_c_at_any_step_of_a_flush_costs_no_record(tmp_path: Path) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        (steps,) = run(signals.press_ctrl_c_while_flushing, receiver, tmp_path)
        messages = receiver.messages
    assert steps > 20
    for word in ("first", "second"):
        assert count(messages, word) == list(range(1, steps + 1))


@pytest.mark.parametrize("state", [*STATES, "without threads"])
def test_ctrl_c_at_any_step_of_closing_keeps_what_was_logged(tmp_path: Path, state: str) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        receiver.pause()
        (steps,) = run(signals.press_ctrl_c_while_closing, receiver, tmp_path, state)
    assert steps > 20
    kept = [record for file in tmp_path.glob("*.jsonl") for record in read_records(file)]
    for word in ("line", "next"):
        assert count(get_messages(kept), word) == list(range(1, steps + 1))


@pytest.mark.parametrize("state", ["with threads", "without threads"])
def test_ctrl_c_while_a_request_is_waited_for_keeps_that_too(tmp_path: Path, state: str) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        receiver.always(behaviours.Hang())
        run(signals.press_ctrl_c_with_a_request_in_hand, receiver, tmp_path, state)
    kept = [record for file in tmp_path.glob("*.jsonl") for record in read_records(file)]
    assert count(get_messages(kept), "line") == [1, 2]


def test_a_name_that_is_found_after_ctrl_c_has_nothing_sent_that_is_kept(tmp_path: Path) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        run(signals.press_ctrl_c_in_a_look_up, receiver, tmp_path)
        assert not receiver.requests
    kept = [record for file in tmp_path.glob("*.jsonl") for record in read_records(file)]
    assert count(get_messages(kept), "line") == [1]


def test_a_signal_handler_that_flushes_while_a_handler_closes_waits_for_no_more_than_that(
    tmp_path: Path,
) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        receiver.always(behaviours.Slow(2.0))
        run(signals.flush_while_closing, receiver, tmp_path)
        assert count(receiver.messages, "line") == [1]


def test_a_child_that_is_forked_while_a_handler_closes_hears_of_ctrl_c(tmp_path: Path) -> None:
    with Receiver(KEY, whole_runs=False) as receiver:
        receiver.always(behaviours.Hang())
        assert run(signals.fork_while_the_main_thread_closes, receiver, tmp_path) == [0]


def test_logging_inside_a_signal_handler_neither_hangs_nor_loses_a_line(
    receiver: Receiver, tmp_path: Path
) -> None:
    signals_, calls = run(signals.storm, receiver, tmp_path)
    assert signals_ > 100
    receiver.assert_protocol()
    messages = receiver.messages
    own = [message for message in messages if message.startswith("main ")]
    assert own == [f"main {number}" for number in range(1, calls + 1)]
    # A handler may be interrupted by the next signal before its own line is logged.
    others = {message for message in messages if message.startswith("signal ")}
    assert others == {f"signal {number}" for number in range(1, signals_ + 1)}
    assert len(messages) == signals_ + calls
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]


def test_ctrl_c_in_an_embedder_is_the_reason_of_failed(receiver: Receiver, tmp_path: Path) -> None:
    with (
        (tmp_path / "output").open("wb") as output,
        scenarios.start(
            signals.wait_for_signal, receiver.url, tmp_path, output=output, errors=output
        ) as process,
    ):
        receiver.wait_for(lambda it: it.messages == ["ready"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT
    receiver.assert_protocol()
    assert receiver.statuses[-1] == {"status": "failed", "error": "interrupted (Ctrl-C)"}
