"""Whom a healthcheck asks while two releases run: the new one alone."""

from __future__ import annotations

import pytest

from nvoi.errors import ServiceError
from tests.integration.targets.local.application import PYTHON, App, is_serving
from tests.ports import find_port
from tests.waiting import wait_until

SERVE = f"{PYTHON} server.py"
#: For what is to fail once its server is up.
BRIEF = {"interval": "1s", "retries": 4}


def build_command(health_port: str) -> str:
    """A service that answers its healthcheck by a process of its own."""
    return f'PORT="{health_port}" {SERVE} >/dev/null 2>&1 & exec {SERVE}'


def wait_for(page: str, *ports: int) -> None:
    """Wait until a release serves; its processes come up one after the other."""
    for port in ports:
        wait_until(lambda: is_serving(port, page), f"{page} on port {port}")  # noqa: B023


def test_a_trial_has_a_health_port_of_its_own_and_does_not_trust_that_of_the_old_release(
    app: App,
) -> None:
    usual = find_port()
    port = app.add_server(
        command=build_command("$NVOI_HEALTH_PORT"),
        healthcheck={"port": usual, "interval": "1s", "retries": 60},
    )
    for page in ("older", "old"):
        app.write("page", page)
        app.deploy()
        wait_for(page, port, usual)
    well, pids = dict(app.services["web"]), app.find_processes()
    app.write("page", "new")

    def fail(match: str, command: str, healthcheck: dict[str, object] = BRIEF) -> str:
        app.services["web"] = well | {"command": command, "healthcheck": healthcheck}
        with pytest.raises(ServiceError, match=match) as caught:
            app.deploy()
        return caught.value.hint

    nothing, must_listen = "connection refused: nothing listens", "must listen on $PORT"
    beside = BRIEF | {"port": usual}
    assert must_listen in fail(nothing, "exec sleep 1000", beside)
    fail("web exited with 7", "sleep 1; exit 7", beside)
    # Neither a healthy port beside it nor a command that says well is enough.
    assert must_listen in fail(nothing, f"exec env PORT=$NVOI_HEALTH_PORT {SERVE}", beside)
    said = BRIEF | {"type": "exec", "command": "true"}
    assert must_listen in fail(nothing, "exec sleep 1000", said)
    assert must_listen in fail(nothing, f"exec env PORT={find_port()} {SERVE}", said)
    assert app.find_processes() == pids

    # The trial cannot tell that nothing will be there once the old release has gone.
    fail(f"nothing listens on port {usual}", f"exec {SERVE}", beside)
    wait_for("old", port, usual)


def test_an_app_whose_health_port_is_fixed_is_asked_by_the_switch(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.write("page", "old")
    usual = find_port()
    command = build_command(str(usual))
    check = {"port": usual, "interval": "1s", "retries": 60}
    port = app.add_server(command=command, healthcheck=check)
    # A first release may answer on trial where it always does.
    app.deploy()
    wait_for("old", port, usual)
    # A later one may go on without that port, or end as it is taken.
    bind = f"import socket; socket.create_server(('127.0.0.1', {usual}))"
    for page, given in (
        ("goes on", command),
        ("ends", f'{PYTHON} -c "{bind}" || exit 1; {command}'),
    ):
        caplog.clear()
        app.write("page", page)
        app.services["web"] |= {"command": given, "healthcheck": check | {"retries": 5}}
        # A later failure would not be told as that of this service.
        assert app.deploy().failed_log is None
        wait_for(page, port, usual)
        assert "Answer on $NVOI_HEALTH_PORT instead" in caplog.text
