from __future__ import annotations

import logging
import sys
import time

import pytest

from nvoi.log import rendering


def make_record(
    msg: object, *args: object, error: BaseException | None = None
) -> logging.LogRecord:
    info = None
    if error is not None:
        try:
            raise error
        except BaseException:  # noqa: BLE001 - whatever the test raises
            info = sys.exc_info()
    return logging.LogRecord("nvoi", logging.INFO, __file__, 1, msg, args, info)


def test_a_traceback_follows_once_also_when_a_formatter_has_kept_it() -> None:
    record = make_record("failed", error=ValueError("no"))
    logging.Formatter().format(record)
    assert rendering.render(record).count("ValueError: no") == 1


def test_a_traceback_that_a_queue_handler_merged_is_not_repeated() -> None:
    from logging.handlers import QueueHandler
    from queue import SimpleQueue

    record = make_record("failed", error=ValueError("no"))
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    QueueHandler(queue).handle(record)
    assert rendering.render(queue.get()).count("ValueError: no") == 1


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain ünïcode ✓", "plain ünïcode ✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("up\x1b[2Kdate", "update"),
        ("cut off \x1b[", "cut off "),
        ("cut off \x1b[31;1\nnext", "cut off 31;1\nnext"),
        ("cut off \x9b31", "cut off 31"),
        ("cut off \x1b", "cut off "),
        ("cut off \x1b(", "cut off ("),
        ("begun \x1b]0;title and more", "begun 0;title and more"),
        ("begun \x1b]0;title\nnext\x07", "begun 0;title\nnext\N{REPLACEMENT CHARACTER}"),
        ("begun \x1b]0;\x1b[1mbold\x1b[0m", "begun 0;bold"),
        ("begun \x1bPq and more", "begun q and more"),
        ("begun \x1bXa\nb", "begun a\nb"),
        ("begun \x1b^a", "begun a"),
        ("begun \x1b_a", "begun a"),
        ("whole \x1bPq1\n2\x1b\\ \x1bXa\x1b\\\x1b^b\x1b\\\x1b_c\x1b\\end", "whole  end"),
        ("nul\x00bell\x07", "nul\N{REPLACEMENT CHARACTER}bell\N{REPLACEMENT CHARACTER}"),
        ("lone \ud800 surrogate", "lone \N{REPLACEMENT CHARACTER} surrogate"),
        ("windows\r\nline", "windows\nline"),
    ],
)
def test_text_is_cleaned_of_codes_and_of_what_is_no_unicode(raw: str, cleaned: str) -> None:
    assert rendering.clean(raw) == cleaned
    cleaned.encode()


def test_a_record_without_its_fields_is_rendered() -> None:
    record = make_record("hello %s", "you", error=ValueError("no"))
    del record.exc_text, record.stack_info
    assert rendering.render(record).startswith("hello you\nTraceback")
    del record.exc_info, record.args
    assert rendering.render(record) == "hello %s None"


@pytest.mark.parametrize("info", [True, (None, None, None), ("a",), ValueError("no")])
def test_what_stands_in_the_place_of_an_exception_is_no_hindrance(info: object) -> None:
    record = make_record("failed")
    record.exc_info = info  # type: ignore[assignment]  # as makeLogRecord may be given
    assert rendering.render(record).startswith("failed")


@pytest.mark.parametrize(
    "unit", ["\x1b]", "\x1bP", "\x1b[", "\x1b[1", "\x1b(", "\x1b ", "\x9b;", "\x1b"]
)
@pytest.mark.parametrize("rest", ["", "a", "0", " "])
def test_no_text_is_cleaned_slowly(unit: str, rest: str) -> None:
    def measure(count: int) -> float:
        text = unit * count + rest * count
        began = time.process_time()
        rendering.clean(text)
        return time.process_time() - began

    small, large = (min(measure(count) for _ in range(3)) for count in (5_000, 40_000))
    assert large / small < 24
