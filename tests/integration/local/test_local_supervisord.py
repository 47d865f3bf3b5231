from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from nvoi.errors import NvoiError, ServiceError
from nvoi.targets.local.client import GoneError, Supervisor
from nvoi.targets.local.daemon import get_socket
from nvoi.targets.local.trial import TRIAL
from tests.integration.local.application import App, fetch


def test_a_supervisord_that_is_not_there_is_gone(folder: Path) -> None:
    with pytest.raises(GoneError, match="not to be reached"):
        Supervisor(folder / "socket").get_pid()


def test_a_supervisord_that_accepts_and_never_answers_is_told(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        with pytest.raises(NvoiError, match="does not answer"):
            Supervisor(folder / "socket", seconds=0.1).get_pid()


def test_what_supervisord_refuses_is_told(app: App) -> None:
    app.add_server()
    app.deploy()
    with pytest.raises(NvoiError, match="supervisord refuses getProcessInfo: BAD_NAME"):
        Supervisor(get_socket(app.state)).get_info("no-such-program")


def test_a_supervisord_that_dies_in_a_trial_fails_the_deploy_and_leaves_nothing(app: App) -> None:
    app.add_server(command="kill -9 $PPID; exec sleep 1000")
    with pytest.raises(NvoiError, match="not to be reached"):
        app.deploy()
    assert app.find_all() == []
    assert app.state.list_releases() == []


def test_a_supervisord_that_dies_in_the_switch_is_started_again_with_the_old_release(
    app: App,
) -> None:
    app.write("page", "old")
    port = app.add_server()
    app.deploy()
    app.write("page", "new")
    app.services["worker"] = {"command": "kill -9 $PPID; exec sleep 1000"}
    with pytest.raises(NvoiError, match="not to be reached"):
        app.deploy()
    assert fetch(port, "file/page") == "old"
    assert len(app.find_processes()) == 1


def test_an_old_release_that_does_not_come_back_is_told(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvoi.targets.local.switch.BACK_SECONDS", 0.5)
    broken = app.home.parent / "broken"
    app.add_server()
    command = app.services["web"]["command"]
    app.services["web"]["command"] = f"! test -e {broken} || exit 9; {command}"
    app.deploy()
    app.services["web"]["command"] = command
    app.services["worker"] = {"command": f"touch {broken}; exit 1"}
    with pytest.raises(NvoiError, match=r"release \d+ does not serve again"):
        app.deploy()


def test_supervisord_does_not_inherit_the_callers_keys(app: App) -> None:
    app.environ["DEPLOY_KEY"] = "k" * 64
    app.add_server()
    app.deploy()
    environ = Path(f"/proc/{app.get_daemon_pid()}/environ").read_bytes()
    assert b"DEPLOY_KEY" not in environ
    assert os.fsencode(app.environ["PATH"]) in environ


def test_a_deploy_whose_supervisord_has_ended_before_the_trial_is_told(app: App) -> None:
    app.add_server()
    context = app.deploy()
    app.delete()
    with pytest.raises(ServiceError, match="has ended in the middle of the deploy"):
        TRIAL.run(context)
