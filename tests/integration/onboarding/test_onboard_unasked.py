"""``nvoi onboard`` without a terminal, and with a file of another tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nvoi.cli import main
from nvoi.config.schema import SSHProvider
from tests.integration.commands import call_nvoi
from tests.integration.onboarding.configs import make_config, read_config
from tests.integration.onboarding.wizard import Wizard, list_files, without_key
from tests.integration.streams import KEY

COMPOSE = """\
services:
  web:
    build: .
    ports: ["3000:3000"]
    environment: {API_TOKEN: $API_TOKEN, MODE: fast}
    tty: true
  db:
    image: postgres:16
    environment: {POSTGRES_PASSWORD: w0rd-5ecret}
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return without_key(tmp_path)


def test_a_compose_file_becomes_a_config_for_servers(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / ".env").write_text("API_TOKEN=t0ken-5ecret\n")
    named = ("--name", "store", "--host", "deploy@one.example:2222")
    words = ("onboard", "--from", "compose.yaml", *named)
    done = call_nvoi(*words, "--host", "deploy@[fd00::2]:2222", folder=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert "The config is that of compose.yaml." in done.stdout
    assert "compose.yaml:6: services.web.tty: is for somebody at a terminal" in done.stdout
    assert "ssh-ed25519 " in done.stdout
    assert (
        "The first deploy needs more: the image cannot be built: . has no Dockerfile" in done.stdout
    )
    assert "5ecret" not in done.stdout + done.stderr
    application = read_config(tmp_path).application
    assert application.name == "store"
    assert isinstance(application.compute_provider, SSHProvider)
    assert {name: group.hosts for name, group in application.servers.items()} == {
        "main": ("one.example",),
        "workers": ("fd00::2",),
    }
    assert application.servers["main"].user == "deploy"
    assert application.app["web"].port == 3000
    assert application.secrets["API_TOKEN"].reveal() == "t0ken-5ecret"
    # One that is there is not touched.
    before = list_files(tmp_path)
    again = call_nvoi(*words, folder=tmp_path, environ=environ)
    assert again.returncode == 2
    assert "deploy.enc is there, and nobody can be asked" in again.stderr
    assert list_files(tmp_path) == before


def test_what_is_missing_is_told_and_nothing_is_written(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    done = call_nvoi("onboard", "--from", "compose.yaml", folder=tmp_path, environ=environ)
    assert done.returncode == 2
    assert "no config was written. It lacks:" in done.stderr
    assert "compose.yaml:5: services.web.environment.API_TOKEN: $API_TOKEN has no v" in done.stderr
    assert "postgres://USER:PASSWORD@HOST/NAME, in $DATABASE_URL" in done.stderr
    assert "application.app.web.command: is required on this machine" in done.stderr
    assert "application.database" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["compose.yaml"]


def test_what_only_servers_need_is_not_imported(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "Procfile").write_text("web: serve\n")
    lines = "import sys; from nvoi.cli import main; code = main(['onboard'])"
    words = [sys.executable, "-c", f"{lines}; sys.exit(code or 'paramiko' in sys.modules)"]
    # It takes half as long as all else.
    assert subprocess.run(words, cwd=tmp_path, env=environ, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "My Shop"), "--name must be lower-case letters"),
        (("--host", "-x"), "--host must be a host name or an IP address"),
        (("--host", "a b@c.example"), "--host must be a login name"),
        (("--host", "c.example:0"), "--host must be a port"),
        (("--host", "a@c.example", "--host", "b@d.example"), "the same user and port"),
        (("--from", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("--from", "notes.txt"), "is of no kind that nvoi reads"),
        (("--from", "broken.yaml"), "broken.yaml:3:"),
    ],
)
def test_what_the_command_line_names_wrongly_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.yaml").write_text("services:\n  a: [\n")
    before = list_files(tmp_path)
    assert main(["onboard", f"{words[0]}={words[1]}", *words[2:]]) == 2
    assert told in capsys.readouterr().err
    assert list_files(tmp_path) == before


def test_a_file_of_another_folder_is_read_where_it_is(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    other, checkout = tmp_path / "other", tmp_path / "shop"
    other.mkdir()
    checkout.mkdir()
    (other / "docker-compose.yml").write_text(
        "services: {web: {build: ., env_file: web.env, ports: [8000]}}\n"
    )
    (other / "web.env").write_text("A=1\n")
    words = ("onboard", "--from", str(other / "docker-compose.yml"), "--host", "a.example")
    done = call_nvoi(*words, folder=checkout, environ=environ | {"DEPLOY_KEY": KEY})
    assert done.returncode == 0, done.stderr
    # Nothing is left of a key that the environment has.
    assert "Its key is that of $DEPLOY_KEY." in done.stdout
    assert [path.name for path in checkout.iterdir() if "key" in path.name] == []
    application = read_config(checkout, DEPLOY_KEY=KEY).application
    assert (application.name, dict(application.env)) == ("shop", {"A": "1"})


def test_a_config_that_is_there_is_not_made_of_a_file(tmp_path: Path) -> None:
    make_config(tmp_path)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    before = list_files(tmp_path)
    with Wizard(tmp_path, "onboard", "--from", "compose.yaml") as wizard:
        wizard.wait_for("deploy.enc is there")
        assert wizard.end() == 2
    assert list_files(tmp_path) == before
