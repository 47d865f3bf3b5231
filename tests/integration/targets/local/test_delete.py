from __future__ import annotations

import os
import signal

import pytest

from tests.integration.targets.local.application import App, is_serving
from tests.waiting import fetch_from


def test_delete_leaves_nothing_but_volumes_and_these_only_unless_it_is_asked(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    prepare = "echo x >> data/kept; mkdir -p cache/deep; touch cache/deep/x; chmod -R a-w cache"
    port = app.add_server(mounts={"store": "data"}, pre_run_command=prepare)
    assert app.plan("delete") == ["nothing to delete: shop is not deployed here"]
    assert not app.home.exists()
    app.delete()
    assert "nothing to delete: shop is not deployed here" in caplog.text
    assert not app.state.root.exists()

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

    app.delete()
    assert app.find_all() == []
    assert not is_serving(port)
    assert [path.name for path in app.state.root.iterdir()] == ["volumes"]
    assert (app.state.volumes / "store/kept").read_text() == "x\n"
    assert f"volumes are kept in {app.state.volumes}: store" in caplog.text

    app.deploy()
    assert fetch_from(port, "file/data/kept") == "x\nx\n"
    app.delete(delete_volumes=True)
    assert not app.state.root.exists()
    app.delete(delete_volumes=True)
    assert not app.state.root.exists()


@pytest.mark.parametrize("names", [["supervisor"], ["run", "releases"], []])
def test_delete_works_when_supervisord_or_half_of_the_state_is_gone(
    app: App, names: list[str]
) -> None:
    port = app.add_server()
    app.deploy()
    for name in names:
        (app.state.root / name).rename(app.home / f"{name} of before")
    if not names:
        os.kill(app.get_daemon_pid(), signal.SIGKILL)
        assert fetch_from(port, "health") == ""
    app.delete()
    assert app.find_all() == []
    assert not app.state.root.exists()


def test_delete_kills_a_service_that_does_not_stop_by_itself_and_says_so(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app.services["worker"] = {
        "command": "trap '' TERM; while true; do sleep 1; done",
        "healthcheck": {"type": "exec", "command": "true"},
    }
    app.deploy()
    app.delete()
    assert app.find_processes() == []
    assert "waiting for worker to stop (2 s): worker still runs" in caplog.messages
    assert "worker was killed: it did not end within 10 s of SIGTERM" in caplog.messages
