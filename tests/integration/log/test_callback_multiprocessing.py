"""Whatever makes a child and however it ends: its log arrives, or is kept and counted."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.log import children
from tests.integration.log.accounts import get_messages, read_records
from tests.integration.log.scenarios import run_well as run
from tests.integration.streams import KEY, measure

Scenario = Callable[..., None]

METHODS = ("fork", "spawn", "forkserver")


def read_kept(folder: Path) -> list[str]:
    """The messages in all files of undelivered requests."""
    return sorted(
        message for file in folder.glob("*.jsonl") for message in get_messages(read_records(file))
    )


# -- children that end by themselves, or by a pool -------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "method", "maker"),
    [
        (children.log_in_processes, "fork", "inherited"),
        (children.log_in_processes, "fork", "dictConfig"),
        (children.log_in_processes, "spawn", "handler"),
        (children.log_in_processes, "forkserver", "dictConfig"),
        (children.log_in_a_pool, "fork", "inherited"),
        (children.log_in_a_pool, "fork", "handler"),
        (children.log_in_a_pool, "spawn", "dictConfig"),
        (children.log_in_a_pool, "forkserver", "handler"),
    ],
)
def test_children_deliver_what_they_logged(
    bare: Receiver, tmp_path: Path, scenario: Scenario, method: str, maker: str
) -> None:
    output = ast.literal_eval(run(scenario, bare, tmp_path, method, maker))
    assert output == ([0] * 2 if scenario is children.log_in_processes else list(range(20)))
    assert sorted(bare.messages) == sorted(f"worker {number}" for number, _ in enumerate(output))


@pytest.mark.parametrize(
    ("method", "maker"), [("fork", "inherited"), *((method, "handler") for method in METHODS)]
)
def test_a_thread_that_outlives_a_child_s_target_delivers_its_first_record(
    bare: Receiver, tmp_path: Path, method: str, maker: str
) -> None:
    run(children.leave_a_thread, bare, tmp_path, method, maker)
    assert bare.messages == ["late"]


@pytest.mark.parametrize("method", METHODS)
def test_the_processes_of_an_executor_deliver_what_they_logged(
    bare: Receiver, tmp_path: Path, method: str
) -> None:
    run(children.log_in_an_executor, bare, tmp_path, method, "handler")
    assert sorted(bare.messages) == sorted(f"worker {number}" for number in range(20))


@pytest.mark.parametrize("scenario", [children.log_in_processes, children.log_in_a_pool])
def test_children_keep_what_they_cannot_deliver(
    bare: Receiver, tmp_path: Path, scenario: Scenario
) -> None:
    bare.always(behaviours.Answer(401))
    output = ast.literal_eval(run(scenario, bare, tmp_path, "fork", "handler"))
    assert read_kept(tmp_path) == sorted(f"worker {number}" for number, _ in enumerate(output))


@pytest.mark.parametrize(
    "scenario", [children.close_in_a_thread, children.end_while_a_thread_closes]
)
def test_an_end_waits_for_a_thread_that_closes(
    bare: Receiver, tmp_path: Path, scenario: Scenario
) -> None:
    bare.always(behaviours.Hang())
    run(scenario, bare, tmp_path)
    assert read_kept(tmp_path) == ["one"]


# -- children that are terminated ------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "messages"),
    [
        ("talk", -15, ["one", "two"]),
        ("talk_from_a_thread", -15, ["one", "two"]),
        ("handle_it_oneself", 9, ["one", "two", "terminated"]),
        ("handle_it_later", 9, ["one", "two", "terminated"]),
        ("call_the_handler_that_was_there", -15, ["one", "two"]),
        ("be_signalled_otherwise", -15, ["one", "two"]),
        ("fork_another", -15, ["one", "two"]),
    ],
)
def test_a_terminated_child_delivers_what_it_logged(
    bare: Receiver, tmp_path: Path, target: str, status: int, messages: list[str]
) -> None:
    assert int(run(children.terminate, bare, tmp_path, target)) == status
    assert sorted(bare.messages) == sorted(messages)


def test_a_signal_that_is_given_to_a_thread_not_of_pythons_ends_a_child(
    bare: Receiver, tmp_path: Path
) -> None:
    target = "be_signalled_on_a_foreign_thread"
    assert int(run(children.wait_for_the_end, bare, tmp_path, target)) == -15
    assert bare.messages == ["one", "two"]


def test_a_child_that_ends_while_it_is_terminated_keeps_what_it_logged(
    bare: Receiver, tmp_path: Path
) -> None:
    bare.always(behaviours.Hang())
    assert int(run(children.terminate, bare, tmp_path, "end_meanwhile")) in {0, -15}
    assert read_kept(tmp_path) == ["one"]


def test_a_terminated_child_delivers_by_the_handler_that_it_inherited(
    bare: Receiver, tmp_path: Path
) -> None:
    """Its first record comes from a thread, which may set no signal handler."""
    assert int(run(children.terminate_inheritor, bare, tmp_path)) == -15
    assert bare.messages == ["one", "two"]


@pytest.mark.parametrize("target", ["talk", "close_by_hand"])
def test_further_signals_do_not_cut_the_closing_of_a_terminated_child(
    bare: Receiver, tmp_path: Path, target: str
) -> None:
    bare.always(behaviours.Hang())
    assert int(run(children.terminate_often, bare, tmp_path, target)) == -15
    assert read_kept(tmp_path) == ["one", "two"]


def test_a_daemon_process_delivers_what_it_logged_when_its_parent_ends(
    bare: Receiver, tmp_path: Path
) -> None:
    run(children.leave_a_daemon, bare, tmp_path)
    assert bare.messages == ["one", "two"]


def test_a_pool_that_can_deliver_nothing_is_terminated_within_the_budget(
    bare: Receiver, tmp_path: Path
) -> None:
    bare.pause()
    runs = iter(range(10))

    def terminate() -> float:
        folder = tmp_path / str(next(runs))
        seconds = float(run(children.terminate_a_pool, bare, folder, "2"))
        assert read_kept(folder) == sorted(f"worker {number}" for number in range(20))
        return seconds

    # Three workers, one after the other, would take three budgets.
    measure(terminate, 3.5)


# -- what a child knows of itself, and forks by hand ------------------------------------------


@pytest.mark.parametrize(("answer", "delivered"), [(200, 3), (401, 0)])
def test_a_child_counts_its_own_records(tmp_path: Path, answer: int, delivered: int) -> None:
    with Receiver(KEY) as bare:
        bare.always(behaviours.Answer(answer))
        counts, file = run(children.count, bare, tmp_path).splitlines()
        states = [status["status"] for status in bare.statuses]
    lost = 3 - delivered
    assert list(map(int, counts.split())) == [3, delivered, lost, lost]
    kept = [] if file == "None" else get_messages(read_records(Path(file)))
    assert kept == [f"child {number}" for number in range(lost)]
    assert states == (["started", "completed"] if answer == 200 else [])


@pytest.mark.parametrize(
    ("scenario", "messages"),
    [
        (children.fork_within_a_log_call, ["child", "parent"]),
        (children.fork_on_a_thread, ["child", "parent"]),
        (
            children.fork_twice,
            ["child after", "child before", "grandchild", "parent after", "parent before"],
        ),
    ],
)
def test_each_process_of_a_fork_delivers_its_own_records(
    bare: Receiver, tmp_path: Path, scenario: Scenario, messages: list[str]
) -> None:
    run(scenario, bare, tmp_path)
    assert sorted(bare.messages) == messages


def test_a_fork_while_another_thread_closes_the_handler_loses_nothing(
    bare: Receiver, tmp_path: Path
) -> None:
    run(children.fork_while_closing, bare, tmp_path)
    own = [message for message in bare.messages if message != "again"]
    assert own == [f"child {number}" for number in range(8)]
