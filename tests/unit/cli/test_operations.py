from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from nvoi.cli import main
from nvoi.cli.operations import ask_meanwhile
from nvoi.outcome import LOGGER
from tests.fakes.clouds.scaleway import Scaleway
from tests.unit.config.texts import keys, scaleway


@pytest.mark.parametrize(("answer", "meant"), [("y\n", True), ("no\n", False), ("", False)])
def test_a_question_in_a_run_ends_the_line_that_shows_its_time(
    answer: str,
    meant: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(answer.encode())))
    assert ask_meanwhile("Take it?") is meant
    assert [(one.name, one.getMessage()) for one in caplog.records] == [(LOGGER, "Take it?")]
    assert capsys.readouterr().out == "Go on? [y/N] "


def test_a_hint_names_the_command_for_the_branch_that_the_run_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "deploy.yml"
    config.write_text(scaleway("app: {web: {servers: [main], port: 3000}}"))
    with Scaleway() as cloud:
        environ = {"SCW_API_URL": cloud.url, "HOME": str(tmp_path), **keys()}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for words, told in (
            (["--branch", "topic"], "(`nvoi deploy --branch topic` makes what it lacks)"),
            ([], "(`nvoi deploy` makes what it lacks)"),
        ):
            assert main(["releases", "-c", str(config), *words]) == 1
            assert told in capsys.readouterr().err
