from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from nvoi.log import console, masking
from nvoi.log.console import COLOURFUL, PLAIN


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("nvoi.web", level, __file__, 1, message, (), None)


@pytest.mark.parametrize(
    ("environ", "terminal", "palette"),
    [
        ({}, True, COLOURFUL),
        ({}, False, PLAIN),
        ({"NO_COLOR": "1"}, True, PLAIN),
        ({"NO_COLOR": ""}, True, COLOURFUL),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, PLAIN),
        ({"FORCE_COLOR": "1"}, False, COLOURFUL),
        ({"FORCE_COLOR": "0"}, False, PLAIN),
        ({"CLICOLOR_FORCE": "1"}, False, COLOURFUL),
        ({"CLICOLOR_FORCE": "0"}, False, PLAIN),
        ({"TERM": "dumb"}, True, PLAIN),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, COLOURFUL),
        ({"GITHUB_ACTIONS": "true"}, False, COLOURFUL),
        ({"GITLAB_CI": "true"}, False, COLOURFUL),
        ({"JENKINS_URL": "http://x"}, False, PLAIN),
    ],
)
def test_colour_follows_the_terminal_the_user_and_the_ci(
    environ: Mapping[str, str], terminal: bool, palette: console.Palette
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert console.choose_palette(stream, environ) == palette


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("created", [None, "now", math.inf, datetime.now(UTC)])
def test_a_record_that_tells_no_time_is_shown_as_of_now(created: object, *, as_json: bool) -> None:
    stream = io.StringIO()
    record = make_record("hello")
    record.created = created  # type: ignore[assignment]  # as makeLogRecord may be given
    console.build_handler(stream, {}, as_json=as_json).handle(record)
    assert re.search(r"\d\d:\d\d:\d\d.*hello", stream.getvalue())


def test_only_the_prefix_is_coloured() -> None:
    text = console.ConsoleFormatter(COLOURFUL).format(make_record("\x1b[5mweb\x1b[0m", 40))
    assert re.fullmatch(r"\x1b\[1;31m\[\d\d:\d\d:\d\d\] \[ERROR\]\x1b\[0m web", text)


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    handler = console.build_handler(stream, {}, as_json=True)
    handler.handle(make_record("two\nlines", 22))
    handler.handle(make_record("done", 99))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["level"] == "step"
    assert first["message"] == "two\nlines"
    assert first["logger"] == "nvoi.web"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert second["level"] == "error"


def test_a_traceback_follows_its_line_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "masker", masking.Masker(["hunter2hunter2"]))
    stream = io.StringIO()
    record = make_record("failed", 40)
    try:
        raise ValueError("password hunter2hunter2")
    except ValueError:
        record.exc_info = sys.exc_info()
    console.build_handler(stream, {}).handle(record)
    text = stream.getvalue()
    assert "] failed\nTraceback" in text
    assert text.endswith("ValueError: password [REDACTED]\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_the_stream_lacks_are_escaped(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console.build_handler(stream, {}).handle(make_record("✓ \ud800 ü"))
    text = raw.getvalue().decode(encoding)
    assert text.endswith("\n")
    assert "\\u2713" in text or "✓" in text


def test_a_line_of_json_is_json_in_any_encoding() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    console.build_handler(stream, {}, as_json=True).handle(make_record("✓ 🚀 ü"))
    assert json.loads(raw.getvalue())["message"] == "✓ 🚀 ü"


@pytest.mark.parametrize(
    ("error", "told"),
    [(BrokenPipeError(32, "x"), ""), (OSError(28, "No space left"), "No space left")],
)
def test_a_stream_that_cannot_be_written_to_is_let_go(
    error: OSError, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    handler = console.build_handler(Closed(), {})
    for message in ("one", "two"):
        handler.handle(make_record(message))
    errors = capsys.readouterr().err
    assert told in errors
    assert errors.count("\n") == (1 if told else 0)


def test_a_stream_that_another_program_does_not_want_to_wait_for_has_all_lines() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    with os.fdopen(writer, "w") as stream:
        handler = console.build_handler(stream, {})
        thread = threading.Thread(target=handler.handle, args=[make_record("said")])
        thread.start()
        seen = b""
        while not seen.endswith(b"\n"):
            seen += os.read(reader, 4096)
        thread.join()
    os.close(reader)
    assert seen.endswith(b"said\n")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("x\r::add-mask::y", "x\\r::add-mask::y"),
        ("a\tb\x00\x07\x7f\x85\u2028c", "a\tb\\x00\\x07\\x7f\\x85\\u2028c"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("one\r\ntwo", "one\ntwo"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b", "red "),
        ("one\n::add-mask::two", "one\n\\x3a:add-mask::two"),
        ("one\n \u2003::add-mask::two", "one\n \u2003\\x3a:add-mask::two"),
        ("::1 listens", "::1 listens"),
        ("x ##[add-mask]y", "x \\x23#[add-mask]y"),
        ("###[group]x", "#\\x23#[group]x"),
        ("##vso[task.complete]", "\\x23#vso[task.complete]"),
        ("##teamcity[x]", "\\x23#teamcity[x]"),
        ("## [x] of C:\\new", "## [x] of C:\\new"),
    ],
)
def test_what_could_be_a_command_of_a_terminal_or_a_ci_is_shown_as_text(
    message: str, shown: str
) -> None:
    text = console.ConsoleFormatter().format(make_record(message))
    assert text.partition("] [INFO] ")[2] == shown


def test_json_has_no_command_of_a_ci_and_reads_the_same() -> None:
    text = console.JSONFormatter().format(make_record("x\r###[group]y"))
    assert "##" not in text
    assert "\r" not in text
    assert json.loads(text)["message"] == "x\r###[group]y"
