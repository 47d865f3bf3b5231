from __future__ import annotations

import subprocess
from pathlib import Path
from types import MappingProxyType

import pytest

from nvoi.config.schema import Application, AppService, Database, LocalProvider
from nvoi.secret import Secret
from nvoi.targets.local.launcher import (
    build_inherited,
    build_launcher,
    build_mount_name,
    build_service_environment,
)
from nvoi.targets.local.state import State

STATE = State(Path("/state/shop"))


def build_application(**settings: object) -> Application:
    return Application(name="shop", compute_provider=LocalProvider(), **settings)  # type: ignore[arg-type]


def run(script: str) -> str:
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("value", ["plain", "it's", 'a "b" $C `d` \\', "two\nlines", "%d;#", ""])
def test_a_launcher_gives_its_command_the_value_as_it_is(tmp_path: Path, value: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "VALUE": value}
    script = build_launcher("web", tmp_path, 'printf %s "$VALUE"', environment)
    assert run(script) == value


def test_a_launcher_runs_its_command_in_the_release(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    assert run(build_launcher("web", folder, "pwd", {"PATH": "/usr/bin:/bin"})) == f"{folder}\n"


def test_a_launcher_takes_away_what_an_earlier_caller_had(tmp_path: Path) -> None:
    script = build_launcher("web", tmp_path, 'echo "${TZ-none}"', {"PATH": "/usr/bin:/bin"})
    assert run(f"export TZ=UTC\n{script}") == "none\n"


def test_a_command_of_several_words_and_lines_is_the_shells(tmp_path: Path) -> None:
    script = build_launcher("web", tmp_path, "echo one && echo two\necho three", {"PATH": "/bin"})
    assert run(script) == "one\ntwo\nthree\n"


def test_secrets_reach_the_environment_by_their_value() -> None:
    application = build_application(secrets={"TOKEN": Secret("tk")})
    environment = build_service_environment(application, AppService("web"), STATE, "1", {})
    assert environment["TOKEN"] == "tk"


def test_only_listed_variables_of_the_caller_are_inherited() -> None:
    environ = {"PATH": "/p", "HOME": "/h", "DEPLOY_KEY": "k", "NVOI_MASTER_KEY": "k"}
    assert build_inherited(environ) == {"PATH": "/p", "HOME": "/h"}


def test_a_caller_without_a_path_gets_a_plain_one() -> None:
    assert build_inherited({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_the_config_wins_over_the_caller() -> None:
    application = build_application(env={"PATH": "/mine", "TZ": "UTC"})
    service = AppService("web", env={"TZ": "CET"})
    environment = build_service_environment(application, service, STATE, "1", {"PATH": "/p"})
    assert (environment["PATH"], environment["TZ"]) == ("/mine", "CET")


def test_a_trial_gets_its_own_port_whatever_the_config_says() -> None:
    service = AppService("web", port=80, env={"PORT": "81"})
    environment = build_service_environment(build_application(), service, STATE, "1", {}, port=5000)
    assert environment["PORT"] == "5000"


def test_volumes_are_named_to_the_services_that_mount_them() -> None:
    service = AppService("web", mounts={"my.store-1": "/srv"})
    environment = build_service_environment(build_application(), service, STATE, "1", {})
    assert environment["NVOI_MOUNT_MY_STORE_1"] == "/state/shop/volumes/my.store-1"
    assert build_mount_name("a-b") == "NVOI_MOUNT_A_B"


def test_a_sqlite_database_is_in_the_volume_that_it_mounts() -> None:
    database = Database(adapter="sqlite3", mount=MappingProxyType({"db": "/data"}))
    environment = build_service_environment(
        build_application(database=database), AppService("web"), STATE, "1", {}
    )
    assert environment["DATABASE_URL"] == "sqlite:///state/shop/volumes/db/shop-database.sqlite3"
    assert environment["NVOI_MOUNT_DB"] == "/state/shop/volumes/db"
