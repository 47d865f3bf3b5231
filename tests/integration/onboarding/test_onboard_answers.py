"""Whole interviews with ``nvoi onboard``, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]  # it has none
import pytest

from nvoi.config.schema import Healthcheck, SSHProvider
from tests.integration.commands import NVOI
from tests.integration.onboarding.configs import make_config, read_config
from tests.integration.onboarding.scripts import (
    CAREFUL,
    KINDS,
    LOCAL,
    OWN_SERVERS,
    TYPED,
)
from tests.integration.onboarding.wizard import (
    BLANK,
    CTRL_C,
    CTRL_D,
    ERASE_LINE,
    ESCAPE,
    Wizard,
    cut,
    list_files,
)

COLOURS = re.compile(r"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7])\b[0-9;]*m")


def make_key(folder: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id_ed25519")]
    subprocess.run(words, check=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"program": NVOI},
        {"columns": 40},
        {"columns": 40, "NO_COLOR": "1"},
        {"program": NVOI, "TERM": "dumb", "columns": 40},
    ],
    ids=["wide", "narrow", "narrow-uncoloured", "dumb"],
)
def test_an_interview_leaves_a_config_that_says_what_was_answered(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with Wizard(tmp_path, **settings) as wizard:
        wizard.follow(LOCAL)
        assert wizard.end() == 0
    assert set(list_files(tmp_path)) == {
        ".dockerignore",
        ".gitignore",
        "deploy.enc",
        "deploy.key",
    }
    config = read_config(tmp_path)
    application = config.application
    assert application.name == "shop"
    web, worker = application.app.values()
    assert web.healthcheck == Healthcheck(path="/up")
    assert (web.command, web.port, web.pre_run_command) == ("exec sleep 600", 8123, "echo ready")
    assert (worker.command, worker.port, worker.pre_run_command) == ("exec sleep 601", None, None)
    assert application.database
    assert application.database.engine == "postgres"
    assert application.env == {"LOG_LEVEL": "info"}
    assert application.secrets["API_TOKEN"].reveal() == "val-5ecret-api"
    assert config.callback_url == "http://127.0.0.1:1/callbacks"
    assert "nvoi deploy --dry-run" in wizard.seen
    assert not any(secret in wizard.seen for secret in TYPED)
    assert not any(secret.encode() in (tmp_path / "deploy.enc").read_bytes() for secret in TYPED)
    assert bool(COLOURS.search(wizard.seen)) is (settings.keys() <= {"columns", "program"})
    assert ("\x1b" in wizard.seen) is (settings.get("TERM") != "dumb")
    assert ("│" in wizard.seen) is ("columns" not in settings)


def test_own_servers_are_reached_with_a_key_of_ones_own(tmp_path: Path) -> None:
    make_key(tmp_path)
    with Wizard(tmp_path) as wizard:
        wizard.follow(OWN_SERVERS)
        assert wizard.end() == 0
    application = read_config(tmp_path).application
    assert isinstance(application.compute_provider, SSHProvider)
    hosts = {name: group.hosts for name, group in application.servers.items()}
    assert hosts == {"main": ("one.example.com",), "workers": ("10.0.0.2",)}
    assert application.app["web"].servers == ("main",)
    public = (tmp_path / "id_ed25519.pub").read_text().split()[1]
    assert application.ssh_keys
    assert public in application.ssh_keys.public_key
    assert public in wizard.seen.replace("\r\n", "")
    private = (tmp_path / "id_ed25519").read_text().splitlines()[2]
    assert private not in wizard.seen


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["ctrl-c", "ctrl-d"])
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_and_ctrl_d_leave_nothing_behind_at_any_kind_of_question(
    tmp_path: Path, kind: str, key: str
) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    script = KINDS[kind]
    if script[0][0] == "deploy.enc is there:":
        make_config(tmp_path)
    before = list_files(tmp_path)
    steps, (question, typed) = cut(script, len(script) - 1)
    with Wizard(tmp_path) as wizard:
        wizard.follow(steps)
        wizard.wait_for(question)
        if typed.startswith(">"):
            wizard.wait_for(typed[1:])
        # Ctrl-D counts in an empty line: what is offered in it is taken out first.
        wizard.process.send(CTRL_C if key == CTRL_C else f"{ERASE_LINE}{CTRL_D}")
        assert wizard.end() == 130
    assert "interrupted (Ctrl-C)" in wizard.seen
    assert list_files(tmp_path) == before


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_each_kind_of_question_leads_back_to_the_one_before(tmp_path: Path, term: str) -> None:
    back = ESCAPE if term != "dumb" else "<\r"
    program = NVOI if term == "dumb" else ""
    with Wizard(tmp_path, program=program, TERM=term) as wizard:
        wizard.wait_for("Application name:")
        wizard.process.send(back)
        wizard.wait_for("this is the first question")
        wizard.answer("Application name:", "typo")
        # From a choice to a line, which has what was answered.
        wizard.wait_for("Where does it run?")
        wizard.process.send(back)
        wizard.wait_for("Application name:")
        wizard.wait_for("typo")
        wizard.process.send(f"{ERASE_LINE}shop\r")
        wizard.follow(LOCAL[1:7])
        # From yes or no, and from a secret, to where they were asked for.
        wizard.wait_for("Another app?")
        wizard.process.send(back)
        wizard.follow(LOCAL[6:7])
        wizard.follow([("Another app?", "n"), ("Database:", ">PostgreSQL")])
        wizard.wait_for("URL (postgres://USER:PASSWORD@HOST/NAME):")
        wizard.process.send(back)
        wizard.follow([("Database:", ">none"), *LOCAL[15:21]])
        wizard.follow([("Stream deploy logs to a dashboard?", "n")])
        # From the summary.
        wizard.wait_for("? What now?")
        wizard.process.send(back)
        wizard.follow([("Stream deploy logs to a dashboard?", "n"), ("? What now?", ">save it")])
        assert wizard.end() == 0
    application = read_config(tmp_path).application
    assert application.name == "shop"
    assert application.database is None
    assert application.app["web"].healthcheck == Healthcheck(path="/up")
    assert application.secrets["API_TOKEN"].reveal() == "val-5ecret-api"


def test_each_wrong_answer_is_refused_with_its_reason_and_asked_again(tmp_path: Path) -> None:
    make_key(tmp_path)
    (tmp_path / "app.py").write_text("print()")
    with Wizard(tmp_path) as wizard:
        for question, typed, refusal in CAREFUL:
            wizard.follow([(question, typed)])
            if refusal:
                wizard.wait_for(f"! {refusal}")
        assert wizard.end() == 0
    application = read_config(tmp_path).application
    assert application.app["web"].healthcheck == Healthcheck(path="/up")
    assert application.env == {"A": ""}
    assert not any(secret in wizard.seen for secret in TYPED)


def test_wrong_answers_on_this_machine_are_refused_too(tmp_path: Path) -> None:
    with Wizard(tmp_path) as wizard:
        wizard.follow(LOCAL[:3])
        wizard.answer("Command:", BLANK)
        wizard.wait_for("! an answer is needed here")
        wizard.follow(LOCAL[3:9])
        wizard.answer("Command:", "exec sleep 601")
        wizard.answer("Port (blank: none):", "8123")
        wizard.wait_for("! web has this port: on one machine each needs its own")
        wizard.answer("Port (blank: none):", BLANK)
        wizard.follow(LOCAL[11:14])
        wizard.answer("URL (postgres://USER:PASSWORD@HOST/NAME):", "mysql://u:db-5ecret-word@h/x")
        wizard.wait_for("! must be postgres://")
        wizard.follow(LOCAL[14:])
        assert wizard.end() == 0
    assert not any(secret in wizard.seen for secret in TYPED)


def test_what_is_not_in_the_terminals_encoding_is_asked_for_again(tmp_path: Path) -> None:
    with Wizard(tmp_path, program=NVOI, TERM="dumb", PYTHONIOENCODING="utf-8:strict") as wizard:
        wizard.wait_for("Application name:")
        wizard.process.setecho(False)
        os.write(wizard.process.child_fd, b"caf\xe9\n")
        wizard.wait_for("! must be utf-8")
        wizard.answer("Application name:", "cafe")
        wizard.wait_for("Where does it run?")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
    ],
)
@pytest.mark.parametrize("length", [0, 1], ids=["in-a-line", "in-a-choice"])
def test_a_signal_leaves_nothing_behind_and_the_terminal_as_it_was(
    tmp_path: Path, number: signal.Signals, code: int, length: int
) -> None:
    with Wizard(tmp_path, program=NVOI) as wizard:
        before = termios.tcgetattr(wizard.process.child_fd)
        wizard.follow(LOCAL[:length])
        wizard.wait_for(LOCAL[length][0])
        wizard.process.kill(number)
        wizard.process.expect(pexpect.EOF)
        assert termios.tcgetattr(wizard.process.child_fd) == before
        assert wizard.end() == code
    assert list_files(tmp_path) == {}


#: Runs nvoi, which gets SIGTERM while the first question gives the terminal back.
STOPPED_AT_THE_END_OF_A_QUESTION = """
import os, signal, sys
from prompt_toolkit.input.vt100 import raw_mode
from nvoi.cli import main

def watch(frame, event, argument):
    if event == "call" and frame.f_code is raw_mode.__exit__.__code__:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGTERM)

sys.setprofile(watch)
sys.exit(main(["onboard"]))
"""


def test_a_signal_at_the_end_of_a_question_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    words = ("-c", STOPPED_AT_THE_END_OF_A_QUESTION)
    with Wizard(tmp_path, *words, program=sys.executable) as wizard:
        before = termios.tcgetattr(wizard.process.child_fd)
        wizard.follow(LOCAL[:1])
        wizard.process.expect(pexpect.EOF)
        assert termios.tcgetattr(wizard.process.child_fd) == before
        assert wizard.end() == 143
    assert list_files(tmp_path) == {}
