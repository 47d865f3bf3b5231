from __future__ import annotations

import fcntl
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from nvoi.cli import own_dashboard
from nvoi.cli.onboard import Draft, find_own_dashboard
from nvoi.cli.own_dashboard import OwnDashboard
from nvoi.cli.projects import open_store, prepare_database, remember_url
from nvoi.config.sealing import DeployKey
from nvoi.dashboard.projects import add_project, list_projects, remove_project
from nvoi.dashboard.schema import hold_lock, lock_database
from nvoi.errors import UsageError
from nvoi.secret import Secret
from nvoi.signals import Interruption, interruptible
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"NVOI_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


def list_names(environ: dict[str, str]) -> list[str]:
    path = prepare_database(None, environ)
    with open_store(path) as (database, _), database.read() as connection:
        return [project.name for project in list_projects(connection)]


def build_own(environ: dict[str, str]) -> OwnDashboard:
    return OwnDashboard(Secret(secrets.token_hex(32)), environ)


def test_another_apps_project_of_the_same_name_is_left_alone(environ: dict[str, str]) -> None:
    path = prepare_database(None, environ)
    with open_store(path) as (database, keyring), database.write() as connection:
        add_project(connection, keyring, "shop", Secret(secrets.token_hex(32)))
    dashboard = build_own(environ)
    started = dashboard.start("shop")
    assert started.url == ""
    assert "the dashboard has a project shop with another key" in started.text
    dashboard.undo()
    assert list_names(environ) == ["shop"]


@pytest.fixture
def served(environ: dict[str, str]) -> Iterator[OwnDashboard]:
    """Where a dashboard runs already, at port 1."""
    with lock_database(prepare_database(None, environ)) as note_url:
        note_url("http://127.0.0.1:1")
        yield build_own(environ)


def test_the_project_is_called_as_the_app_is_saved_at_whatever_address(
    served: OwnDashboard, environ: dict[str, str]
) -> None:
    # The other name was answered again after a step back.
    first, again = (served.start(name).url for name in ("shop", "store"))
    assert list_names(environ) == ["store"]
    assert served.settle(again, "store") == again
    elsewhere = first.replace("127.0.0.1:1", "logs.example.com")
    url = served.settle(elsewhere, "third")
    assert served.is_called
    assert list_names(environ) == ["third"]
    assert url
    assert url.startswith("http://logs.example.com/api/projects/")
    # A name that it cannot have leaves the one that it has.
    with pytest.raises(UsageError, match="cannot be a project's name"):
        served.settle(url, "_third")
    assert served.is_called
    assert list_names(environ) == ["third"]
    served.undo()
    assert list_names(environ) == []


def test_nothing_is_taken_back_before_the_config_is_saved(
    served: OwnDashboard, environ: dict[str, str]
) -> None:
    served.start("shop")
    assert served.settle("http://logs.example.com/c", "shop") == "http://logs.example.com/c"
    assert not served.is_called
    # The save may fail, and the user go back to it.
    assert list_names(environ) == ["shop"]


def test_what_others_removed_or_made_meanwhile_is_no_error(
    served: OwnDashboard, environ: dict[str, str]
) -> None:
    served.start("shop")
    path = prepare_database(None, environ)
    with open_store(path) as (database, keyring), database.write() as connection:
        remove_project(connection, "shop")
        add_project(connection, keyring, "shop", Secret(secrets.token_hex(32)))
    served.undo()
    assert list_names(environ) == ["shop"]
    served.undo()


def test_a_name_that_no_project_can_have_is_told(environ: dict[str, str]) -> None:
    dashboard = build_own(environ)
    assert "cannot be a project's name" in dashboard.start("_shop").text
    assert list_names(environ) == []


def test_one_that_is_just_starting_is_waited_for(environ: dict[str, str]) -> None:
    path = prepare_database(None, environ)
    with open_store(path) as (database, _):
        # Where the last one was.
        remember_url(database, "http://127.0.0.1:1")
    with lock_database(path) as note_url, ThreadPoolExecutor(1) as pool:
        started = pool.submit(build_own(environ).start, "shop")
        wait_until(lambda: list_names(environ), "the project to be added")
        note_url("http://127.0.0.1:2")
        assert started.result(PATIENCE).url.startswith("http://127.0.0.1:2/")


def test_one_that_names_no_address_is_where_the_last_one_was(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_dashboard, "START_SECONDS", 0.0)
    path = prepare_database(None, environ)
    with open_store(path) as (database, _):
        remember_url(database, "http://127.0.0.1:1")
    with lock_database(path):
        assert build_own(environ).start("shop").url.startswith("http://127.0.0.1:1/")


def test_two_may_add_their_apps_at_once(
    served: OwnDashboard, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = prepare_database(None, environ).with_name("onboard.lock")
    with ExitStack() as other:
        other.enter_context(hold_lock(lock))
        real = fcntl.flock

        def lock_after_the_other(descriptor: int, how: int) -> None:
            try:
                real(descriptor, how)
            except BlockingIOError:
                # That of the database is held all the time.
                other.close()
                raise

        monkeypatch.setattr(fcntl, "flock", lock_after_the_other)
        assert served.start("shop").url.startswith("http://127.0.0.1:1/")


@pytest.mark.parametrize("module", ["uvicorn", "_sqlite3"])
def test_none_is_offered_where_what_it_needs_is_missing(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    draft = Draft(Path(), Path(), DeployKey(Secret(secrets.token_hex(32)), "a test"))
    assert find_own_dashboard(draft, environ)
    monkeypatch.setitem(sys.modules, module, None)
    assert find_own_dashboard(draft, environ) is None


def test_a_server_that_a_signal_finds_at_its_start_is_ended_with_the_rest(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    dashboard = build_own(environ)
    with pytest.raises(Interruption), interruptible():
        dashboard.start("shop")
    dashboard.undo()
    (server,) = started
    try:
        assert server.returncode is not None
        assert list_names(environ) == []
    finally:
        server.kill()
        server.wait(PATIENCE)
