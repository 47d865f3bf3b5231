"""Whatever logs while the interpreter ends: nothing hangs, and what came in time arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration import exits
from tests.integration.accounts import get_messages, read_records
from tests.integration.scenarios import run, run_program
from tests.integration.streams import measure

Scenario = Callable[..., None]


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
@pytest.mark.parametrize(
    "scenario", [exits.log_in_a_finaliser, exits.log_in_a_cycle, exits.leave_a_task]
)
def test_a_record_of_the_interpreters_last_moments_hangs_nothing(
    bare: Receiver, tmp_path: Path, scenario: Scenario, state: str
) -> None:
    code, _, errors = run(scenario, bare, tmp_path, state)
    assert (code, errors) == (0, "")
    bare.assert_protocol()
    # What comes after the exit hook may be lost.
    assert bare.messages[:1] == ([] if state == "never used" else ["one"])


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
def test_a_record_of_an_exit_function_arrives(bare: Receiver, tmp_path: Path, state: str) -> None:
    assert run(exits.log_in_an_exit_function, bare, tmp_path, state) == (0, "", "")
    assert bare.messages == (
        ["the last words"] if state == "never used" else ["one", "the last words"]
    )


@pytest.mark.parametrize("imports", ["", "import logging"])
def test_a_record_of_an_exit_function_that_is_older_than_nvoi_arrives(
    bare: Receiver, tmp_path: Path, imports: str
) -> None:
    program = f"""
import atexit
{imports}
loggers = []
atexit.register(lambda: [logger.info("the last words") for logger in loggers])
from pathlib import Path
from tests.integration import exits
loggers.append(exits.add_handler({bare.url!r}, Path({str(tmp_path)!r})))
loggers[0].info("one")
"""
    assert run_program(program) == (0, "", "")
    bare.assert_protocol()
    assert bare.messages == ["one", "the last words"]


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
def test_a_thread_that_outlives_the_main_one_delivers_its_records(
    bare: Receiver, tmp_path: Path, state: str
) -> None:
    assert run(exits.log_after_main, bare, tmp_path, state) == (0, "", "")
    bare.assert_protocol()
    assert bare.messages == [
        *([] if state == "never used" else ["one"]),
        *(f"after main {number}" for number in range(100)),
    ]


def test_threads_that_flood_on_while_the_interpreter_ends_do_not_keep_it(
    bare: Receiver, tmp_path: Path
) -> None:
    assert run(exits.log_on, bare, tmp_path) == (0, "", "")
    assert bare.messages.count("main") == 1


def test_os_exit_ends_the_process_at_once(bare: Receiver, tmp_path: Path) -> None:
    assert run(exits.leave_at_once, bare, tmp_path) == (5, "", "")
    assert bare.messages == ["one"]


@pytest.mark.parametrize(
    ("scenario", "messages"),
    [(exits.leave_handlers, ["of ''", "of 'one'", "of 'two'"]), (exits.shut_down_twice, ["one"])],
)
def test_all_handlers_together_take_one_budget_where_the_receiver_hangs(
    bare: Receiver, tmp_path: Path, scenario: Scenario, messages: list[str]
) -> None:
    bare.always(behaviours.Hang())
    budget = 3.0
    seconds: list[float] = []

    def leave() -> float:
        folder = tmp_path / str(len(seconds))
        began = time.monotonic()
        code, _, errors = run(scenario, bare, folder, str(budget))
        seconds.append(time.monotonic() - began)
        assert code == 0
        assert "Traceback" not in errors
        kept = [get_messages(read_records(file)) for file in folder.glob("*.jsonl")]
        assert sorted(kept) == [[message] for message in messages]
        return seconds[-1]

    # Two budgets are no match for it.
    measure(leave, budget + 2.0)
