"""Requests, read strictly."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from nvoi.dashboard.deliveries import (
    About,
    Kind,
    Line,
    LogBatch,
    ProtocolViolation,
    parse_about,
    parse_body,
    parse_time,
)
from nvoi.protocol import LEVELS, CompletedBody, Level, StartedBody
from tests.fakes.protocol import find_batch_faults, find_status_faults
from tests.fakes.received import Headers, Received

JSON = {"content-type": "application/json"}
TIME, MOMENT = "2024-01-15T10:30:00.123Z", 1_705_314_600_123
LINE = {"level": "info", "message": "hello", "logged_at": TIME}
TUNNEL = {"service_name": "web", "hostname": "www.example.com"}
COMPLETED = {"status": "completed", "tunnels": [TUNNEL], "duration_seconds": 120}

STARTED: StartedBody = {"status": "started", "git_sha": "a" * 40}
ENDED: CompletedBody = {"status": "completed", "tunnels": [], "duration_seconds": 1}
BATCH = LogBatch((Line("info", "hello", MOMENT),))


def parse(kind: Kind, document: Any, **headers: str) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_body(kind, body, JSON | names)


def refuse(kind: Kind, document: Any, **headers: str) -> ProtocolViolation:
    with pytest.raises(ProtocolViolation) as caught:
        parse(kind, document, **headers)
    return caught.value


# -- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "about"),
    [
        (STARTED, {}, About()),
        (
            STARTED,
            {
                "X-Nvoi-App": "shop",
                "X-Nvoi-Command": "deploy",
                "X-Nvoi-Commit-Title": "Gr%C3%B6%C3%9Fe%20%3Cb%3E",
                "X-Nvoi-Commit-Author": "Ada%20Lovelace",
                "X-Nvoi-Dirty": "1",
                "X-Nvoi-Run-Id": "0F8FAD5B-d9cb-469f-a165-70867728950e",
                # HTTP leaves off white space around a value, and ASGI gives its bytes as Latin-1.
                "X-Nvoi-Deploy-Id": "é".encode().decode("latin-1"),
            },
            About(
                run_id="0f8fad5b-d9cb-469f-a165-70867728950e",
                app="shop",
                command="deploy",
                commit_title="Größe <b>",
                commit_author="Ada Lovelace",
                dirty=True,
            ),
        ),
        (
            {"status": "failed", "error": "x"},
            {"X-Nvoi-Reason": "cancelled"},
            About(reason="cancelled"),
        ),
        (
            ENDED,
            {"X-Nvoi-Log-Count": "9", "X-Nvoi-Log-Dropped": "2"},
            About(count=9, dropped=2),
        ),
        (LogBatch(BATCH.lines * 2), {"X-Nvoi-Sequence": "7-8"}, About(first=7)),
    ],
)
def test_headers_say_of_a_run_what_they_say(
    body: Any, headers: dict[str, str], about: About
) -> None:
    lower = {name.lower(): value for name, value in headers.items()}
    assert parse_about(lower, " é\t", body) == about


@pytest.mark.parametrize(
    ("body", "name", "values"),
    [
        (STARTED, "X-Nvoi-App", ["", "a b", "%zz", "%FF", "x" * 201, "ö"]),
        (STARTED, "X-Nvoi-Deploy-Id", ["", "run-2", "run-1,run-1"]),
        (STARTED, "X-Nvoi-Run-Id", ["", "1", "0f8fad5b-d9cb-469f-a165-70867728950", "x" * 36]),
        (ENDED, "X-Nvoi-Log-Count", ["", "-1", "01", "1.0", "x", "٣", "1" * 16]),
        (
            BATCH,
            "X-Nvoi-Sequence",
            ["", "1", "1-", "0-0", "01-1", "1-1 ", "1-1,1-1", "2-1", "1-2", f"{'1' * 5000}-1"],
        ),
        # What belongs on other requests.
        (BATCH, "X-Nvoi-Commit-Title", ["x"]),
        (BATCH, "X-Nvoi-Commit-Author", ["x"]),
        (ENDED, "X-Nvoi-Dirty", ["1"]),
        (ENDED, "X-Nvoi-Reason", ["cancelled"]),
        (STARTED, "X-Nvoi-Sequence", ["1-1"]),
        (STARTED, "X-Nvoi-Log-Count", ["1"]),
        (BATCH, "X-Nvoi-Log-Dropped", ["1"]),
    ],
)
def test_a_header_that_is_not_the_protocols_is_refused(
    body: Any, name: str, values: list[str]
) -> None:
    for value in values:
        with pytest.raises(ProtocolViolation) as caught:
            parse_about({name.lower(): value}, "run-1", body)
        assert caught.value.field == name, value


def test_more_lines_given_up_than_logged_are_refused() -> None:
    headers = {"x-nvoi-log-count": "1", "x-nvoi-log-dropped": "2"}
    with pytest.raises(ProtocolViolation, match="X-Nvoi-Log-Dropped: it is more than"):
        parse_about(headers, "run-1", ENDED)


# -- bodies ---------------------------------------------------------------------------------


def test_what_is_read_are_the_protocols_levels() -> None:
    assert get_args(Level) == tuple(LEVELS)


@pytest.mark.parametrize(
    "document",
    [
        {"status": "started"},
        {"status": "started", "git_sha": "a", "git_ref": "b", "ci_run_url": "d"},
        COMPLETED,
        {"status": "failed", "error": "x"},
    ],
)
def test_a_status_is_read_with_what_it_says(document: Any) -> None:
    assert parse("status", document) == document


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_message_may_hold_any_character(*, ascii_only: bool) -> None:
    messages = ["", "\0", "\x1b[31mred", "a\nb", "é\U0001f600\u2028", '","level":"x', "\\u0022"]
    messages += [one + other for one in ('"', "\\", '\\"') for other in ('"', "\\", '"\\')]
    document = {"logs": [LINE | {"message": message} for message in messages]}
    batch = parse("logs", json.dumps(document, ensure_ascii=ascii_only).encode())
    assert [line.message for line in batch.lines] == messages


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("logs", rb'{"logs": [], "logs": []}'),
        ("logs", rb'{"logs": [{%s, "message": "\\\""}]}'),
        ("logs", rb'{"logs": [{%s}, {%s, "l\u0065vel": "info"}]}'),
        ("status", rb'{"status": "started", "git_sha": "a", "git_sha": "b"}'),
        (
            "status",
            rb'{"status": "completed", "tunnels": [], "duration_seconds": 1, "tunnels": []}',
        ),
        ("status", rb'{"error": "x", "status": "failed", "error": "y"}'),
    ],
)
def test_a_key_that_is_there_twice_is_refused(kind: Kind, body: bytes) -> None:
    line = json.dumps(LINE | {"message": '\\"'})[1:-1].encode()
    assert refuse(kind, body.replace(b"%s", line)).message == "a key is there twice"


@pytest.mark.parametrize(
    ("content_type", "is_taken"),
    [
        ("Application/JSON", True),
        ('application/json;charset="UTF-8"', True),
        ("", False),
        ("text/plain", False),
        ("application/json; charset=latin-1", False),
        ("application/jsonp", False),
    ],
)
def test_json_may_be_announced_in_several_ways(content_type: str, *, is_taken: bool) -> None:
    if is_taken:
        assert parse("logs", {"logs": []}, content_type=content_type) == LogBatch(())
    else:
        assert refuse("logs", {"logs": []}, content_type=content_type).field == "Content-Type"


def test_a_compressed_body_is_refused() -> None:
    assert refuse("logs", {"logs": []}, content_encoding="gzip").field == "Content-Encoding"
    assert parse("logs", {"logs": []}, content_encoding="identity")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        (TIME, MOMENT),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("0001-01-01T00:00:00.000Z", -62_135_596_800_000),
        ("", None),
        ("2024-01-15T10:30:00Z", None),
        ("2024-01-15T10:30:00.1234Z", None),
        ("2024-01-15 10:30:00.123Z", None),
        ("2024-01-15T10:30:00.123+00:00", None),
        ("2023-02-29T00:00:00.000Z", None),
        ("2024-13-01T00:00:00.000Z", None),
        ("2024-01-15T24:00:00.000Z", None),
        ("2024-01-15T10:30:60.000Z", None),
        ("0000-01-01T00:00:00.000Z", None),
        ("\N{FULLWIDTH DIGIT TWO}024-01-15T10:30:00.123Z", None),
        (TIME + "\n", None),
    ],
)
def test_a_time_in_milliseconds(text: str, moment: int | None) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (LINE | {"level": "critical"}, ".level"),
        (LINE | {"level": ["info"]}, ".level"),
        (LINE | {"message": None}, ".message"),
        (LINE | {"logged_at": "today"}, ".logged_at"),
        (LINE | {"logged_at": 1_705_314_600}, ".logged_at"),
        (LINE | {"stream": "stdout"}, ".stream"),
        ({"level": "info", "message": "x"}, ".logged_at"),
        ("a line", ""),
    ],
)
def test_a_wrong_line_is_named(line: Any, field: str) -> None:
    assert refuse("logs", {"logs": [LINE, line]}).field == f"logs[1]{field}"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "logs"),
        ({"logs": {}}, "logs"),
        ({"logs": [], "more": 1}, "more"),
        ([], ""),
        (b"", ""),
        (b"{", ""),
        (b'{"logs": [NaN]}', ""),
        (b'{"logs": []} x', ""),
        (b'\xef\xbb\xbf{"logs": []}', ""),
        (b'{"logs": [], "\xff": 1}', ""),
        (b"\xff\xfe", ""),
        ('{"logs": []}'.encode("utf-16"), ""),
        (b"[" * 500_000, ""),
        (b'{"logs": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "logs[0]"),
        (b'{"logs": ' + b"9" * 5000 + b"}", "logs"),
        (json.dumps({"logs": [LINE | {"message": "\ud800"}]}).encode(), ""),
    ],
)
def test_a_body_that_is_no_batch_is_refused(document: Any, field: str) -> None:
    assert refuse("logs", document).field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "status"),
        ({"status": "running"}, "status"),
        ({"status": ["started"]}, "status"),
        ({"status": "started", "user": "x"}, "user"),
        ({"status": "started", "git_sha": ""}, "git_sha"),
        ({"status": "failed"}, "error"),
        ({"status": "failed", "error": ""}, "error"),
        ({"status": "completed", "tunnels": []}, "duration_seconds"),
        (COMPLETED | {"error": "x"}, "error"),
        (COMPLETED | {"duration_seconds": 1.5}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": True}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": -1}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": 2**63}, "duration_seconds"),
        (COMPLETED | {"tunnels": [TUNNEL, {}]}, "tunnels[1].service_name"),
        (COMPLETED | {"tunnels": [TUNNEL | {"port": 1}]}, "tunnels[0].port"),
        (COMPLETED | {"tunnels": [TUNNEL | {"hostname": ""}]}, "tunnels[0].hostname"),
    ],
)
def test_a_body_that_is_no_status_is_refused(document: Any, field: str) -> None:
    assert refuse("status", document).field == field


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r"\ud83d", "half of a surrogate pair"),
        (r"\ud83dxxxxxxxxxxxx", "half of a surrogate pair"),
        (r"\ude00", "invalid utf-16 surrogate pair"),
        (r"\ud83d\ude00", "truncated"),
    ],
)
def test_half_of_a_surrogate_pair_is_not_told_as_a_body_that_is_cut(text: str, told: str) -> None:
    end = b"" if told == "truncated" else b'"}'
    refused = refuse("status", rb'{"status": "failed", "error": "' + text.encode() + end)
    assert told in refused.message


def test_a_key_without_a_name_is_told_as_one_that_is_not_the_protocols() -> None:
    assert refuse("logs", {"logs": [], "": 1}).message == "the protocol has no such key"


def test_no_answer_repeats_a_long_key() -> None:
    assert len(str(refuse("logs", {"logs": [], "x" * 10_000: 1}))) < 200


# -- agreement with what the sender is tested against -------------------------------------------


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("logs", {"logs": [LINE | {"message": "\0"}]}),
        ("logs", {"logs": [LINE | {"level": level} for level in LEVELS]}),
        ("logs", {"logs": [LINE | {"message": "é\u2028\U0001f600" * 100}] * 500}),
        ("logs", {"logs": [LINE | {"level": "critical"}]}),
        ("logs", {"logs": [LINE | {"logged_at": "2024-02-30T10:30:00.123Z"}]}),
        ("logs", {"logs": [LINE | {"message": "\ud800"}]}),
        ("logs", {"logs": [LINE], "more": 1}),
        ("status", {"status": "started", "git_sha": "a", "git_ref": "b"}),
        ("status", {"status": "started", "git_sha": ""}),
        ("status", {"status": "started", "user": "a"}),
        ("status", COMPLETED | {"tunnels": [], "duration_seconds": 0}),
        ("status", COMPLETED | {"duration_seconds": 1.0}),
        ("status", COMPLETED | {"duration_seconds": False}),
        ("status", {"status": "failed", "error": "x" * 32_000}),
        ("status", {"status": "paused"}),
    ],
)
def test_what_the_sender_may_send_is_just_what_is_taken(kind: Kind, document: Any) -> None:
    fields = [("x-nvoi-sequence", f"1-{len(document['logs'])}")] if kind == "logs" else []
    request = Received(1, 1, "POST", "", kind, "run-1", Headers(fields), 0.0, payload=document)
    find_faults = find_batch_faults if kind == "logs" else find_status_faults
    try:
        body = parse(kind, document)
        parse_about(dict(fields), "run-1", body)
    except ProtocolViolation:
        assert list(find_faults(request))
    else:
        assert not list(find_faults(request))
