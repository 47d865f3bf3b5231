"""However a process ends, forks or sets its logging up anew, the log arrives and has one end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.log import embedder
from tests.integration.log.accounts import get_messages, read_records, read_states
from tests.integration.log.scenarios import run, run_program
from tests.integration.streams import measure


def get_states(receiver: Receiver) -> list[str]:
    return [status["status"] for status in receiver.statuses]


# -- ends --------------------------------------------------------------------------------------


def test_a_run_that_nobody_ended_has_failed_when_the_interpreter_exits(
    receiver: Receiver, tmp_path: Path
) -> None:
    assert run(embedder.leave_open, receiver, tmp_path) == (0, "", "")
    receiver.assert_protocol()
    assert receiver.messages == ["one", "two"]
    assert get_states(receiver) == ["started", "failed"]
    assert receiver.statuses[-1]["error"] == "the run ended without saying how"


@pytest.mark.parametrize("answer", [200, 401])
def test_a_handler_that_nobody_closed_delivers_or_keeps_all_when_the_interpreter_exits(
    bare: Receiver, tmp_path: Path, answer: int
) -> None:
    bare.always(behaviours.Answer(answer))
    code, _, errors = run(embedder.leave_handler, bare, tmp_path)
    assert (code, "Traceback" in errors) == (0, False)
    kept = [record for file in tmp_path.glob("*.jsonl") for record in read_records(file)]
    found = bare.messages if answer == 200 else get_messages(kept)
    assert found == [f"line {number}" for number in range(700)]
    assert bare.statuses == []


@pytest.mark.parametrize(
    ("code", "status", "end"),
    [
        ("0", 0, {"status": "completed"}),
        ("none", 0, {"status": "completed"}),
        ("3", 3, {"status": "failed", "error": "the process exited with 3"}),
        ("words", 1, {"status": "failed", "error": "the process exited with words"}),
    ],
)
def test_sys_exit_ends_the_run_as_it_ends_the_process(
    receiver: Receiver, tmp_path: Path, code: str, status: int, end: dict[str, str]
) -> None:
    assert run(embedder.exit_by_code, receiver, tmp_path, code)[0] == status
    receiver.assert_protocol()
    assert receiver.messages == ["one"]
    assert get_states(receiver) == ["started", end["status"]]
    assert end.items() <= receiver.statuses[-1].items()


def test_an_exception_is_the_reason_of_failed_and_goes_on_as_it_was(
    receiver: Receiver, tmp_path: Path
) -> None:
    code, _, errors = run(embedder.fail, receiver, tmp_path)
    assert code == 1
    assert errors.endswith("RuntimeError: the disk is full\n")
    receiver.assert_protocol()
    assert receiver.statuses[-1] == {
        "status": "failed",
        "error": "RuntimeError: the disk is full",
    }


def test_the_first_terminal_status_of_a_run_is_its_only_one(
    receiver: Receiver, tmp_path: Path
) -> None:
    assert run(embedder.complete, receiver, tmp_path) == (0, "", "")
    receiver.assert_protocol()
    assert receiver.messages == ["one"]
    assert get_states(receiver) == ["started", "completed"]
    assert receiver.statuses[-1] == {
        "status": "completed",
        "tunnels": [{"service_name": "web", "hostname": "localhost:8000"}],
        "duration_seconds": 13,
    }


# -- the interpreter's last moments ------------------------------------------------------------


Scenario = Callable[..., None]


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
@pytest.mark.parametrize(
    "scenario", [embedder.log_in_a_finaliser, embedder.log_in_a_cycle, embedder.leave_a_task]
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
    assert run(embedder.log_in_an_exit_function, bare, tmp_path, state) == (0, "", "")
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
from tests.integration.log import embedder
loggers.append(embedder.add_handler({bare.url!r}, Path({str(tmp_path)!r})))
loggers[0].info("one")
"""
    assert run_program(program) == (0, "", "")
    bare.assert_protocol()
    assert bare.messages == ["one", "the last words"]


@pytest.mark.parametrize("state", ["never used", "used", "closed"])
def test_a_thread_that_outlives_the_main_one_delivers_its_records(
    bare: Receiver, tmp_path: Path, state: str
) -> None:
    assert run(embedder.log_after_main, bare, tmp_path, state) == (0, "", "")
    bare.assert_protocol()
    assert bare.messages == [
        *([] if state == "never used" else ["one"]),
        *(f"after main {number}" for number in range(100)),
    ]


def test_threads_that_flood_on_while_the_interpreter_ends_do_not_keep_it(
    bare: Receiver, tmp_path: Path
) -> None:
    assert run(embedder.log_on, bare, tmp_path) == (0, "", "")
    assert bare.messages.count("main") == 1


def test_os_exit_ends_the_process_at_once(bare: Receiver, tmp_path: Path) -> None:
    assert run(embedder.leave_at_once, bare, tmp_path) == (5, "", "")
    assert bare.messages == ["one"]


@pytest.mark.parametrize(
    ("scenario", "messages"),
    [
        (embedder.leave_handlers, ["of ''", "of 'one'", "of 'two'"]),
        (embedder.shut_down_twice, ["one"]),
    ],
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

    # To flush and to close, each for as long as lines may take, would be too long.
    measure(leave, budget + 1.0)


# -- forks -------------------------------------------------------------------------------------


def test_the_records_of_forked_children_arrive_and_only_the_parent_sends_statuses(
    receiver: Receiver, tmp_path: Path
) -> None:
    code, _, errors = run(embedder.fork, receiver, tmp_path)
    assert (code, errors) == (0, "")
    assert get_states(receiver) == ["started", "completed"]
    messages = receiver.messages
    for child in range(5):
        own = [message for message in messages if message.startswith(f"child {child} ")]
        assert own == [f"child {child} line {number}" for number in range(100)]
    parents = [message for message in messages if message.startswith("parent ")]
    assert [message for message in parents if message != "parent thread"] == [
        *(f"parent before {child}" for child in range(5)),
        "parent after",
    ]
    # The run's numbers are its parent's own, without a gap.
    numbers = [request.sequence for request in receiver.accepted if request.kind == "logs"]
    own_numbers = [sequence for sequence in numbers if sequence is not None]
    assert own_numbers[0][0] == 1
    assert own_numbers[-1][1] == len(parents)
    assert receiver.requests[-1].headers["X-Nvoi-Log-Count"] == str(len(parents))


def test_a_forked_child_that_leaves_the_block_does_not_end_the_run(
    receiver: Receiver, tmp_path: Path
) -> None:
    code, _, errors = run(embedder.fork_and_end_the_run, receiver, tmp_path)
    assert code == 0
    assert "of the child alone" in errors
    assert get_states(receiver) == ["started", "completed"]
    assert sorted(receiver.messages) == ["child", "parent after", "parent before"]


def test_what_a_child_cannot_deliver_is_kept_beside_what_its_parent_cannot(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.always(behaviours.Answer(401))
    assert run(embedder.fork_and_end_the_run, receiver, tmp_path)[0] == 0
    files = list(tmp_path.glob("*.jsonl"))
    kept = [message for file in files for message in get_messages(read_records(file))]
    assert sorted(kept) == ["child", "parent after", "parent before"]
    states = [state for file in files for state in read_states(file)]
    assert sorted(states) == ["completed", "started"]


def test_what_a_run_has_that_only_nvoi_knows_of_is_its_parent_s_to_send(
    receiver: Receiver, tmp_path: Path
) -> None:
    assert run(embedder.fork_with_a_run_that_nobody_has, receiver, tmp_path) == (0, "", "")
    assert receiver.messages == ["parent"]
    assert get_states(receiver) == ["started", "failed"]


# -- logging that is set up anew ---------------------------------------------------------------


@pytest.mark.parametrize("wait", ["wait", "leave"])
@pytest.mark.parametrize("receiving", [True, False])
def test_handlers_that_a_configuration_replaced_end_by_themselves(
    bare: Receiver, tmp_path: Path, receiving: bool, wait: str
) -> None:
    if not receiving:
        bare.pause()
    code, output, errors = run(embedder.configure_often, bare, tmp_path, wait)
    assert (code, "Traceback" in errors) == (0, False)
    assert wait == "leave" or int(output) == 3
    kept = [record for file in tmp_path.glob("*.jsonl") for record in read_records(file)]
    found = bare.messages if receiving else get_messages(kept)
    assert sorted(found) == sorted(f"line {number}" for number in range(30))


def test_a_disk_that_is_full_neither_fails_the_run_nor_spoils_the_file(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.pause()
    code, output, errors = run(embedder.fill_disk, receiver, tmp_path)
    assert (code, "Traceback" in errors) == (0, False)
    logged, dropped, undelivered = map(int, output.split())
    assert (logged, dropped) == (2000, 2000)
    assert undelivered < 2000
    for file in tmp_path.glob("*.jsonl"):
        assert len(read_records(file)) == undelivered


# -- under pressure ----------------------------------------------------------------------------


#: With the usual 16 MiB, two million records stay under 48: see benchmarks/memory.py.
CAPACITY = 1024**2
FLOOD = 20_000


@pytest.mark.parametrize(
    ("levels", "threads"), [("info", 1), ("mixed", 1), ("ok", 1), ("info", 16)]
)
def test_records_that_fill_memory_often_take_a_bounded_part_of_it_with_the_receiver_down(
    receiver: Receiver, tmp_path: Path, levels: str, threads: int
) -> None:
    receiver.pause()
    sizes = (FLOOD, threads, CAPACITY)
    code, output, errors = run(embedder.flood, receiver, tmp_path, levels, *map(str, sizes))
    assert code == 0, errors
    # Were all kept, they would take ten times the capacity.
    assert max(map(int, output.split())) < 7 * CAPACITY
    (file,) = tmp_path.glob("*.jsonl")
    records = read_records(file)
    gaps = [record for record in records if "missing about here" in record["message"]]
    rest = [record for record in records if "missing about here" not in record["message"]]
    assert gaps
    assert sum(int(gap["message"].split()[0]) for gap in gaps) == FLOOD - len(rest)
    numbers = [int(record["message"].split()[1]) for record in rest]
    assert threads > 1 or numbers == sorted(numbers)
    # The lowest levels go first: nothing else is lost.
    stayed = sum(record["level"] in {"step", "warning"} for record in rest)
    assert stayed == (FLOOD // 10 - 1 if levels == "mixed" else 0)
    assert read_states(file) == ["started", "completed"]
