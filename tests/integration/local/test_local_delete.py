from __future__ import annotations

import os
import signal

import pytest

from tests.integration.local.application import App
from tests.waiting import fetch_from


def test_delete_stops_everything_and_leaves_only_volumes(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = app.add_server(mounts={"store": "data"}, pre_run_command="echo x > data/kept")
    app.deploy()
    app.delete()
    assert app.find_all() == []
    with pytest.raises(OSError, match="refused"):
        fetch_from(port, "health")
    assert [path.name for path in app.state.root.iterdir()] == ["volumes"]
    assert (app.state.volumes / "store/kept").read_text() == "x\n"
    assert f"volumes are kept in {app.state.volumes}: store" in caplog.text


def test_delete_removes_volumes_only_when_asked(app: App) -> None:
    app.add_server(mounts={"store": "data"})
    app.deploy()
    app.delete(delete_volumes=True)
    assert not app.state.root.exists()


def test_what_was_deleted_can_be_deployed_again_with_its_data(app: App) -> None:
    port = app.add_server(mounts={"store": "data"}, pre_run_command="echo x >> data/kept")
    app.deploy()
    app.delete()
    app.deploy()
    assert fetch_from(port, "file/data/kept") == "x\nx\n"


def test_delete_is_content_when_there_is_nothing_to_delete(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app.delete()
    assert "nothing to delete: shop is not deployed here" in caplog.text
    assert not app.state.root.exists()


def test_delete_may_be_run_twice(app: App) -> None:
    app.add_server()
    app.deploy()
    app.delete()
    app.delete()
    assert not app.state.root.exists()


def test_delete_stops_what_a_dead_supervisord_has_left(app: App) -> None:
    port = app.add_server()
    app.deploy()
    os.kill(app.get_daemon_pid(), signal.SIGKILL)
    assert fetch_from(port, "health") == ""
    app.delete()
    assert app.find_processes() == []
    assert not app.state.root.exists()


@pytest.mark.parametrize("name", ["supervisor", "run", "releases"])
def test_delete_works_when_half_of_the_state_is_gone(app: App, name: str) -> None:
    app.add_server()
    app.deploy()
    (app.state.root / name).rename(app.home / "away")
    app.delete()
    assert app.find_all() == []
    assert not app.state.root.exists()


def test_delete_removes_what_a_release_has_made_read_only(app: App) -> None:
    app.add_server(pre_run_command="mkdir -p cache/deep; touch cache/deep/x; chmod -R a-w cache")
    app.deploy()
    app.delete()
    assert not app.state.root.exists()


def test_delete_kills_a_service_that_does_not_stop_by_itself_and_says_so(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app.services["worker"] = {
        "command": "trap '' TERM; while true; do sleep 0.1; done",
        "healthcheck": {"type": "exec", "command": "true"},
    }
    app.deploy()
    app.delete()
    assert app.find_processes() == []
    assert "waiting for worker to stop (2 s): worker still runs" in caplog.messages
    assert "worker was killed: it did not end within 10 s of SIGTERM" in caplog.messages


def test_a_dry_run_of_delete_says_what_would_go_and_touches_nothing(app: App) -> None:
    port = app.add_server(mounts={"store": "data"})
    assert app.plan("delete") == ["nothing to delete: shop is not deployed here"]
    assert not app.home.exists()
    app.deploy()
    text = "\n".join(app.plan("delete"))
    for expected in (
        "would stop web",
        f"would stop supervisord (pid {app.get_daemon_pid()})",
        "would remove 1 release in",
        f"would keep the volumes in {app.state.volumes}: store",
    ):
        assert expected in text
    assert fetch_from(port, "health") == ""
