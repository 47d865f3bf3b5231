"""Child processes, as they really run on this machine."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from nvoi import process
from nvoi.errors import CommandError
from nvoi.parallel import CancelledError, Task
from nvoi.process import (
    Descendant,
    ask,
    find_process,
    follow,
    join,
    work_with,
)
from nvoi.signals import ENDING, Interruption, interruptible
from nvoi.waiting import Reminder
from tests.waiting import PATIENCE, wait_until

ENVIRON = {"PATH": os.environ["PATH"]}


def run_shell(script: str, *, folder: Path | None = None) -> tuple[int, list[str]]:
    told: list[str] = []
    status = follow(("/bin/sh", "-c", script), ENVIRON, told.append, folder=folder)
    return status, told


def test_the_lines_of_both_streams_are_told_in_order() -> None:
    assert run_shell("echo one; echo two >&2; printf three; exit 3") == (
        3,
        ["one", "two", "three"],
    )


def test_a_command_runs_in_its_folder_with_its_environment_alone(tmp_path: Path) -> None:
    assert run_shell("pwd; echo ${HOME-none}", folder=tmp_path)[1] == [str(tmp_path), "none"]


def test_a_command_that_a_signal_ended_says_so() -> None:
    assert run_shell("kill -9 $$")[0] == -9


def test_a_command_that_cannot_be_started_is_named() -> None:
    with pytest.raises(CommandError, match="nvoi-none cannot be started: No such file"):
        follow(("/bin/nvoi-none",), ENVIRON, print)


def test_what_goes_on_printing_does_not_hold_up_the_end() -> None:
    # Short lines take longer to read than to print: there is always more to read.
    status, told = run_shell("yes & sleep 0.2; echo; echo mine; exit 3")
    assert status == 3
    assert {"y", "mine"} <= set(told)


def test_a_command_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    run_shell("exec >&- 2>&-; sleep 0.5; touch done", folder=tmp_path)
    assert (tmp_path / "done").exists()


class Moments:
    """Sends this process a signal before its ``wanted``th line of what starts a child."""

    def __init__(self, wanted: int = 0) -> None:
        self.seen = 0
        self._wanted = wanted

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_name == wait_in_vain.__name__:
            # From here on whoever waits knows the child.
            sys.settrace(None)
        elif event == "line":
            self.seen += 1
            if self.seen == self._wanted:
                os.kill(os.getpid(), signal.SIGINT)
        return self.trace


def wait_in_vain(child: process.Process) -> int:
    return join(child, 0.0)


def kill(child: process.Process) -> None:
    child.kill()
    child.wait()


def start_and_give_up(moments: Moments) -> None:
    # As many lines each time: what interruptible leaves is that these are ignored.
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    with interruptible(second_ends=False):
        sys.settrace(moments.trace)
        try:
            work_with(("/bin/sleep", "1000"), ENVIRON, wait_in_vain, end=kill)
        finally:
            sys.settrace(None)


def test_an_interruption_at_any_moment_leaves_no_child() -> None:
    moments, before = Moments(), psutil.Process().children()
    with pytest.raises(subprocess.TimeoutExpired):
        start_and_give_up(moments)
    assert moments.seen > 50
    for wanted in range(1, moments.seen + 1):
        with pytest.raises(Interruption):
            start_and_give_up(Moments(wanted))
        assert psutil.Process().children() == before, f"line {wanted} of {moments.seen}"


def test_a_cancelled_question_ends_and_what_cleans_up_after_it_does_not(tmp_path: Path) -> None:
    begun, cleaned = tmp_path / "begun", []

    def work() -> None:
        try:
            ask(
                ("/bin/sh", "-c", f"echo $$ >{begun}.new; mv {begun}.new {begun}; sleep 1000"),
                ENVIRON,
            )
        finally:
            cleaned.append(ask(("/bin/sh", "-c", "sleep 0.3; echo cleaned"), ENVIRON))

    task = Task(work)
    task.start()
    wait_until(begun.exists, "the command to run")
    task.cancel()
    with pytest.raises(CancelledError):
        task.future.result(PATIENCE)
    assert find_process(int(begun.read_text())) is None
    assert cleaned == ["cleaned\n"]


def test_a_long_silence_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    hasty = Reminder("the command", logging.getLogger("nvoi.test"), lambda: time.monotonic() * 100)
    follow(("/bin/sleep", "0.5"), ENVIRON, print, reminder=hasty)
    assert any(message.startswith("waiting for the command") for message in caplog.messages)


TREE = """
trap '' TERM
sh -c 'trap "" TERM; echo $$; sleep 1000 & echo $!; wait' &
setsid sh -c 'echo $$; exec sleep 1000' &
echo $$
wait; wait; wait
"""


def test_a_cancelled_command_is_ended_with_all_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    found: list[Descendant] = []
    told = threading.Event()

    def listen(line: str) -> None:
        one = find_process(int(line))
        assert one is not None
        found.append(one)
        if len(found) == 4:
            told.set()

    task = Task(lambda: follow(("/bin/sh", "-c", TREE), ENVIRON, listen))
    task.start()
    assert told.wait(PATIENCE)
    task.cancel()
    assert task.join(PATIENCE)
    with pytest.raises(CancelledError):
        task.future.result()
    assert not any(one.is_running for one in found)


def cancel_once_begun(script: str, folder: Path) -> None:
    """Cancel a script once it has printed a line, and wait for its end."""
    begun = threading.Event()
    words = ("/bin/sh", "-c", script)
    task = Task(lambda: follow(words, ENVIRON, lambda _: begun.set(), folder=folder))
    task.start()
    assert begun.wait(PATIENCE)
    task.cancel()
    assert task.join(PATIENCE)


LATE = """
trap 'sleep 1000 & echo $! >> late; setsid sleep 1000 & echo $! >> late; touch all' TERM
echo up
while :; do sleep 0.05; done
"""


def test_what_a_command_starts_on_sigterm_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    cancel_once_begun(LATE, tmp_path)
    assert (tmp_path / "all").exists()
    assert [find_process(int(pid)) for pid in (tmp_path / "late").read_text().split()] == [None] * 2


def test_a_command_that_ends_well_on_sigterm_is_given_the_time(tmp_path: Path) -> None:
    script = "trap 'touch cleaned; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    cancel_once_begun(script, tmp_path)
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("/bin/echo", "hello"), "hello\n"),
        (("/bin/sh", "-c", "printf 'caf\\351'"), "caf\ufffd"),
        (("/bin/sh", "-c", "echo lost; exit 1"), None),
        (("/bin/nvoi-none",), None),
        (("/bin/echo", "\0"), None),
    ],
)
def test_a_short_command_is_asked(words: tuple[str, ...], printed: str | None) -> None:
    assert ask(words, ENVIRON) == printed


def test_a_command_that_takes_too_long_is_given_up() -> None:
    assert ask(("/bin/sleep", "1000"), ENVIRON, seconds=0.1) is None
