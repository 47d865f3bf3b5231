"""A dashboard that is killed in the middle of real runs, and started again on the same port."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest
import urllib3

from tests.integration.commands import App
from tests.integration.dashboard.serving import Serving, get_messages, open_events
from tests.integration.streams import Run, log_numbers
from tests.ports import find_port

LINES, KILLS = 1500, 3


@pytest.mark.usefixtures("bare_network")
def test_no_line_is_missing_or_doubled_though_it_is_killed_again_and_again(tmp_path: Path) -> None:
    with Serving(tmp_path, port=find_port()) as serving:
        with Run(serving.callback_url, tmp_path, budget=40.0) as run:
            logged = []
            for part in range(KILLS):
                logged += log_numbers(run, part * LINES + 1, (part + 1) * LINES)
                # Something of this part has come, and something of it is on its way.
                serving.wait_for_deploy(least=part * LINES + 1)
                serving.kill()
                run.log.info("logged while it is down")
                logged.append("logged while it is down")
                serving.start()
        assert run.file is None
        (attempt,) = serving.get_attempts()
        assert get_messages(serving.get_lines()) == logged
        assert attempt["status"] == "completed"
        assert attempt["gaps"] == []
        assert attempt["log_count"] == attempt["lines"] == len(logged)
        assert attempt["log_dropped"] == 0


@pytest.mark.usefixtures("bare_network")
def test_a_page_sees_each_line_once_though_the_dashboard_is_killed(tmp_path: Path) -> None:
    with Serving(tmp_path, port=find_port()) as serving:
        with Run(serving.callback_url, tmp_path, budget=40.0) as run:
            expected = log_numbers(run, 1, 500)
            serving.wait_for_deploy(least=1)
            with open_events(serving) as events:
                events.read_until(lambda seen: seen.lines)
                expected += log_numbers(run, 501, 1000)
                serving.kill()
                # What has come before is read; then the connection is gone.
                with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                    events.read_until(lambda seen: len(seen.lines) > len(expected))
            expected += log_numbers(run, 1001, 1500)
            serving.start()
        # All was delivered, so all is there to be read.
        assert run.file is None
        with open_events(serving, **{"Last-Event-ID": events.last_id}) as resumed:
            resumed.read_until(lambda later: len(events.lines) + len(later.lines) >= 1500)
        assert get_messages([*events.lines, *resumed.lines]) == expected


def test_a_real_deploy_is_followed_from_its_start_to_its_end(tmp_path: Path) -> None:
    with Serving(tmp_path, port=find_port()) as serving, App(serving.callback_url) as app:
        running = app.start()
        running.wait_for("before")
        serving.wait_for_deploy()
        serving.kill()
        serving.start()
        app.open_gate()
        outcome = running.wait()
        assert outcome.code == 0, outcome.errors
        (attempt,) = serving.get_attempts()
        lines = serving.get_lines()
    assert (attempt["status"], attempt["gaps"]) == ("completed", [])
    assert get_messages(lines) == [record["message"] for record in outcome.records]


@pytest.mark.usefixtures("bare_network")
def test_a_dashboard_that_is_asked_to_end_answers_what_it_has_taken(tmp_path: Path) -> None:
    with Serving(tmp_path, port=find_port()) as serving:
        with Run(serving.callback_url, tmp_path, budget=40.0) as run:
            logged = log_numbers(run, 1, 5000)
            serving.wait_for_deploy(least=1)
            assert serving.stop(signal.SIGTERM) == 0
            serving.start()
        assert get_messages(serving.get_lines()) == logged
