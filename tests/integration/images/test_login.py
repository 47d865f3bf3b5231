"""Base images in a registry that asks for a login: the real podman, and the real registry."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from nvoi.config.schema import Login
from nvoi.errors import CommandError
from nvoi.images.engines import Docker, Podman
from nvoi.images.registries import log_in
from nvoi.kubernetes.registry import Credentials, build_htpasswd
from nvoi.parallel import CancelledError
from nvoi.secret import Secret
from tests.integration.images.conftest import StartBuild
from tests.integration.images.podman import write_checkout
from tests.integration.images.processes import find_processes
from tests.integration.images.registry import Registry
from tests.waiting import run_program, wait_until

PASSWORD = Secret("pa55word-of-the-base")
INSECURE = '[[registry]]\nlocation = "{}"\ninsecure = true\n'


@pytest.fixture
def base(registry: Registry, environ: dict[str, str], tmp_path: Path) -> str:
    """A base image that is in a registry alone, which lets in nobody but ``robot``."""
    folder = write_checkout(tmp_path / "base")
    reference = f"{registry.address}/acme/base:1"
    settings = tmp_path / "registries.conf"
    settings.write_text(INSECURE.format(registry.address))
    environ["CONTAINERS_REGISTRIES_CONF"] = str(settings)
    environ["HOME"] = str(tmp_path / "home")
    run_program("podman", "build", "-q", "-t", reference, str(folder), environ=environ)
    run_program("podman", "push", "-q", reference, environ=environ)
    run_program("podman", "rmi", reference, environ=environ)
    registry.ask(build_htpasswd(Credentials("robot", PASSWORD)).reveal())
    return reference


def build_from(checkout: Path, base: str, *instructions: str) -> None:
    write_checkout(checkout, *instructions)
    file = checkout / "Dockerfile"
    file.write_text(file.read_text().replace("FROM scratch", f"FROM {base}"))


def test_a_base_image_is_pulled_with_the_config_s_login_which_nobody_sees(
    base: str,
    begin: StartBuild,
    checkout: Path,
    environ: dict[str, str],
    logged: pytest.LogCaptureFixture,
) -> None:
    # What the user has of that registry is old, and comes after the config's.
    address = base.partition("/")[0]
    own = Path(environ["HOME"]) / ".config/containers/auth.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"auths": {address: {"auth": "b2xkOm9sZA=="}}}))
    before = own.read_text()
    build_from(checkout, base, 'RUN ["/bin/busybox", "sleep", "613"]')
    for logins in ({}, {address: Login("robot", Secret("wrong"))}):
        with pytest.raises(CommandError) as caught:
            begin(logins=logins).wait()
        assert "STEP 1/4: FROM" in caught.value.message
        assert "under `registries` in the config" in caught.value.hint
    login = Login("robot", PASSWORD)
    build = begin(logins={address: login})
    wait_until(lambda: find_processes("sleep\x00613"), "the last instruction")
    shown = run_program("ps", "-eo", "args")
    build.cancel()
    with pytest.raises((CancelledError, CommandError)):
        build.wait()
    assert f"STEP 1/4: FROM {base}" in logged.text
    for secret in (login.password, login.basic):
        assert secret.reveal() not in shown + logged.text
    assert own.read_text() == before
    assert list(Path(environ["TMPDIR"]).glob("nvoi-login-*")) == []


@pytest.mark.parametrize("engine", [Podman(), Docker()])
def test_a_login_stands_in_a_private_file_beside_the_user_s_own(
    engine: Podman | Docker, tmp_path: Path
) -> None:
    docker = tmp_path / ".docker/config.json"
    docker.parent.mkdir()
    docker.write_text(
        json.dumps(
            {
                "auths": {"docker.io": {"auth": "old"}, "quay.io": {"auth": "own"}},
                "credHelpers": {"index.docker.io": "desktop", "gcr.io": "gcloud"},
            }
        )
    )
    login = Login("robot", PASSWORD)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with log_in(engine, None, environ, {"docker.io": login}) as inside:
        path = inside.get("REGISTRY_AUTH_FILE") or f"{inside['DOCKER_CONFIG']}/config.json"
        told = json.loads(Path(path).read_text())
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    assert not Path(path).exists()
    hub = "https://index.docker.io/v1/"
    assert told["auths"] == {"quay.io": {"auth": "own"}, hub: {"auth": login.basic.reveal()}}
    assert {key for key, helper in told["credHelpers"].items() if helper} == {"gcr.io"}
    with log_in(engine, None, environ) as inside:
        assert inside == environ
