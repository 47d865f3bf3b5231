"""Whatever logs while the interpreter ends: nothing hangs, and what came in time arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration import exits, scenarios
from tests.integration.accounts import get_messages, read_records
from tests.integration.streams import KEY, measure


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of records alone, of handlers that have no stream."""
    with Receiver(KEY, whole_runs=False) as made:
        yield made


Scenario = Callable[..., None]


def run(scenario: Scenario, receiver: Receiver, folder: Path, *rest: str) -> tuple[int, str, str]:
    return scenarios.run(scenario, receiver.url, folder, *rest)


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
@pytest.mark.parametrize(
    "scenario", [exits.log_in_a_finaliser, exits.log_in_a_cycle, exits.leave_a_task]
)
def test_a_record_of_the_interpreters_last_moments_hangs_nothing(
    receiver: Receiver, tmp_path: Path, scenario: Scenario, state: str
) -> None:
    code, _, errors = run(scenario, receiver, tmp_path, state)
    assert (code, errors) == (0, "")
    receiver.assert_protocol()
    # What comes after the exit hook may be lost.
    assert receiver.messages[:1] == ([] if state == "never used" else ["one"])


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
def test_a_record_of_an_exit_function_arrives(
    receiver: Receiver, tmp_path: Path, state: str
) -> None:
    assert run(exits.log_in_an_exit_function, receiver, tmp_path, state) == (0, "", "")
    assert receiver.messages == (
        ["the last words"] if state == "never used" else ["one", "the last words"]
    )


@pytest.mark.parametrize("imports", ["", "import logging"])
def test_a_record_of_an_exit_function_that_is_older_than_nvoi_arrives(
    receiver: Receiver, tmp_path: Path, imports: str
) -> None:
    program = f"""
import atexit
{imports}
loggers = []
atexit.register(lambda: [logger.info("the last words") for logger in loggers])
from pathlib import Path
from tests.integration import exits
loggers.append(exits.add_handler({receiver.url!r}, Path({str(tmp_path)!r})))
loggers[0].info("one")
"""
    assert scenarios.run_program(program) == (0, "", "")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "the last words"]


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
def test_a_thread_that_outlives_the_main_one_delivers_its_records(
    receiver: Receiver, tmp_path: Path, state: str
) -> None:
    assert run(exits.log_after_main, receiver, tmp_path, state) == (0, "", "")
    receiver.assert_protocol()
    assert receiver.messages == [
        *([] if state == "never used" else ["one"]),
        *(f"after main {number}" for number in range(100)),
    ]


def test_threads_that_flood_on_while_the_interpreter_ends_do_not_keep_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    assert run(exits.log_on, receiver, tmp_path) == (0, "", "")
    assert receiver.messages.count("main") == 1


def test_os_exit_ends_the_process_at_once(receiver: Receiver, tmp_path: Path) -> None:
    assert run(exits.leave_at_once, receiver, tmp_path) == (5, "", "")
    assert receiver.messages == ["one"]


@pytest.mark.parametrize(
    ("scenario", "messages"),
    [(exits.leave_handlers, ["of ''", "of 'one'", "of 'two'"]), (exits.shut_down_twice, ["one"])],
)
def test_all_handlers_together_take_one_budget_where_the_receiver_hangs(
    receiver: Receiver, tmp_path: Path, scenario: Scenario, messages: list[str]
) -> None:
    receiver.always(behaviours.Hang())
    budget = 3.0
    seconds: list[float] = []

    def leave() -> float:
        folder = tmp_path / str(len(seconds))
        began = time.monotonic()
        code, _, errors = run(scenario, receiver, folder, str(budget))
        seconds.append(time.monotonic() - began)
        assert code == 0
        assert "Traceback" not in errors
        kept = [get_messages(read_records(file)) for file in folder.glob("*.jsonl")]
        assert sorted(kept) == [[message] for message in messages]
        return seconds[-1]

    # Two budgets are no match for it.
    measure(leave, budget + 2.0)
