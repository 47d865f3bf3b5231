"""Ctrl-C and SIGTERM while `nvoi deploy` runs: the dashboard is told, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.fakes import behaviours
from tests.fakes.receiver import Receiver
from tests.integration.accounts import gather, read_states
from tests.integration.commands import PATIENCE, App

SIGNALS = {
    signal.SIGINT: (130, "interrupted (Ctrl-C)"),
    signal.SIGTERM: (143, "interrupted (SIGTERM)"),
}


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


@pytest.mark.parametrize("number", list(SIGNALS))
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


def test_a_second_ctrl_c_ends_the_process_at_once(app: App, receiver: Receiver) -> None:
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    receiver.always(behaviours.Hang())
    running.send(signal.SIGINT)
    # It is told after all is undone; what is left is to wait for the dashboard.
    running.wait_for("interrupted (Ctrl-C)")
    running.send(signal.SIGINT)
    outcome = running.wait(timeout=3)
    assert outcome.code == -signal.SIGINT


def test_sigterm_after_ctrl_c_does_not_cut_the_report_short(app: App, receiver: Receiver) -> None:
    running = app.start()
    receiver.wait_for(is_at_the_gate, PATIENCE)
    receiver.always(behaviours.Slow(0.5))
    running.send(signal.SIGINT)
    running.wait_for("interrupted (Ctrl-C)")
    running.send(signal.SIGTERM)
    outcome = running.wait()
    assert outcome.code == 130
    assert receiver.statuses[-1] == {"status": "failed", "error": "interrupted (Ctrl-C)"}
    receiver.assert_protocol()


def test_a_delete_reports_its_run_as_a_deploy_does(app: App, receiver: Receiver) -> None:
    outcome = app.start("delete", NVOI_DEPLOY_ID="run-2").wait()
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
