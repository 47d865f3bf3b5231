from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nvoi.errors import CommandError, LockError
from tests.integration.targets.local.application import App, Run, is_serving, read_conf
from tests.waiting import fetch_from, wait_until

HOLD = "touch ../../begun; exec sleep 1000"


def wait_for_file(path: Path, run: Run) -> None:
    wait_until(path.exists, f"{path}: {run.read_output()}")


def test_a_run_holds_its_app_alone_and_once_it_was_killed_the_next_puts_all_right(app: App) -> None:
    port = app.add_server()
    app.deploy()
    [old] = app.state.list_releases()
    app.services["web"]["pre_run_command"] = HOLD
    run = app.start_deploy()
    wait_for_file(app.state.root / "begun", run)
    with pytest.raises(LockError, match=rf"tester on .*, pid {run.pid}, since") as caught:
        app.deploy()
    assert caught.value.exit_code == 1
    assert "deploy of-another-process" in caught.value.message
    with pytest.raises(LockError):
        app.delete()
    assert app.plan()
    other = App(app.home.parent, "other")
    other.services["web"] = {"command": "true", "pre_run_command": "touch ../../begun; exit 1"}
    with pytest.raises(CommandError):
        other.deploy()
    assert (other.state.root / "begun").exists()

    run.end(signal.SIGKILL)
    assert len(app.find_processes()) == 2
    app.services["web"]["pre_run_command"] = "true"
    app.deploy()
    assert len(app.find_processes()) == 1
    first, new = app.state.list_releases()
    assert first == old
    assert fetch_from(port, "cwd") == str(app.state.releases / new)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_killed_in_a_trial_is_put_right_by_the_next(app: App, first: bool) -> None:
    port = app.add_server()
    if not first:
        app.deploy()
    before = len(app.find_processes())
    gate = app.write_slow_server()
    run = app.start_deploy()
    wait_for_file(app.state.run / "trial/web.sh", run)
    wait_until(lambda: len(app.find_processes()) > before, "the trial to start")
    run.end(signal.SIGKILL)
    wait_until(lambda: len(app.find_processes()) == before + 1, "the trial to be left alone")
    gate.touch()
    app.deploy()
    assert len(app.find_processes()) == 1
    assert fetch_from(port, "cwd") == str(app.state.releases / app.state.list_releases()[-1])
    assert len(app.state.list_releases()) == (1 if first else 2)


def test_after_a_run_killed_in_the_switch_a_failing_one_leaves_the_last_good_release(
    app: App,
) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    old, usual = app.state.find_current(), app.services["web"]
    app.write("page", "new")
    gate = app.write_slow_server()
    # On trial it is quick: it waits on its real port only.
    slow = f'test "$PORT" = {port} || touch {gate}; {usual["command"]}'
    app.services["web"] = usual | {"command": slow}
    app.services["worker"] = {"command": f"rm -f {gate}; touch ../../switched; exec sleep 1000"}
    run = app.start_deploy()
    wait_for_file(app.state.root / "switched", run)
    run.end(signal.SIGKILL)
    gate.touch()

    app.services["web"] = usual | {"pre_run_command": "exit 1"}
    with pytest.raises(CommandError):
        app.deploy()
    wait_until(lambda: len(app.find_processes()) == 1, "only the old release to run")
    assert f"run/{old}/web.sh" in read_conf(app)
    assert app.state.find_current() == old
    wait_until(lambda: is_serving(port, "old"), "the old release to serve")

    app.services["web"] = usual
    del app.services["worker"]
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    assert len(app.find_processes()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pre_run_command_ends_with_all_that_it_started(
    app: App, number: int
) -> None:
    app.add_server(pre_run_command="sleep 1000 & touch ../../begun; wait")
    run = app.start_deploy()
    wait_for_file(app.state.root / "begun", run)
    code, _ = run.end(number)
    assert code == 128 + number
    assert app.find_processes() == []
    assert app.state.list_releases() == []


def test_an_interrupted_command_that_ignores_sigterm_is_killed(app: App) -> None:
    app.add_server(pre_run_command="trap '' TERM; touch ../../begun; while :; do sleep 1; done")
    run = app.start_deploy()
    wait_for_file(app.state.root / "begun", run)
    _, output = run.end(signal.SIGTERM)
    assert app.find_processes() == []
    assert "waiting for the pre_run_command of web to end" in output
    assert "the pre_run_command of web was killed" in output


def test_an_interrupted_trial_or_switch_ends_and_the_old_release_goes_on(app: App) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    pids, server = app.find_processes(), (app.directory / "server.py").read_text()
    app.write("page", "new")
    app.write_slow_server()
    run = app.start_deploy()
    wait_until(lambda: len(app.find_processes()) > len(pids), "the trial to start")
    code, output = run.end(signal.SIGINT)
    assert code == 130, output
    assert app.find_processes() == pids
    assert fetch_from(port, "file/page") == "old"
    assert len(app.state.list_releases()) == 1

    app.write("server.py", server)
    app.services["worker"] = {
        "command": "touch ../../switched; exec sleep 1000",
        "healthcheck": {"type": "exec", "command": "false", "interval": "60s"},
    }
    run = app.start_deploy()
    wait_for_file(app.state.root / "switched", run)
    code, output = run.end(signal.SIGINT)
    assert code == 130, output
    assert fetch_from(port, "file/page") == "old"
    assert len(app.find_processes()) == 1
    assert "serves again" in output


def test_a_supervisord_that_was_killed_or_told_to_end_is_started_anew(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    port = app.add_server()
    app.deploy()
    release, daemon = app.state.find_current(), app.get_daemon_pid()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: len(app.find_all()) == 1, "only the service")
    [orphan] = app.find_processes()
    text = "\n".join(app.plan())
    assert f"would start release {release} again" in text
    assert f"(pid {orphan}), which was left running" in text
    assert fetch_from(port, "health") == ""

    app.deploy()
    assert orphan not in app.find_processes()
    assert fetch_from(port, "env/PORT") == str(port)
    assert "that were left running" in caplog.text

    second = app.get_daemon_pid()
    os.kill(second, signal.SIGTERM)
    app.deploy()
    assert len({daemon, second, app.get_daemon_pid()}) == 3
    assert fetch_from(port, "env/PORT") == str(port)
