from __future__ import annotations

import os
import sys
import threading
import time

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


def test_stdout_and_stderr_are_logged_in_order(app: App, caplog: pytest.LogCaptureFixture) -> None:
    run_command(app, "echo one; echo two >&2; printf three")
    assert get_lines(caplog) == ["one", "two", "three"]


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


def test_a_huge_line_is_logged_in_pieces(app: App, caplog: pytest.LogCaptureFixture) -> None:
    run_command(app, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo end")
    *pieces, end = get_lines(caplog)
    assert end == "end"
    assert "".join(pieces) == "x" * 200000
    assert max(map(len, pieces)) == 64 * 1024


def test_a_daemon_that_keeps_the_output_open_does_not_hold_up_the_deploy(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    run_command(app, "echo before; setsid sleep 60 & echo after")
    assert time.monotonic() - began < 55
    assert sorted(get_lines(caplog)) == ["after", "before"]
    assert len(app.find_processes()) == 1


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


def test_a_failure_carries_the_last_twenty_lines(app: App) -> None:
    with pytest.raises(CommandError) as caught:
        run_command(app, "seq 50; exit 3")
    assert caught.value.output == tuple(map(str, range(31, 51)))
