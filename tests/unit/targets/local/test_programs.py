from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from nvoi.config.schema import Application, AppService, Config, Healthcheck, LocalProvider
from nvoi.operation import Request
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.programs import (
    build_inherited,
    build_launcher,
    build_mount_name,
    build_service_environment,
)
from nvoi.targets.local.state import State
from nvoi.targets.local.supervisor import Program, build_conf


def build(
    service: AppService,
    environ: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
    **settings: object,
) -> dict[str, str]:
    """The environment of a service of an app with these settings."""
    application = Application(name="shop", compute_provider=LocalProvider(), **settings)  # type: ignore[arg-type]
    request = Request(Config(application), Path("/src"), Path("/state"), "1", environ=environ or {})
    state = State(Path("/state/shop"))
    context = LocalContext(request, state, was_empty=True, previous=None, release="1")
    return build_service_environment(context, service, ports)


def run(script: str) -> str:
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_launcher_takes_away_what_an_earlier_caller_had(tmp_path: Path) -> None:
    script = build_launcher("web", tmp_path, 'echo "${TZ-none}"', {"PATH": "/usr/bin:/bin"})
    assert run(f"export TZ=UTC\n{script}") == "none\n"


def test_a_command_of_several_words_and_lines_is_the_shells(tmp_path: Path) -> None:
    script = build_launcher("web", tmp_path, "echo one && echo two\necho three", {"PATH": "/bin"})
    assert run(script) == "one\ntwo\nthree\n"


def test_only_listed_variables_of_the_caller_are_inherited() -> None:
    environ = {"PATH": "/p", "HOME": "/h", "DEPLOY_KEY": "k", "NVOI_MASTER_KEY": "k"}
    assert build_inherited(environ) == {"PATH": "/p", "HOME": "/h"}


def test_the_programs_of_nvois_own_environment_are_not_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(sys.prefix, "bin")
    link = tmp_path / "link"
    link.symlink_to(own)
    path = f"{own}:/usr/bin:{own}/::{link}"
    assert build_inherited({"PATH": path}) == {"PATH": "/usr/bin:"}
    assert build_inherited({"PATH": str(own)}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    # Without an environment of its own they are the system's.
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert build_inherited({"PATH": path}) == {"PATH": path}


def test_a_caller_without_a_path_gets_a_plain_one() -> None:
    assert build_inherited({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_the_config_wins_over_the_caller() -> None:
    service = AppService("web", env={"TZ": "CET"})
    environment = build(service, {"PATH": "/p"}, env={"PATH": "/mine", "TZ": "UTC"})
    assert (environment["PATH"], environment["TZ"]) == ("/mine", "CET")


def test_python_writes_at_once_unless_the_config_says_otherwise() -> None:
    assert build(AppService("web"))["PYTHONUNBUFFERED"] == "1"
    assert build(AppService("web", env={"PYTHONUNBUFFERED": ""}))["PYTHONUNBUFFERED"] == ""


def test_a_trial_gets_its_own_port_whatever_the_config_says() -> None:
    service = AppService("web", port=80, env={"PORT": "81"})
    assert build(service, ports={"PORT": 5000})["PORT"] == "5000"


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (Healthcheck(port=81), "81"),
        (Healthcheck(port=80), None),
        (Healthcheck(), None),
        (Healthcheck(type="exec", port=81), None),
    ],
)
def test_a_service_is_told_the_port_of_its_healthcheck_where_it_is_another(
    check: Healthcheck, told: str | None
) -> None:
    service = AppService("web", port=80, healthcheck=check)
    assert build(service).get("NVOI_HEALTH_PORT") == told


def test_volumes_are_named_to_the_services_that_mount_them() -> None:
    environment = build(AppService("web", mounts={"my.store-1": "/srv"}))
    assert environment["NVOI_MOUNT_MY_STORE_1"] == "/state/shop/volumes/my.store-1"
    assert build_mount_name("a-b") == "NVOI_MOUNT_A_B"


def test_supervisord_restarts_services_and_leaves_trials() -> None:
    text = build_conf(State(Path("/s")), [Program("web", "1"), Program("web", "1", trial=True)])
    conf = configparser.RawConfigParser()
    conf.read_string(text)
    assert conf["program:service.web"]["autorestart"] == "true"
    assert conf["program:trial.web"]["autorestart"] == "false"
    assert conf["program:trial.web"]["startsecs"] == "0"
    assert conf["program:service.web"]["command"] == "/bin/sh ../run/1/web.sh"
