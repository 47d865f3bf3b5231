"""The last object of ``--log-format json``, whatever stands in it and wherever it goes."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest

from nvoi.cli import job, results
from nvoi.errors import NvoiError
from nvoi.log.masking import add_secrets
from nvoi.outcome import Outcome, Timing

DONE = Outcome("Deploy", "shop", 1.0, [Timing("Café 🚀", 1.0)], urls=["https://café.example"])


def write(monkeypatch: pytest.MonkeyPatch, encoding: str, error: NvoiError | None = None) -> str:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
    if error:
        results.write_error(error)
    else:
        results.write_outcome(DONE, "d-1", "")
    return raw.getvalue().decode(encoding)


def read(text: str) -> Any:
    (line,) = text.splitlines()
    return json.loads(line)["result"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_result_is_json_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = read(write(monkeypatch, encoding))
    assert told["urls"] == ["https://café.example"]
    assert told["steps"][0]["name"] == "Café 🚀"


def test_a_name_that_is_no_text_leaves_the_result_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = read(write(monkeypatch, "utf-8", NvoiError("there is no config \udcff.yml")))
    assert told["error"] == "there is no config \ufffd.yml"


def test_a_secret_that_is_a_word_of_json_leaves_the_result_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_secrets("false", "error")
    told = read(write(monkeypatch, "utf-8", NvoiError("FLAG is false")))
    assert told == {"ok": False, "error": "FLAG is [REDACTED]"}


def test_a_result_is_no_command_of_a_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    text = write(monkeypatch, "utf-8", NvoiError("##[error]x ##vso[task]"))
    assert "##" not in text
    assert read(text)["error"] == "##[error]x ##vso[task]"


def test_a_reader_that_has_gone_does_not_change_how_a_run_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123 - of a number
        monkeypatch.setattr("sys.stdout", stream)
        results.write_outcome(DONE, "d-1", "")
        # As the command does at its end.
        stream.flush()


def test_an_annotation_is_written_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    job.annotate(NvoiError("café \udcff"), {"GITHUB_ACTIONS": "true"})
    assert raw.getvalue() == b"::error title=nvoi::caf\\xe9 \\ufffd\n"
