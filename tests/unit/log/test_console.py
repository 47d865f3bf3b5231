from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Mapping

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


def test_a_line_has_time_level_and_message() -> None:
    text = console.ConsoleFormatter().format(make_record("web is up", 25))
    logging.addLevelName(25, "SUCCESS")
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] \[\w[\w ]*\] web is up", text)


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


def test_a_level_below_the_handlers_is_not_shown() -> None:
    stream = io.StringIO()
    handler = console.build_handler(stream, {}, level=logging.WARNING)
    logger = logging.getLogger("tests.console.quiet")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    logger.info("no")
    logger.warning("yes")
    assert stream.getvalue().count("\n") == 1


def test_a_closed_pipe_is_told_once_and_nothing_is_written_after() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    handler = console.build_handler(Closed(), {})
    with pytest.raises(console.ClosedOutputError):
        handler.handle(make_record("one"))
    handler.handle(make_record("two"))
