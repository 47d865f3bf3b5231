"""Whom a healthcheck asks while two releases run: the new one alone."""

from __future__ import annotations

import sys

import pytest

from nvoi.errors import ServiceError
from tests.integration.local.application import App
from tests.ports import find_port
from tests.waiting import fetch_from

SERVE = f"{sys.executable} -S server.py"
BRIEF = {"interval": "200ms", "retries": 8}


def add_server(app: App, health_port: str, usual: int) -> int:
    """Add a service that answers its healthcheck by a process of its own; its port."""
    return app.add_server(
        command=f'PORT="{health_port}" {SERVE} >/dev/null 2>&1 & exec {SERVE}',
        healthcheck={"port": usual, "interval": "5s"},
    )


def test_a_release_is_told_the_port_of_its_healthcheck_and_a_trial_another(app: App) -> None:
    app.write("page", "old")
    usual = find_port()
    port = add_server(app, "$NVOI_HEALTH_PORT", usual)
    app.deploy()
    assert fetch_from(usual, "file/page") == "old"
    app.write("page", "new")
    app.deploy()
    assert fetch_from(port, "file/page") == "new"
    assert fetch_from(usual, "file/page") == "new"


def test_a_first_release_may_answer_on_trial_where_it_always_does(app: App) -> None:
    usual = find_port()
    port = add_server(app, str(usual), usual)
    app.deploy()
    assert fetch_from(port, "health") == ""
    assert fetch_from(usual, "health") == ""


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_app_whose_health_port_is_fixed_is_asked_by_the_switch(
    app: App, caplog: pytest.LogCaptureFixture, goes_on: bool
) -> None:
    app.write("page", "old")
    usual = find_port()
    port = add_server(app, str(usual), usual)
    if not goes_on:
        bind = f"import socket; socket.create_server(('127.0.0.1', {usual}))"
        app.services["web"]["command"] = (
            f'{sys.executable} -S -c "{bind}" || exit 1; {app.services["web"]["command"]}'
        )
    app.deploy()
    app.write("page", "new")
    app.services["web"]["healthcheck"] = BRIEF | {"port": usual, "interval": "1s"}
    # A later failure would not be told as that of this service.
    assert app.deploy().failed_log is None
    assert fetch_from(port, "file/page") == fetch_from(usual, "file/page") == "new"
    assert "Answer on $NVOI_HEALTH_PORT instead" in caplog.text


def test_a_release_without_its_health_port_is_switched_back(app: App) -> None:
    app.write("page", "old")
    usual = find_port()
    port = add_server(app, "$NVOI_HEALTH_PORT", usual)
    app.deploy()
    app.write("page", "new")
    app.services["web"] |= {"command": f"exec {SERVE}", "healthcheck": BRIEF | {"port": usual}}
    with pytest.raises(ServiceError, match=f"nothing listens on port {usual}"):
        app.deploy()
    assert fetch_from(port, "file/page") == fetch_from(usual, "file/page") == "old"


def test_a_trial_does_not_trust_the_health_of_the_old_release(app: App) -> None:
    usual = find_port()
    port = add_server(app, "$NVOI_HEALTH_PORT", usual)
    app.deploy()
    pids = app.find_processes()
    app.services["web"] |= {"command": "exec sleep 1000", "healthcheck": BRIEF | {"port": usual}}
    with pytest.raises(ServiceError, match="nothing listens") as caught:
        app.deploy()
    assert "must listen on $PORT" in caught.value.hint
    assert app.find_processes() == pids
    assert fetch_from(port, "health") == ""


def test_a_trial_that_crashes_after_a_second_is_not_saved_by_the_old_release(app: App) -> None:
    usual = find_port()
    port = add_server(app, "$NVOI_HEALTH_PORT", usual)
    app.deploy()
    pids = app.find_processes()
    app.services["web"]["command"] = "sleep 1; exit 7"
    with pytest.raises(ServiceError, match="web exited with 7"):
        app.deploy()
    assert app.find_processes() == pids
    assert fetch_from(port, "health") == ""


@pytest.mark.parametrize("command", ["exec sleep 1000", f"exec env PORT=$OTHER {SERVE}"])
def test_a_command_that_says_well_is_not_enough_where_nothing_listens(
    app: App, command: str
) -> None:
    app.add_server(
        command=command,
        env={"OTHER": str(find_port())},
        healthcheck=BRIEF | {"type": "exec", "command": "true"},
    )
    with pytest.raises(ServiceError, match="connection refused: nothing listens") as caught:
        app.deploy()
    assert "must listen on $PORT" in caught.value.hint


def test_a_healthy_port_beside_it_is_not_enough_where_nothing_listens(app: App) -> None:
    usual = find_port()
    app.add_server(
        command=f"exec env PORT=$NVOI_HEALTH_PORT {SERVE}", healthcheck=BRIEF | {"port": usual}
    )
    with pytest.raises(ServiceError, match="connection refused: nothing listens") as caught:
        app.deploy()
    assert "must listen on $PORT" in caught.value.hint
