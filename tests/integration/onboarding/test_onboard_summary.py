"""The summary of ``nvoi onboard``, configs that are there already, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.config.sealing import encrypt, generate_key
from nvoi.secret import Secret
from tests.fakes.protocol import find_signature_faults
from tests.fakes.receiver import Receiver
from tests.integration.commands import NVOI, build_environment, call_nvoi
from tests.integration.onboarding.configs import OWN, make_config, read_config, read_text
from tests.integration.onboarding.scripts import FEW, HEALTH, LOCAL
from tests.integration.onboarding.wizard import (
    ENTER,
    SMALL,
    Wizard,
    list_files,
    without_key,
    write_small,
)
from tests.integration.streams import KEY
from tests.ports import find_port
from tests.waiting import fetch_from

ROOT = Path(__file__).parents[3]


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """A checkout with a config in it."""
    make_config(tmp_path)
    return tmp_path


def test_a_config_that_is_there_can_be_changed_and_keeps_all_else(owned: Path) -> None:
    with Wizard(owned) as wizard:
        wizard.pick("deploy.enc is there:", "change it")
        wizard.pick("? What now?", "change Apps")
        wizard.pick("Apps:", "change web")
        wizard.answer("Command:", "serve --all")
        wizard.answer("Port (blank: none):", ENTER)
        wizard.answer(HEALTH, ENTER)
        wizard.answer("keep the lines that it has?", ENTER)
        wizard.pick("Apps:", "go on")
        wizard.pick("? What now?", "change Variables")
        wizard.follow(
            (
                ("Variable (blank: no more):", ENTER),
                ("Secret (blank: no more):", "TOKEN"),
                ("TOKEN is there:", ">change it"),
                ("Value of TOKEN:", "n3w-5ecret"),
                ("Secret (blank: no more):", ENTER),
            )
        )
        wizard.pick("? What now?", "save it")
        assert wizard.end() == 0
    expected = OWN.replace("command: serve", 'command: "serve --all"')
    assert read_text(owned) == expected.replace("0ld-5ecret", "n3w-5ecret")
    assert (owned / "deploy.key").read_text() == KEY
    assert "5ecret" not in wizard.seen
    assert (owned / "deploy.enc").stat().st_mode & 0o777 == 0o600


def test_a_config_that_is_there_can_be_left_cancelled_or_saved_as_it_is(owned: Path) -> None:
    before = list_files(owned)
    with Wizard(owned) as wizard:
        wizard.pick("deploy.enc is there:", "leave it as it is")
        assert wizard.end() == 0
    with Wizard(owned) as wizard:
        wizard.pick("deploy.enc is there:", "change it")
        wizard.follow((("? What now?", ">change Application"), ("Application name:", "other")))
        wizard.pick("? What now?", "cancel")
        assert wizard.end() == 1
    assert "Nothing was saved." in wizard.seen
    with Wizard(owned) as wizard:
        wizard.follow((("deploy.enc is there:", ">change it"), ("? What now?", ">save it")))
        assert wizard.end() == 0
    assert list_files(owned) == before


def test_what_others_changed_meanwhile_is_not_overwritten(owned: Path) -> None:
    with Wizard(owned) as wizard:
        wizard.pick("deploy.enc is there:", "change it")
        wizard.pick("? What now?", "change Application")
        wizard.answer("Application name:", "other")
        wizard.wait_for("? What now?")
        theirs = encrypt(OWN.replace("shop", "theirs").encode(), Secret(KEY))
        (owned / "deploy.enc").write_bytes(theirs)
        wizard.process.send("1\r")
        assert wizard.end() == 2
    assert "changed by others meanwhile" in wizard.seen
    assert (owned / "deploy.enc").read_bytes() == theirs


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("missing", "there is no deploy key"),
        ("wrong", "deploy.key is not its key"),
        ("invalid", "nvoi credentials edit"),
    ],
)
def test_a_config_that_cannot_be_opened_is_left_with_a_clear_error(
    owned: Path, spoil: str, words: str
) -> None:
    if spoil == "missing":
        (owned / "deploy.key").unlink()
    elif spoil == "wrong":
        (owned / "deploy.key").write_text(generate_key().reveal())
    else:
        broken = OWN.replace("port: 8000", "prot: 8000")
        (owned / "deploy.enc").write_bytes(encrypt(broken.encode(), Secret(KEY)))
    before = list_files(owned)
    done = call_nvoi("onboard", folder=owned, environ=without_key(owned))
    assert done.returncode == 2
    assert words in done.stderr
    assert list_files(owned) == before


def test_without_a_terminal_an_empty_checkout_is_told_what_it_lacks(tmp_path: Path) -> None:
    done = call_nvoi("onboard", folder=tmp_path, environ=build_environment(tmp_path))
    assert done.returncode == 2
    assert "no config was written. It lacks:" in done.stderr
    assert "nothing in the checkout says how the app is started" in done.stderr
    assert "nvoi config init" in done.stderr
    assert "nvoi credentials edit" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_streams_that_are_closed_are_no_terminal_either(tmp_path: Path) -> None:
    words = ["sh", "-c", '"$0" onboard <&- >&-', str(NVOI)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no config was written" in done.stderr


def test_a_plain_config_or_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    environ = without_key(tmp_path)
    for words, told in (
        (("--config", "deploy.yml"), "deploy.yml is not encrypted"),
        (("--dir", "nowhere"), "--dir nowhere is no folder"),
        (("--config", "no/deploy.enc"), "no is no folder that can be written to"),
    ):
        done = call_nvoi("onboard", *words, folder=tmp_path, environ=environ)
        assert done.returncode == 2
        assert told in done.stderr
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "deploy.key").symlink_to("nowhere")
    done = call_nvoi("onboard", folder=tmp_path, environ=environ)
    assert done.returncode == 2
    assert "deploy.key is a link to nothing" in done.stderr


def test_what_cannot_be_written_can_be_saved_once_it_can(tmp_path: Path) -> None:
    write_small(tmp_path)
    with Wizard(tmp_path, *SMALL) as wizard:
        wizard.follow(FEW)
        wizard.wait_for("? What now?")
        (tmp_path / "deploy.enc").mkdir()
        wizard.process.send("1\r")
        wizard.wait_for("! cannot write deploy.enc")
        wizard.wait_for("Try to save it once more?")
        assert {path.name for path in tmp_path.iterdir()} == {"compose.yaml", "deploy.enc"}
        (tmp_path / "deploy.enc").rmdir()
        wizard.process.send("\r")
        assert wizard.end() == 0
    assert read_config(tmp_path).application.name == "shop"


def test_ctrl_z_gives_the_terminal_back_until_the_interview_goes_on(tmp_path: Path) -> None:
    with Wizard(tmp_path, "--norc", "-i", program="bash", PS1="ready> ") as shell:
        shell.answer("ready>", f"{NVOI} onboard")
        shell.wait_for("Application name:")
        shell.process.send("\x1a")
        shell.answer("ready>", "fg")
        shell.answer("Application name:", "shop")
        shell.wait_for("Where does it run?")
        shell.process.send("\x03")
        shell.answer("ready>", "exit $?")
        assert shell.end() == 130


def test_more_services_than_there_are_keys_to_choose_by_can_be_changed(owned: Path) -> None:
    services = "".join(f"    a{number}: {{command: x}}\n" for number in range(20))
    many = OWN.replace("  app:\n", f"  app:\n{services}")
    (owned / "deploy.enc").write_bytes(encrypt(many.encode(), Secret(KEY)))
    with Wizard(owned) as wizard:
        wizard.pick("deploy.enc is there:", "change it")
        wizard.pick("? What now?", "change Apps")
        wizard.wait_for("remove web")
        wizard.process.send("\x03")
        assert wizard.end() == 130


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A small web app. Its path is short: a Unix socket's must fit in 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="nv-"))
    shutil.copy(ROOT / "nvoi/demo/hello/app.py", folder)
    (folder / "Procfile").write_text("web: exec python3 app.py\nrelease: echo prepared\n")
    yield folder
    words = ("delete", "--yes", "--delete-volumes", "--quiet", "--callback-budget", "0")
    assert call_nvoi(*words, folder=folder, environ=build_deploying(folder)).returncode == 0
    shutil.rmtree(folder)


def build_deploying(checkout: Path) -> dict[str, str]:
    return build_environment(checkout) | {"NVOI_HOME": str(checkout / "home")}


def test_what_was_answered_is_deployed_and_followed(checkout: Path) -> None:
    """From the first question to an app that answers; the key is the one of $DEPLOY_KEY."""
    port = find_port()
    with Receiver(KEY) as dashboard:
        with Wizard(checkout, DEPLOY_KEY=KEY) as wizard:
            wizard.follow((*LOCAL[:2], ("App name:", ENTER), ("Command:", ENTER)))
            wizard.follow((("Port (blank: none):", str(port)), (HEALTH, ENTER)))
            wizard.follow(
                (
                    ("Command before each release (blank: none):", ENTER),
                    ("Another app?", ENTER),
                    ("Database:", ">SQLite"),
                    ("Variable (blank: no more):", "GREETING"),
                    ("Value of GREETING:", "Good morning"),
                    ("Variable (blank: no more):", ENTER),
                    ("Secret (blank: no more):", ENTER),
                    *LOCAL[21:23],
                    ("Callback URL:", dashboard.url),
                    ("? What now?", ">save it"),
                )
            )
            assert wizard.end() == 0
        assert not (checkout / "deploy.key").exists()
        done = call_nvoi("deploy", folder=checkout, environ=build_deploying(checkout))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "prepared" in done.stdout
        assert "Good morning" in fetch_from(port)
        for request in dashboard.requests:
            assert not list(find_signature_faults(request, KEY.encode()))
        call, *deploy = dashboard.requests
        assert call.kind == "logs"
        assert (deploy[0].state, deploy[-1].state) == ("started", "completed")
