from __future__ import annotations

import pytest

from nvoi.errors import ConfigError, NvoiError
from nvoi.targets.local import TARGET
from tests.integration.local import running
from tests.integration.local.application import App


def test_a_mount_below_a_link_is_refused_and_leaves_what_the_link_shows(app: App) -> None:
    kept = app.home.parent / "important/uploads/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    (app.directory / "storage").symlink_to(kept.parent.parent)
    app.add_server(mounts={"data": "storage/uploads"})
    with pytest.raises(NvoiError, match="storage is a link in the checkout"):
        app.deploy()
    assert kept.read_text() == "x"
    assert app.state.list_releases() == []


def test_a_mount_below_another_mount_is_refused_and_leaves_its_data(app: App) -> None:
    app.add_server(mounts={"a": "data"})
    app.deploy()
    kept = app.state.volumes / "a/sub/kept"
    kept.parent.mkdir()
    kept.write_text("x")
    app.services["web"]["mounts"]["b"] = "data/sub"
    with pytest.raises(ConfigError):
        app.deploy()
    with pytest.raises(NvoiError, match="data is a link"):
        running.run_steps(TARGET.deploy, app.build_request())
    assert kept.read_text() == "x"


def test_a_mount_below_a_file_is_refused(app: App) -> None:
    app.add_server(mounts={"data": "server.py/data"})
    with pytest.raises(NvoiError, match=r"server\.py is a file in the checkout"):
        app.deploy()
