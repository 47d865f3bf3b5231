from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from nvoi.cli.own_dashboard import OwnDashboard
from nvoi.cli.projects import open_store, prepare_database
from nvoi.dashboard.projects import add_project, list_projects
from nvoi.secret import Secret


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"NVOI_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


def list_names(environ: dict[str, str]) -> list[str]:
    path = prepare_database(None, environ)
    with open_store(path) as (database, _), database.read() as connection:
        return [project.name for project in list_projects(connection)]


def test_another_apps_project_of_the_same_name_is_left_alone(environ: dict[str, str]) -> None:
    path = prepare_database(None, environ)
    with open_store(path) as (database, keyring), database.write() as connection:
        add_project(connection, keyring, "shop", Secret(secrets.token_hex(32)))
    dashboard = OwnDashboard(Secret(secrets.token_hex(32)), environ)
    started = dashboard.start("shop")
    assert started.url == ""
    assert "the dashboard has a project shop with another key" in started.text
    dashboard.undo()
    assert list_names(environ) == ["shop"]


def test_a_name_that_no_project_can_have_is_told(environ: dict[str, str]) -> None:
    dashboard = OwnDashboard(Secret(secrets.token_hex(32)), environ)
    assert "cannot be a project's name" in dashboard.start("_shop").text
    assert list_names(environ) == []
