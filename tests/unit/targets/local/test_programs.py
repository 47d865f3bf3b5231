from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from nvoi.config.schema import Application, AppService, Config, Healthcheck, LocalProvider
from nvoi.operation import Request
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.programs import build_inherited, build_launcher, build_service_environment
from nvoi.targets.local.state import StateFolder
from tests.waiting import run_program


def build(
    service: AppService,
    environ: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
    **settings: object,
) -> dict[str, str]:
    """The environment of a service of an app with these settings."""
    application = Application(name="shop", compute_provider=LocalProvider(), **settings)  # type: ignore[arg-type]
    request = Request(Config(application), Path("/src"), Path("/state"), "1", environ=environ or {})
    state = StateFolder(Path("/state/shop"))
    context = LocalContext(request, state, release="1")
    return build_service_environment(context, service, ports)


def test_a_launcher_takes_away_what_an_earlier_caller_had(tmp_path: Path) -> None:
    script = build_launcher("web", tmp_path, 'echo "${TZ-none}"', {"PATH": "/usr/bin:/bin"})
    assert run_program("/bin/sh", given=f"export TZ=UTC\n{script}") == "none\n"


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


def test_the_config_wins_over_the_caller_and_the_port_of_a_trial_over_the_config() -> None:
    own = {"TZ": "CET", "PORT": "81", "PYTHONUNBUFFERED": ""}
    service = AppService("web", port=80, env=own)
    found = build(service, {"PATH": "/p"}, {"PORT": 5000}, env={"PATH": "/mine", "TZ": "UTC"})
    told = {name: found[name] for name in ("PATH", *own)}
    assert told == {"PATH": "/mine", **own, "PORT": "5000"}
