"""Services whose command leaves a server running in another process group, and ends or sleeps."""

from __future__ import annotations

import os
import signal

import pytest

from nvoi.errors import ServiceError
from nvoi.targets.local.processes import find_marked, list_listeners
from tests.integration.targets.local.application import PYTHON, App
from tests.waiting import fetch_from, wait_until

SERVE = f"{PYTHON} server.py >/dev/null 2>&1"
CHECK = {"interval": "1s", "retries": 20}


def test_what_a_service_started_goes_with_its_trial_and_release_and_what_pre_run_did_goes_on(
    app: App,
) -> None:
    app.write("page", "old")
    port = app.add_server(
        command=f"setsid {SERVE} & exec sleep 1000",
        pre_run_command="setsid sleep 1000 >/dev/null 2>&1 &",
        healthcheck=CHECK,
    )
    app.deploy()
    first = app.state.find_current()
    assert find_marked(app.state.build_marks(program="trial.web")) == []
    assert len(find_marked(app.state.build_marks(program="service.web"))) == 2
    app.write("page", "new")
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    assert len(find_marked(app.state.build_marks(first))) == 1
    assert len(app.find_processes()) == 1 + 3


def test_a_deploy_ends_what_a_service_left_running_when_it_ended(app: App) -> None:
    gone = app.home.parent / "gone"
    command = f"setsid {SERVE} & until [ -e {gone} ]; do sleep 0.1; done"
    port = app.add_server(command=command, healthcheck=CHECK)
    app.deploy()
    [left] = list_listeners(port)
    gone.touch()
    marks = app.state.build_marks(program="service.web")
    wait_until(lambda: find_marked(marks) == [left], "the end of what started the server")
    app.write("page", "new")
    app.services["web"]["command"] = f"exec {SERVE}"
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    assert left not in list_listeners(port)


def test_a_deploy_fails_while_a_server_of_the_old_release_has_the_port(app: App) -> None:
    app.write("page", "old")
    port = app.add_server(healthcheck=CHECK | {"retries": 6})
    # Without its marks it cannot be known once the process that started it has gone.
    once = app.home.parent / "once"
    hide = f"touch {once}; hidden='env -i PORT={port} setsid'"
    command = f"test $PORT != {port} -o -e {once} || {{ {hide}; }}; $hidden {SERVE} &"
    app.services["web"]["command"] = f"{command} exec sleep 1000"
    app.deploy()
    [hidden] = list_listeners(port)
    try:
        app.write("page", "new")
        with pytest.raises(ServiceError, match=rf"port {port} is held by .*pid {hidden}\b"):
            app.deploy()
    finally:
        os.kill(hidden, signal.SIGKILL)


def test_the_service_may_hide_what_it_was_started_with(app: App) -> None:
    command = f"exec env -i PORT=$PORT {SERVE}"
    port = app.add_server(command=command, healthcheck=CHECK)
    app.deploy()
    app.write("page", "new")
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    app.delete()
    assert list_listeners(port) == []
