from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from nvoi.errors import LockError
from tests.integration.local.application import App, is_serving, read_conf
from tests.waiting import fetch_from, wait_until


def kill(run: subprocess.Popen[str], number: int = signal.SIGKILL) -> str:
    run.send_signal(number)
    output, _ = run.communicate()
    return output


def test_a_second_run_says_who_holds_the_lock_and_a_killed_holder_gives_it_back(app: App) -> None:
    app.add_server(pre_run_command="touch ../../begun; exec sleep 1000")
    with app.start() as run:
        wait_until((app.state.root / "begun").exists, "the first run to hold the lock")
        with pytest.raises(LockError, match=rf"tester on .*, pid {run.pid}, since") as caught:
            app.deploy()
        assert caught.value.exit_code == 1
        assert "deploy of-another-process" in caught.value.message
        with pytest.raises(LockError):
            app.delete()
        assert app.plan()
        kill(run)
    app.services["web"]["pre_run_command"] = "true"
    assert app.deploy().tunnels


def test_two_apps_may_be_deployed_at_once(app: App) -> None:
    other = App(app.home.parent, "other")
    app.add_server(pre_run_command="touch ../../begun; exec sleep 1000")
    port = other.add_server()
    try:
        with app.start() as run:
            wait_until((app.state.root / "begun").exists, "the first run to be at work")
            other.deploy()
            assert fetch_from(port, "env/PORT") == str(port)
            kill(run)
    finally:
        other.tear_down()


def test_a_run_killed_in_its_pre_run_command_is_put_right_by_the_next(app: App) -> None:
    port = app.add_server()
    app.deploy()
    [old] = app.state.list_releases()
    app.services["web"]["pre_run_command"] = "touch ../../begun; exec sleep 1000"
    with app.start() as run:
        wait_until((app.state.root / "begun").exists, "the command to run")
        kill(run)
    assert len(app.find_processes()) == 2
    app.services["web"]["pre_run_command"] = "true"
    app.deploy()
    assert len(app.find_processes()) == 1
    assert len(app.state.list_releases()) == 2
    assert old in app.state.list_releases()
    assert fetch_from(port, "cwd") == str(app.state.releases / app.state.list_releases()[-1])


@pytest.mark.parametrize("first", [True, False])
def test_a_run_killed_in_a_trial_is_put_right_by_the_next(app: App, first: bool) -> None:
    port = app.add_server()
    if not first:
        app.deploy()
    before = len(app.find_processes())
    gate = app.write_slow_server()
    with app.start() as run:
        wait_until((app.state.run / "trial/web.sh").exists, "the trial to be written down")
        wait_until(lambda: len(app.find_processes()) > before, "the trial to start")
        kill(run)
    wait_until(lambda: len(app.find_processes()) == before + 1, "the trial to be left alone")
    gate.touch()
    app.deploy()
    assert len(app.find_processes()) == 1
    assert fetch_from(port, "cwd") == str(app.state.releases / app.state.list_releases()[-1])
    assert len(app.state.list_releases()) == (1 if first else 2)


def kill_in_switch(app: App) -> str:
    """Deploy, and kill the next deploy when the new release has the port but is not checked."""
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    old = app.state.find_current()
    app.write("page", "new")
    gate = app.write_slow_server()
    command = app.services["web"]["command"]
    # On trial it is quick: it waits on its real port only.
    app.services["web"]["command"] = f'test "$PORT" = {port} || touch {gate}; {command}'
    app.services["worker"] = {"command": f"rm -f {gate}; touch ../../switched; exec sleep 1000"}
    with app.start() as run:
        wait_until((app.state.root / "switched").exists, "the switch")
        kill(run)
    gate.touch()
    assert old is not None
    return old


def test_a_run_killed_in_the_switch_is_put_right_by_the_next(app: App) -> None:
    kill_in_switch(app)
    del app.services["worker"]
    app.deploy()
    assert fetch_from(app.services["web"]["port"], "file/page") == "new"
    assert len(app.find_processes()) == 1


def test_after_a_run_killed_in_the_switch_a_failing_one_leaves_the_last_good_release(
    app: App,
) -> None:
    old = kill_in_switch(app)
    app.services["web"]["pre_run_command"] = "exit 1"
    with app.start() as run:
        output, _ = run.communicate()
    assert "pre_run_command of web exited with 1" in output
    wait_until(lambda: len(app.find_processes()) == 1, "only the old release to run")
    wait_until(lambda: f"run/{old}/web.sh" in read_conf(app), "the old launcher")
    assert app.state.find_current() == old
    wait_until(lambda: is_serving(app.services["web"]["port"], "old"), "the old release to serve")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pre_run_command_ends_with_all_that_it_started(
    app: App, number: int
) -> None:
    command = "sleep 1000 & echo $! > ../../child; echo $$ > ../../parent; wait"
    app.add_server(pre_run_command=command)
    with app.start() as run:
        wait_until(lambda: read_pids(app.state.root), "the command to run")
        kill(run, number)
    assert run.returncode == 128 + number
    assert app.find_processes() == []
    assert app.state.list_releases() == []


def read_pids(root: Path) -> bool:
    return all((root / name).exists() and (root / name).read_text() for name in ("child", "parent"))


def test_an_interrupted_command_that_ignores_sigterm_is_killed(app: App) -> None:
    app.add_server(pre_run_command="trap '' TERM; touch ../../begun; while :; do sleep 0.1; done")
    with app.start() as run:
        wait_until((app.state.root / "begun").exists, "the command to run")
        output = kill(run, signal.SIGTERM)
    assert app.find_processes() == []
    assert "waiting for the pre_run_command of web to end" in output
    assert "the pre_run_command of web was killed" in output


def test_an_interrupted_trial_is_ended_and_the_old_release_goes_on(app: App) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    pids = app.find_processes()
    app.write("page", "new")
    app.write_slow_server()
    with app.start() as run:
        wait_until(lambda: len(app.find_processes()) > len(pids), "the trial to start")
        kill(run, signal.SIGINT)
    assert run.returncode == 130
    assert app.find_processes() == pids
    assert fetch_from(port, "file/page") == "old"
    assert len(app.state.list_releases()) == 1


def test_an_interrupted_switch_gives_the_ports_back(app: App) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    app.write("page", "new")
    app.services["worker"] = {
        "command": "touch ../../switched; exec sleep 1000",
        "healthcheck": {"type": "exec", "command": "false", "interval": "60s"},
    }
    with app.start() as run:
        wait_until((app.state.root / "switched").exists, "the switch")
        output = kill(run, signal.SIGINT)
    assert run.returncode == 130, output
    assert fetch_from(port, "file/page") == "old"
    assert len(app.find_processes()) == 1
    assert "serves again" in output


def test_a_killed_supervisord_is_started_anew_and_its_orphans_are_stopped(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    port = app.add_server()
    app.deploy()
    [orphan] = app.find_processes()
    daemon = app.get_daemon_pid()
    os.kill(daemon, signal.SIGKILL)
    app.deploy()
    assert app.get_daemon_pid() != daemon
    assert orphan not in app.find_processes()
    assert fetch_from(port, "env/PORT") == str(port)
    assert "that were left running" in caplog.text


def test_after_a_reboot_a_failing_deploy_leaves_the_old_release_serving(app: App) -> None:
    port = app.add_server()
    app.deploy()
    app.tear_down()
    app.services["web"]["pre_run_command"] = "exit 1"
    with app.start() as run:
        run.communicate()
    wait_until(lambda: is_serving(port), "the old release to serve")


def test_a_supervisord_that_was_told_to_end_is_waited_for(app: App) -> None:
    port = app.add_server()
    app.deploy()
    daemon = app.get_daemon_pid()
    os.kill(daemon, signal.SIGTERM)
    app.deploy()
    assert app.get_daemon_pid() != daemon
    assert fetch_from(port, "env/PORT") == str(port)
