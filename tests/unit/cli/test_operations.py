from __future__ import annotations

import io
import logging

import pytest

from nvoi.cli.operations import ask_meanwhile
from nvoi.outcome import LOGGER


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
