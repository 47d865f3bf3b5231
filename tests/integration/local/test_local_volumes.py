from __future__ import annotations

import pytest

from nvoi.errors import ConfigError, NvoiError
from tests.integration.local.application import App


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_mount_below_what_is_no_folder_is_refused_and_leaves_what_a_link_shows(
    app: App, kind: str
) -> None:
    kept = app.home.parent / "important/uploads/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    if kind == "file":
        app.write("public")
    else:
        (app.directory / "public").symlink_to(kept.parent.parent)
    app.add_server(mounts={"store": "public/uploads"})
    for run in (app.plan, app.deploy):
        with pytest.raises(NvoiError, match=f"public is a {kind} in the checkout"):
            run()
    assert kept.read_text() == "x"
    assert app.state.list_releases() == []


def test_a_mount_below_another_mount_is_refused_and_leaves_its_data(app: App) -> None:
    app.services["worker"] = {
        "command": "exec sleep 1000",
        "healthcheck": {"type": "exec", "command": "true"},
        "mounts": {"a": "data"},
    }
    app.deploy()
    kept = app.state.volumes / "a/sub/kept"
    kept.parent.mkdir()
    kept.write_text("x")
    app.services["worker"]["mounts"]["b"] = "data/sub"
    with pytest.raises(ConfigError, match="mounted one inside the other"):
        app.deploy()
    assert kept.read_text() == "x"
