"""Whole interviews with ``nvoi onboard``, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import termios
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]  # it has none
import pytest

from nvoi.config.schema import Healthcheck
from tests.integration.commands import NVOI
from tests.integration.onboarding.configs import make_config, read_config
from tests.integration.onboarding.questions import (
    ask_each_kind_twice,
    stop_at_the_end_of_a_question,
)
from tests.integration.onboarding.scripts import (
    FEW,
    LOCAL,
    TYPED,
)
from tests.integration.onboarding.wizard import (
    CTRL_C,
    CTRL_D,
    ERASE_LINE,
    ESCAPE,
    SMALL,
    Wizard,
    list_files,
    write_small,
)

COLOURS = re.compile(r"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7])\b[0-9;]*m")


@pytest.mark.parametrize(
    "settings",
    [
        {"program": NVOI},
        {"program": NVOI, "TERM": "dumb", "columns": 40},
    ],
    ids=["wide", "dumb"],
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
    assert bool(COLOURS.search(wizard.seen)) is (settings == {"program": NVOI})
    assert ("\x1b" in wizard.seen) is (settings.get("TERM") != "dumb")


def test_a_narrow_terminal_without_colours_has_none_and_folds_no_key(tmp_path: Path) -> None:
    write_small(tmp_path)
    with Wizard(tmp_path, *SMALL, columns=40, NO_COLOR="1") as wizard:
        wizard.follow((*FEW, ("? What now?", ">save it")))
        assert wizard.end() == 0
    keys = read_config(tmp_path).application.ssh_keys
    assert keys
    # To be copied: it is not folded.
    assert keys.public_key in wizard.seen.partition("~/.ssh/authorized_keys of its user:")[2]
    assert "\x1b" in wizard.seen
    assert not COLOURS.search(wizard.seen)


def test_ctrl_c_and_ctrl_d_end_each_kind_of_question(tmp_path: Path) -> None:
    with Wizard(tmp_path, act=ask_each_kind_twice) as wizard:
        for question in ("A line?", "A choice?", "Yes or no?", "A secret?"):
            # Ctrl-D counts in an empty line: what is offered in it is taken out first.
            for keys in (CTRL_C, f"{ERASE_LINE}{CTRL_D}"):
                wizard.wait_for(question)
                wizard.wait_for({"A line?": "offered", "A choice?": "two"}.get(question, ""))
                wizard.process.send(keys)
                wizard.wait_for("ended")
        assert wizard.end() == 0


@pytest.mark.parametrize("is_there", [False, True], ids=["a-new-config", "one-that-is-there"])
def test_ctrl_c_leaves_nothing_behind_even_at_the_summary(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    write_small(tmp_path)
    words: tuple[str, ...] = SMALL
    steps = FEW
    if is_there:
        make_config(tmp_path)
        change = ("deploy.enc is there:", ">change it")
        words = ("onboard",)
        steps = (change, ("? What now?", ">change Database"), ("Database:", ">none"))
    before = list_files(tmp_path)
    with Wizard(tmp_path, *words) as wizard:
        wizard.follow(steps)
        wizard.wait_for("? What now?")
        wizard.wait_for("save it")
        wizard.process.send(CTRL_C)
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
        wizard.answer("Application name:", "My Shop")
        wizard.wait_for("! must be lower-case letters")
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


def test_what_is_not_in_the_terminals_encoding_is_asked_for_again(tmp_path: Path) -> None:
    with Wizard(tmp_path, program=NVOI, TERM="dumb", PYTHONIOENCODING="utf-8:strict") as wizard:
        wizard.wait_for("Application name:")
        wizard.process.setecho(False)
        os.write(wizard.process.child_fd, b"caf\xe9\n")
        wizard.wait_for("! must be utf-8")
        wizard.answer("Application name:", "cafe")
        wizard.wait_for("Where does it run?")


@pytest.mark.parametrize(
    ("number", "code", "length"),
    [
        (signal.SIGTERM, 143, 0),
        (signal.SIGINT, 130, 1),
        (signal.SIGHUP, 129, 0),
        (signal.SIGQUIT, 131, 1),
    ],
)
def test_a_signal_leaves_nothing_behind_and_the_terminal_as_it_was(
    tmp_path: Path, number: signal.Signals, code: int, length: int
) -> None:
    """In a line, and in a choice."""
    with Wizard(tmp_path) as wizard:
        before = termios.tcgetattr(wizard.process.child_fd)
        wizard.follow(LOCAL[:length])
        wizard.wait_for(LOCAL[length][0])
        wizard.process.kill(number)
        wizard.process.expect(pexpect.EOF)
        assert termios.tcgetattr(wizard.process.child_fd) == before
        assert wizard.end() == code
    assert list_files(tmp_path) == {}


def test_a_signal_at_the_end_of_a_question_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with Wizard(tmp_path, act=stop_at_the_end_of_a_question) as wizard:
        before = termios.tcgetattr(wizard.process.child_fd)
        wizard.follow(LOCAL[:1])
        wizard.process.expect(pexpect.EOF)
        assert termios.tcgetattr(wizard.process.child_fd) == before
        assert wizard.end() == 143
    assert list_files(tmp_path) == {}
