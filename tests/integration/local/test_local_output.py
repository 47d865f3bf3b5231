from __future__ import annotations

import os
import sys
import threading

import pytest

from nvoi.errors import CommandError
from nvoi.targets.local.context import LocalContext, open_context
from nvoi.targets.local.snapshot import SNAPSHOT
from nvoi.targets.local.steps import PREPARE
from tests.integration.local.application import App
from tests.waiting import wait_until


def run_command(app: App, command: str) -> LocalContext:
    app.services["job"] = {"command": "true", "pre_run_command": command}
    with open_context(app.build_request()) as context:
        SNAPSHOT.run(context)
        PREPARE.run(context)
        return context


def get_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage().removeprefix("job: ")
        for record in caplog.records
        if record.levelname == "INFO" and record.name == "nvoi.targets.local.steps"
    ]


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")


def test_a_line_is_logged_while_the_command_still_runs(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    # As a Python program prints, which nobody told to write at once.
    gate = app.home.parent / "gate"
    app.write(
        "talk.py",
        "import os, time\nprint('early')\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.05)\nprint('late')\n",
    )
    command = f"{sys.executable} -S talk.py"
    run = threading.Thread(target=run_command, args=(app, command))
    run.start()
    wait_until(lambda: "early" in get_lines(caplog), "the first line")
    gate.touch()
    run.join()
    assert get_lines(caplog) == ["early", "late"]


def test_a_command_finds_no_input(app: App, caplog: pytest.LogCaptureFixture) -> None:
    run_command(app, "cat; echo end")
    assert get_lines(caplog) == ["end"]


def test_a_command_runs_in_the_release_with_the_services_environment(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.config["secrets"] = {"TOKEN": "tk"}
    app.environ["DEPLOY_KEY"] = "k"
    context = run_command(app, 'pwd; echo "${#TOKEN} ${DEPLOY_KEY-none} $DEPLOY_ENV"')
    folder = context.state.releases / context.release
    assert get_lines(caplog) == [os.fspath(folder), "2 none production"]


def test_what_a_failed_command_has_left_running_ends_with_its_release(app: App) -> None:
    app.add_server(pre_run_command="setsid sleep 1000 & exit 1")
    with pytest.raises(CommandError):
        app.deploy()
    assert app.find_processes() == []
