"""Signals while `nvoi deploy` runs: the dashboard is told, and nothing is lost."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nvoi.targets.local.processes import find_marked
from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.commands import NVOI, App, build_environment
from tests.integration.log.accounts import gather, read_states
from tests.waiting import PATIENCE

SIGNALS = {
    signal.SIGINT: (130, "interrupted (Ctrl-C)"),
    signal.SIGTERM: (143, "interrupted (SIGTERM)"),
    signal.SIGHUP: (129, "interrupted (SIGHUP)"),
    signal.SIGQUIT: (131, "interrupted (SIGQUIT)"),
}

#: Runs a command whose session has the terminal that is its input.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def app(receiver: Receiver) -> Iterator[App]:
    with App(receiver.url) as made:
        yield made


def is_at_the_gate(receiver: Receiver) -> bool:
    return "work: before" in receiver.messages


@pytest.mark.parametrize("number", list(SIGNALS))
def test_a_signal_ends_the_run_with_its_reason_and_its_exit_code(
    app: App, receiver: Receiver, number: signal.Signals
) -> None:
    code, reason = SIGNALS[number]
    app.starts_installed = number == signal.SIGINT
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    running.send(number)
    outcome = running.wait()

    assert (outcome.code, outcome.errors) == (code, "")
    receiver.assert_protocol()
    assert receiver.statuses[-1] == {"status": "failed", "error": reason}
    assert receiver.lines == outcome.records
    assert outcome.file is None
    assert sum(reason in record["message"] for record in outcome.records) == 1
    # What it had started has ended.
    assert find_marked({"NVOI_STATE": str(app.home / "tiny")}) == []
    assert list((app.home / "tiny" / "releases").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_with_the_receiver_gone_keeps_everything_in_the_file(
    app: App, receiver: Receiver, number: signal.Signals
) -> None:
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    receiver.pause()
    running.send(number)
    outcome = running.wait()

    assert outcome.code == SIGNALS[number][0]
    assert gather(receiver, outcome.file) == outcome.records
    assert read_states(outcome.file) == ["failed"]


def test_a_closed_terminal_ends_the_run_as_a_signal_does(tmp_path: Path) -> None:
    script = "echo be''fore; until [ -e gate ]; do sleep 0.05; done"
    service = {"command": "exec sleep 600", "pre_run_command": script}
    application = {"name": "tiny", "compute_provider": {"local": {}}, "app": {"work": service}}
    config = tmp_path / "deploy.yml"
    config.write_text(json.dumps({"application": application}))
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, NVOI, "deploy", "-c", config, "-d", tmp_path],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=build_environment(tmp_path) | {"NVOI_HOME": str(tmp_path / "home")},
        start_new_session=True,
    )
    os.close(theirs)
    printed = b""
    while b"before" not in printed:
        printed += os.read(mine, 4096)
    os.close(mine)
    assert process.wait(PATIENCE) == 129
    assert list((tmp_path / "home" / "tiny" / "releases").iterdir()) == []


def test_a_run_below_nohup_outlives_its_terminal(app: App, receiver: Receiver) -> None:
    # What is ignored is inherited.
    app.starts_installed = True
    with ignored(signal.SIGHUP), ignored(signal.SIGQUIT):
        running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    running.send(signal.SIGHUP)
    running.send(signal.SIGQUIT)
    app.open_gate()
    assert running.wait().code == 0
    assert receiver.statuses[-1]["status"] == "completed"


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    """Inside, what is started ignores a signal."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_a_second_ctrl_c_ends_the_process_at_once(app: App, receiver: Receiver) -> None:
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    receiver.always(behaviours.Hang())
    running.send(signal.SIGINT)
    # It is told after all is undone; what is left is to wait for the dashboard.
    running.wait_for("interrupted (Ctrl-C)")
    running.send(signal.SIGINT)
    outcome = running.wait()
    assert outcome.code == -signal.SIGINT


def test_sigterm_after_ctrl_c_does_not_cut_the_report_short(app: App, receiver: Receiver) -> None:
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    answered = threading.Event()
    receiver.always(behaviours.Held(answered))
    running.send(signal.SIGINT)
    running.wait_for("interrupted (Ctrl-C)")
    running.send(signal.SIGTERM)
    answered.set()
    outcome = running.wait()
    assert outcome.code == 130
    assert receiver.statuses[-1] == {"status": "failed", "error": "interrupted (Ctrl-C)"}
    receiver.assert_protocol()


def test_a_delete_reports_its_run_as_a_deploy_does(app: App, receiver: Receiver) -> None:
    outcome = app.start("delete", "--yes", NVOI_DEPLOY_ID="run-2").wait()
    assert outcome.code == 0
    receiver.assert_protocol()
    assert receiver.lines == outcome.records
    assert [status["status"] for status in receiver.statuses] == ["started", "completed"]
    assert receiver.statuses[-1]["tunnels"] == []
    assert {request.deploy_id for request in receiver.requests} == {"run-2"}


def test_a_dry_run_calls_nobody(app: App, receiver: Receiver) -> None:
    app.open_gate()
    for verb in ("deploy", "delete"):
        outcome = app.start(verb, "--dry-run").wait()
        assert outcome.code == 0
    assert receiver.connections == 0
