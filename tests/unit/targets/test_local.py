from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.schema import (
    Application,
    AppService,
    AuxiliaryService,
    Config,
    Database,
    LocalProvider,
)
from nvoi.errors import ConfigError
from nvoi.operation import Request
from nvoi.secret import Secret
from nvoi.targets.local import check


def run(*services: AppService, **settings: object) -> None:
    application = Application(
        name="shop",
        compute_provider=LocalProvider(),
        app={service.name: service for service in services},
        **settings,  # type: ignore[arg-type]
    )
    check(Request(Config(application), Path("/src"), Path("/home"), "1"))


def get_faults(*services: AppService, **settings: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        run(*services, **settings)
    return {fault.path: fault.message for fault in caught.value.faults}


@pytest.mark.parametrize("adapter", ["postgres", "postgresql", "mysql"])
def test_a_database_server_must_run_already(adapter: str) -> None:
    faults = get_faults(database=Database(adapter=adapter))
    assert "is required on this machine" in faults["application.database.url"]


@pytest.mark.parametrize("path", ["../up", "a/../../b", ".", ""])
def test_a_mount_stays_in_the_release(path: str) -> None:
    faults = get_faults(AppService("web", command="x", mounts={"store": path}))
    assert "no folder below" in faults["application.app.web.mounts.store"]


def test_two_volumes_cannot_be_mounted_at_one_place() -> None:
    faults = get_faults(
        AppService("web", command="x", mounts={"one": "data"}),
        AppService("api", command="x", mounts={"two": "./data/"}),
    )
    assert "where volume one is mounted" in faults["application.app.api.mounts.two"]


@pytest.mark.parametrize("paths", [("data", "data/sub"), ("data/a/b", "./data")])
@pytest.mark.parametrize("volumes", [("one", "two"), ("one", "one")])
def test_no_mount_is_inside_another(paths: tuple[str, str], volumes: tuple[str, str]) -> None:
    faults = get_faults(
        AppService("web", command="x", mounts={volumes[0]: paths[0]}),
        AppService("api", command="x", mounts={volumes[1]: paths[1]}),
    )
    assert "one inside the other" in faults[f"application.app.api.mounts.{volumes[1]}"]


@pytest.mark.parametrize("name", ["..", "a/b", "", "a b", "x" * 200])
def test_a_volumes_name_is_a_folders(name: str) -> None:
    faults = get_faults(
        AppService("web", command="x", mounts={name: "/data"}),
        database=Database(adapter="sqlite3", mount={name: "/data"}),
    )
    assert set(faults) == {
        f"application.app.web.mounts.{name}",
        f"application.database.mount.{name}",
    }


def test_what_is_passed_over_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(
        AppService("web", command="x", replicas=3, domain="example.com"),
        services={"redis": AuxiliaryService("redis", image="redis:7")},
    )
    levels = {record.getMessage().split(" ")[0]: record.levelname for record in caplog.records}
    assert levels == {"web:": "INFO", "services.redis": "WARNING"}
    assert "replicas are ignored" in caplog.text
    assert "redis:7 needs containers" in caplog.text


def test_what_one_machine_can_do_passes() -> None:
    run(
        AppService("web", command="x", port=1, mounts={"one": "data/a", "two": "b", "six": "dat"}),
        AppService("api", command="x", port=2, mounts={"four": "/data", "one": "data/a"}),
        database=Database(adapter="sqlite3", mount={"db": "/data"}),
    )
    run(database=Database(adapter="mysql", url=Secret("mysql://u:p@h/d")))


def test_all_faults_are_told_at_once() -> None:
    faults = get_faults(
        AppService("web", port=80),
        AppService("api", command="x", port=80),
        database=Database(adapter="postgres"),
    )
    assert "no image" in faults["application.app.web.command"]
    assert faults["application.app.api.port"].startswith("80 is the port of web too")
    assert set(faults) >= {"application.database.url"}
