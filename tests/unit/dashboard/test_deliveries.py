"""Requests, read strictly."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from nvoi.dashboard.deliveries import (
    About,
    Completed,
    Failed,
    Kind,
    Line,
    LogBatch,
    ProtocolViolation,
    SequenceNumbers,
    Started,
    Tunnel,
    check_deploy_header,
    find_run_id,
    parse_about,
    parse_request,
    parse_time,
)
from nvoi.protocol import LEVELS, STARTED_KEYS, Level
from tests.fakes.protocol import find_batch_faults, find_status_faults
from tests.fakes.received import Headers, Received

JSON = {"content-type": "application/json"}
TIME, MOMENT = "2024-01-15T10:30:00.123Z", 1_705_314_600_123
LINE = {"level": "info", "message": "hello", "logged_at": TIME}
TUNNEL = {"service_name": "web", "hostname": "www.example.com"}
COMPLETED = {"status": "completed", "tunnels": [TUNNEL], "duration_seconds": 120}


def parse(kind: Kind, document: Any, **headers: str) -> tuple[Any, SequenceNumbers]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_request(kind, body, JSON | names)


def refuse(kind: Kind, document: Any, **headers: str) -> ProtocolViolation:
    with pytest.raises(ProtocolViolation) as caught:
        parse(kind, document, **headers)
    return caught.value


# -- what is said of a run --------------------------------------------------------------------

STARTED = Started("a" * 40)


def test_headers_say_of_a_run_what_they_say() -> None:
    headers = {
        "x-nvoi-app": "shop",
        "x-nvoi-command": "deploy",
        "x-nvoi-commit-title": "Gr%C3%B6%C3%9Fe%20%3Cb%3E",
        "x-nvoi-commit-author": "Ada%20Lovelace",
        "x-nvoi-dirty": "1",
    }
    about = About("shop", "deploy", "Größe <b>", "Ada Lovelace", dirty=True)
    assert parse_about(STARTED, headers) == about
    assert parse_about(STARTED, {}) == About()
    assert parse_about(Failed("x"), {"x-nvoi-reason": "cancelled"}) == About(reason="cancelled")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Nvoi-App", ""),
        ("X-Nvoi-App", "a b"),
        ("X-Nvoi-Command", "%zz"),
        ("X-Nvoi-Commit-Title", "%FF"),
        ("X-Nvoi-Commit-Author", "x" * 201),
        ("X-Nvoi-Dirty", "ö"),
        ("X-Nvoi-Reason", "cancelled"),
    ],
)
def test_headers_that_are_not_the_protocols_are_refused(name: str, value: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_about(STARTED, {name.lower(): value})
    assert caught.value.field == name


def test_what_belongs_on_a_start_belongs_on_no_other_request() -> None:
    for name in ("X-Nvoi-Commit-Title", "X-Nvoi-Commit-Author", "X-Nvoi-Dirty"):
        with pytest.raises(ProtocolViolation):
            parse_about(LogBatch(()), {name.lower(): "1"})


# -- what is taken -----------------------------------------------------------------------------


def test_a_batch_with_its_numbers() -> None:
    batch = parse("logs", {"logs": [LINE, LINE]}, x_nvoi_sequence="7-8")
    assert batch == (LogBatch((Line("info", "hello", MOMENT),) * 2), SequenceNumbers(7))


def test_started_with_all_and_with_nothing_that_is_known() -> None:
    whole = {"git_sha": "a", "git_ref": "b", "ci_provider": "c", "ci_run_url": "d"}
    assert parse("status", {"status": "started", **whole})[0] == Started("a", "b", "c", "d")
    assert parse("status", {"status": "started"}) == (Started(), SequenceNumbers())


def test_what_is_read_are_the_protocols_levels_and_keys() -> None:
    assert get_args(Level) == tuple(LEVELS)
    assert Started.__struct_fields__ == STARTED_KEYS


def test_completed_with_and_without_its_counts() -> None:
    tunnels = (Tunnel("web", "www.example.com"),)
    assert parse("status", COMPLETED) == (Completed(tunnels, 120), SequenceNumbers())
    counted = parse("status", COMPLETED, x_nvoi_log_count="9", x_nvoi_log_dropped="2")
    assert counted == (Completed(tunnels, 120), SequenceNumbers(count=9, dropped=2))


@pytest.mark.parametrize(
    "message", ["", "\0", "\x1b[31mred", "<script>", "a\nb", "é\U0001f600", "\u2028"]
)
def test_a_message_may_hold_any_character(message: str) -> None:
    batch, _ = parse("logs", {"logs": [LINE | {"message": message}]})
    assert batch.lines[0].message == message


TRICKY = [
    '"',
    "\\",
    '\\"',
    '"\\',
    '\\\\"',
    '{"level":',
    '","level":"info","x',
    "\\u0022",
    "\n\t",
    "é\u2028",
]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_messages_that_look_like_json_are_only_messages(*, ascii_only: bool) -> None:
    messages = [one + other for one in TRICKY for other in TRICKY]
    document = {"logs": [LINE | {"message": message} for message in messages]}
    batch, _ = parse("logs", json.dumps(document, ensure_ascii=ascii_only).encode())
    assert [line.message for line in batch.lines] == messages


@pytest.mark.parametrize("message", TRICKY)
@pytest.mark.parametrize(
    ("key", "value"),
    [("level", "info"), ("message", ""), ("logged_at", TIME), ("l\\u0065vel", "info")],
)
def test_a_key_that_is_there_twice_is_refused_whatever_lies_around_it(
    message: str, key: str, value: str
) -> None:
    record = json.dumps(LINE | {"message": message})
    doubled = f'{record[:-1]}, "{key}": {json.dumps(value)}}}'
    body = f'{{"logs": [{record}, {doubled}, {record}]}}'.encode()
    assert refuse("logs", body).message == "the key is there twice"
    assert parse("logs", body.replace(doubled.encode(), record.encode()))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_json_may_be_announced_in_several_ways(content_type: str) -> None:
    assert parse_request("logs", b'{"logs": []}', {"content-type": content_type})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        (TIME, MOMENT),
        ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("0001-01-01T00:00:00.000Z", -62_135_596_800_000),
    ],
)
def test_a_time_in_milliseconds(text: str, moment: int) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-15T10:30:00Z",
        "2024-01-15T10:30:00.1234Z",
        "2024-01-15 10:30:00.123Z",
        "2024-01-15T10:30:00.123+00:00",
        "2024-01-15T10:30:00.123z",
        "2023-02-29T00:00:00.000Z",
        "2024-13-01T00:00:00.000Z",
        "2024-00-01T00:00:00.000Z",
        "2024-04-31T00:00:00.000Z",
        "2024-01-00T00:00:00.000Z",
        "2024-01-15T24:00:00.000Z",
        "2024-01-15T10:60:00.000Z",
        "2024-01-15T10:30:60.000Z",
        "0000-01-01T00:00:00.000Z",
        "\N{FULLWIDTH DIGIT TWO}024-01-15T10:30:00.123Z",
        TIME + "\n",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert parse_time(text) is None


# -- what is refused, and where it is wrong ----------------------------------------------------


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (LINE | {"level": "critical"}, "logs[1].level"),
        (LINE | {"level": 20}, "logs[1].level"),
        (LINE | {"level": ["info"]}, "logs[1].level"),
        (LINE | {"level": {}}, "logs[1].level"),
        (LINE | {"message": 1}, "logs[1].message"),
        (LINE | {"message": None}, "logs[1].message"),
        (LINE | {"message": "\ud800"}, "logs[1].message"),
        (LINE | {"logged_at": "today"}, "logs[1].logged_at"),
        (LINE | {"logged_at": 1_705_314_600}, "logs[1].logged_at"),
        (LINE | {"stream": "stdout"}, "logs[1].stream"),
        ({"level": "info", "message": "x"}, "logs[1].logged_at"),
        ({}, "logs[1].level"),
        ("a line", "logs[1]"),
        ([], "logs[1]"),
        (None, "logs[1]"),
    ],
)
def test_a_wrong_line_is_named(line: Any, field: str) -> None:
    assert refuse("logs", {"logs": [LINE, line]}).field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "logs"),
        ({"logs": None}, "logs"),
        ({"logs": {}}, "logs"),
        ({"logs": "x"}, "logs"),
        ({"logs": [], "more": 1}, "more"),
        ({"logs": [], "\ud800": 1}, "\\ud800"),
        ([], ""),
        (None, ""),
        ("x", ""),
        (1, ""),
        (b"", ""),
        (b" ", ""),
        (b"{", ""),
        (b'{"logs": [], "logs": []}', "logs"),
        (b'{"logs": [NaN]}', ""),
        (b'{"logs": [Infinity]}', ""),
        (b'{"logs": [-Infinity]}', ""),
        (b'{"logs": []} x', ""),
        (b'\xef\xbb\xbf{"logs": []}', ""),
        (b'{"logs": [], "\xff": 1}', ""),
        (b"\xff\xfe", ""),
        (b"\0", ""),
        ('{"logs": []}'.encode("utf-16"), ""),
        (b"[" * 500_000, ""),
        (b'{"a":' * 100_000, ""),
        (b'{"logs": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", ""),
        (b'{"logs": ' + b"9" * 5000 + b"}", ""),
        (b'{"logs": "' + b"\n" + b'"}', ""),
    ],
)
def test_a_body_that_is_no_batch_is_refused(document: Any, field: str) -> None:
    assert refuse("logs", document).field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "status"),
        ({"status": "running"}, "status"),
        ({"status": None}, "status"),
        ({"status": ["started"]}, "status"),
        ({"status": "started", "user": "x"}, "user"),
        ({"status": "started", "git_sha": None}, "git_sha"),
        ({"status": "started", "git_sha": ""}, "git_sha"),
        ({"status": "started", "git_ref": 1}, "git_ref"),
        ({"status": "started", "ci_run_url": "\udfff"}, "ci_run_url"),
        ({"status": "failed"}, "error"),
        ({"status": "failed", "error": ""}, "error"),
        ({"status": "failed", "error": ["x"]}, "error"),
        ({"status": "failed", "error": "x", "tunnels": []}, "tunnels"),
        ({"status": "completed", "tunnels": []}, "duration_seconds"),
        ({"status": "completed", "duration_seconds": 1}, "tunnels"),
        (COMPLETED | {"error": "x"}, "error"),
        (COMPLETED | {"duration_seconds": "120"}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": 1.5}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": True}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": -1}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": 2**63}, "duration_seconds"),
        (COMPLETED | {"duration_seconds": 1e999}, ""),
        (COMPLETED | {"tunnels": None}, "tunnels"),
        (COMPLETED | {"tunnels": {}}, "tunnels"),
        (COMPLETED | {"tunnels": ["x"]}, "tunnels[0]"),
        (COMPLETED | {"tunnels": [TUNNEL, {}]}, "tunnels[1].service_name"),
        (COMPLETED | {"tunnels": [TUNNEL | {"port": 1}]}, "tunnels[0].port"),
        (COMPLETED | {"tunnels": [TUNNEL | {"hostname": 1}]}, "tunnels[0].hostname"),
        (COMPLETED | {"tunnels": [TUNNEL | {"hostname": ""}]}, "tunnels[0].hostname"),
    ],
)
def test_a_body_that_is_no_status_is_refused(document: Any, field: str) -> None:
    assert refuse("status", document).field == field


@pytest.mark.parametrize(
    "sequence",
    ["", "1", "1-", "-1", "0-0", "01-1", "1-1 ", "1-1,1-1", "a-b", "2-1", "1-2", "1-1\n"],
)
def test_numbers_that_do_not_count_the_lines_are_refused(sequence: str) -> None:
    assert refuse("logs", {"logs": [LINE]}, x_nvoi_sequence=sequence).field == "X-Nvoi-Sequence"


def test_numbers_of_thousands_of_digits_are_refused() -> None:
    digits = "1" * 5000
    sequence = f"{digits}-{digits}"
    assert refuse("logs", {"logs": [LINE]}, x_nvoi_sequence=sequence).field == "X-Nvoi-Sequence"


@pytest.mark.parametrize("count", ["", "-1", "01", "1.0", "x", "٣", "1" * 16])
def test_a_count_that_is_no_number_is_refused(count: str) -> None:
    assert refuse("status", COMPLETED, x_nvoi_log_count=count).field == "X-Nvoi-Log-Count"


def test_more_lines_given_up_than_logged_are_refused() -> None:
    violation = refuse("status", COMPLETED, x_nvoi_log_count="1", x_nvoi_log_dropped="2")
    assert violation.field == "X-Nvoi-Log-Dropped"


def test_a_header_is_refused_where_it_does_not_belong() -> None:
    started = {"status": "started"}
    assert refuse("status", started, x_nvoi_sequence="1-1").field == "X-Nvoi-Sequence"
    assert refuse("status", started, x_nvoi_log_count="1").field == "X-Nvoi-Log-Count"
    assert refuse("logs", {"logs": []}, x_nvoi_log_dropped="1").field == "X-Nvoi-Log-Dropped"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    violation = refuse("logs", {"logs": []}, content_type=content_type)
    assert violation.field == "Content-Type"


def test_a_compressed_body_is_refused() -> None:
    assert refuse("logs", {"logs": []}, content_encoding="gzip").field == "Content-Encoding"
    assert parse("logs", {"logs": []}, content_encoding="identity")


def test_no_answer_repeats_a_long_key() -> None:
    assert len(str(refuse("logs", {"logs": [], "x" * 10_000: 1}))) < 200


# -- the ids of the headers ---------------------------------------------------------------


@pytest.mark.parametrize("deploy_id", ["run-1", "é/ü", " run 1\t", "日本"])
def test_the_header_with_the_id_of_the_path_is_right(deploy_id: str) -> None:
    # HTTP leaves off white space around a value, and ASGI gives its bytes as Latin-1.
    value = deploy_id.strip().encode().decode("latin-1")
    check_deploy_header(deploy_id, {"x-nvoi-deploy-id": value})


def test_no_header_is_right_too() -> None:
    check_deploy_header("run-1", {})


@pytest.mark.parametrize("value", ["", "run-2", "run-1,run-1"])
def test_the_header_with_another_id_is_refused(value: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        check_deploy_header("run-1", {"x-nvoi-deploy-id": value})
    assert caught.value.field == "X-Nvoi-Deploy-Id"


def test_a_run_is_known_by_its_uuid_in_either_case() -> None:
    run_id = "0F8FAD5B-d9cb-469f-a165-70867728950e"
    assert find_run_id({"x-nvoi-run-id": run_id}) == run_id.lower()
    assert find_run_id({}) is None


@pytest.mark.parametrize("value", ["", "1", "0f8fad5b-d9cb-469f-a165-70867728950", "x" * 36])
def test_a_run_id_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        find_run_id({"x-nvoi-run-id": value})
    assert caught.value.field == "X-Nvoi-Run-Id"


# -- agreement with what the sender is tested against -------------------------------------------


BODIES: list[tuple[Kind, Any]] = [
    ("logs", {"logs": [LINE]}),
    ("logs", {"logs": [LINE | {"message": ""}]}),
    ("logs", {"logs": [LINE | {"message": "\0"}]}),
    ("logs", {"logs": [LINE | {"level": level} for level in ("debug", "step", "ok", "success")]}),
    ("logs", {"logs": [LINE | {"message": "é\u2028\U0001f600" * 100}] * 500}),
    ("logs", {"logs": [LINE | {"level": "critical"}]}),
    ("logs", {"logs": [LINE | {"logged_at": "2024-02-30T10:30:00.123Z"}]}),
    ("logs", {"logs": [LINE | {"message": "\ud800"}]}),
    ("logs", {"logs": [LINE], "more": 1}),
    ("status", {"status": "started"}),
    ("status", {"status": "started", "git_sha": "a", "git_ref": "b"}),
    ("status", {"status": "started", "git_sha": ""}),
    ("status", {"status": "started", "user": "a"}),
    ("status", COMPLETED),
    ("status", COMPLETED | {"tunnels": [], "duration_seconds": 0}),
    ("status", COMPLETED | {"duration_seconds": 1.0}),
    ("status", COMPLETED | {"duration_seconds": False}),
    ("status", {"status": "failed", "error": "x" * 32_000}),
    ("status", {"status": "failed", "error": ""}),
    ("status", {"status": "paused"}),
]


@pytest.mark.parametrize(("kind", "document"), BODIES)
def test_what_the_sender_may_send_is_just_what_is_taken(kind: Kind, document: Any) -> None:
    fields = []
    if kind == "logs":
        fields.append(("x-nvoi-sequence", f"1-{len(document['logs'])}"))
    request = Received(1, 1, "POST", "", kind, "run-1", Headers(fields), 0.0, payload=document)
    find_faults = find_batch_faults if kind == "logs" else find_status_faults
    faults = list(find_faults(request))
    try:
        parse(kind, document, **{name.replace("-", "_"): value for name, value in fields})
    except ProtocolViolation:
        assert faults
    else:
        assert not faults
