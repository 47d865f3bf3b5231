from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from nvoi.cli.operations import ask_meanwhile
from nvoi.outcome import LOGGER
from tests.fakes.clouds.scaleway import Scaleway
from tests.integration.commands import call_nvoi
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


def test_a_hint_names_the_command_for_the_branch_that_the_run_is_of(tmp_path: Path) -> None:
    config = tmp_path / "deploy.yml"
    config.write_text(scaleway("app: {web: {servers: [main], port: 3000}}"))
    with Scaleway() as cloud:
        environ = {"SCW_API_URL": cloud.url, "HOME": str(tmp_path), **keys()}
        for words, told in (
            (["--branch", "topic"], "(`nvoi deploy --branch topic` makes what it lacks)"),
            ([], "(`nvoi deploy` makes what it lacks)"),
        ):
            command = ["releases", "-c", str(config), *words]
            done = call_nvoi(*command, folder=tmp_path, environ=environ)
            assert done.returncode == 1
            assert told in done.stderr
