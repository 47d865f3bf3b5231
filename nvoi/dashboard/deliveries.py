"""What a request brings: its headers and its body, read strictly. Pure.

docs/protocol.md names everything that may be sent; whatever else is there is a
:class:`ProtocolViolation`, which says where. Headers are given by name in lower case; one that
came twice is joined by ``,`` and so never right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypedDict
from urllib.parse import unquote_to_bytes

import msgspec

from nvoi.protocol import (
    APP,
    COMMAND,
    COMMIT_AUTHOR,
    COMMIT_TITLE,
    DEPLOY_ID,
    DIRTY,
    LEVELS,
    LOG_COUNT,
    LOG_DROPPED,
    LONGEST_TEXT,
    REASON,
    RUN_ID,
    SEQUENCE,
    CompletedBody,
    FailedBody,
    LineObject,
    LogsBody,
    StartedBody,
    StatusBody,
)

Kind = Literal["logs", "status"]

#: Numbers stay within what JavaScript and SQLite both hold exactly.
LARGEST = 2**53 - 1

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CONTENT_TYPE = re.compile(r'application/json(\s*;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_SEQUENCE = re.compile(r"([1-9][0-9]{0,14})-([1-9][0-9]{0,14})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_TEXT = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_SECOND = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.", re.ASCII)
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
#: What follows a time's second, and how many milliseconds that are.
_FRACTIONS = {f"{number:03}Z": number for number in range(1000)}


# -- what is sent ---------------------------------------------------------------------------


class Line(NamedTuple):
    level: str
    message: str
    logged_at: int


class LogBatch(NamedTuple):
    lines: tuple[Line, ...]


Body = LogBatch | StatusBody


class _AnyStatus(TypedDict):
    status: Literal["started", "completed", "failed"]


_HALF_PAIR = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])")
_LOGS = msgspec.json.Decoder(LogsBody)
_ANY_STATUS = msgspec.json.Decoder(_AnyStatus)
_STATUSES: dict[str, msgspec.json.Decoder[StatusBody]] = {
    "started": msgspec.json.Decoder(StartedBody),
    "completed": msgspec.json.Decoder(CompletedBody),
    "failed": msgspec.json.Decoder(FailedBody),
}


@dataclass(frozen=True, slots=True)
class About:
    """What a request's headers say of its run, None where they do not.

    ``first`` is the sequence number of a batch's first line. ``count`` is the lines logged in
    the run, and ``dropped`` how many of them were given up; both are on its end. ``app`` and
    ``command`` are on every request, the commit's on ``started``, and ``reason`` on ``failed``.
    """

    run_id: str | None = None
    first: int | None = None
    count: int | None = None
    dropped: int | None = None
    app: str | None = None
    command: str | None = None
    commit_title: str | None = None
    commit_author: str | None = None
    dirty: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified request of a project.

    ``webhook_id`` is None where its headers have none; ``digest`` is the SHA-256 of the raw
    body, ``received_at`` in Unix milliseconds.
    """

    project_id: int
    deploy_id: str
    webhook_id: str | None
    digest: bytes
    received_at: int
    body: Body
    about: About = About()


class ProtocolViolation(Exception):  # noqa: N818 - it is no error of ours
    """A request that is not the protocol's.

    ``field`` says where: a path as ``logs[3].level``, or a header's name; empty for the whole
    body. ``message`` says what is wrong there, and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


# -- headers --------------------------------------------------------------------------------

#: The bodies that alone have a header beside them, and how they are called.
_PLACES = (
    (("logs",), "logs", (SEQUENCE,)),
    (("completed", "failed"), "a terminal status", (LOG_COUNT, LOG_DROPPED)),
    (("started",), "started", (COMMIT_TITLE, COMMIT_AUTHOR, DIRTY)),
    (("failed",), "failed", (REASON,)),
)


def parse_about(headers: Mapping[str, str], deploy_id: str, body: Body) -> About:
    """What the headers say that came beside ``body``, of the deploy of the request's path."""
    # HTTP leaves off white space around a header's value, so around the id too.
    named = headers.get(DEPLOY_ID.lower())
    if named is not None and named.encode("latin-1") != deploy_id.encode().strip(b" \t"):
        raise ProtocolViolation(DEPLOY_ID, "it is not the deploy id in the path")
    kind = "logs" if isinstance(body, LogBatch) else body["status"]
    for kinds, place, names in _PLACES:
        for name in names:
            if name.lower() in headers and kind not in kinds:
                raise ProtocolViolation(name, f"it belongs on {place} only")
    run = _find_header(headers, RUN_ID, _UUID, "a UUID is needed")
    count, dropped = _find_number(headers, LOG_COUNT), _find_number(headers, LOG_DROPPED)
    if count is not None and dropped is not None and dropped > count:
        raise ProtocolViolation(LOG_DROPPED, f"it is more than {LOG_COUNT}")
    return About(
        run_id=run[0].lower() if run else None,
        first=_parse_sequence(headers, len(body.lines)) if isinstance(body, LogBatch) else None,
        count=count,
        dropped=dropped,
        app=_find_text(headers, APP),
        command=_find_text(headers, COMMAND),
        commit_title=_find_text(headers, COMMIT_TITLE),
        commit_author=_find_text(headers, COMMIT_AUTHOR),
        dirty=_find_text(headers, DIRTY) == "1",
        reason=_find_text(headers, REASON),
    )


def _parse_sequence(headers: Mapping[str, str], lines: int) -> int | None:
    match = _find_header(headers, SEQUENCE, _SEQUENCE, "first-last is needed, numbers from 1 on")
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    if last - first + 1 != lines:
        raise ProtocolViolation(SEQUENCE, f"it does not count the lines of the body: {lines}")
    return first


def _find_number(headers: Mapping[str, str], name: str) -> int | None:
    match = _find_header(headers, name, _NUMBER, "a whole number is needed")
    return int(match[0]) if match else None


def _find_text(headers: Mapping[str, str], name: str) -> str | None:
    """A header's text, which is percent-encoded UTF-8; None where it is not there."""
    needed = f"1 to {LONGEST_TEXT} characters of percent-encoded UTF-8 are needed"
    match = _find_header(headers, name, _TEXT, needed)
    if match is None:
        return None
    try:
        text = unquote_to_bytes(match[0]).decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(name, needed) from None
    if len(text) > LONGEST_TEXT:
        raise ProtocolViolation(name, needed)
    return text


def _find_header(
    headers: Mapping[str, str], name: str, pattern: re.Pattern[str], needed: str
) -> re.Match[str] | None:
    value = headers.get(name.lower())
    match = None if value is None else pattern.fullmatch(value)
    if value is not None and match is None:
        raise ProtocolViolation(name, needed)
    return match


# -- bodies ---------------------------------------------------------------------------------


def parse_body(kind: Kind, body: bytes, headers: Mapping[str, str]) -> Body:
    """What a request brings; ``kind`` is the last segment of its path."""
    if not _CONTENT_TYPE.fullmatch(headers.get("content-type", "").strip()):
        raise ProtocolViolation("Content-Type", "application/json is needed")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProtocolViolation("Content-Encoding", "the body must not be encoded")
    try:
        return _parse_logs(body) if kind == "logs" else _parse_status(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except msgspec.DecodeError as error:
        # Of half a pair at the end of a string msgspec says that the body is not whole.
        reason = "half of a surrogate pair" if _HALF_PAIR.search(body) else error
        raise ProtocolViolation("", f"the body is not JSON: {reason}") from None
    except UnicodeDecodeError:
        raise ProtocolViolation("", "the body is not UTF-8") from None
    except RecursionError:
        raise ProtocolViolation("", "the body is nested too deeply") from None


def _parse_logs(body: bytes) -> LogBatch:
    document = _LOGS.decode(body)
    # That of a record takes no time, as each has the same keys.
    _check_keys(body, document, 1 + 2 * len(LineObject.__annotations__) * len(document["logs"]))
    return LogBatch(tuple(_read_line(*each) for each in enumerate(document["logs"])))


def _parse_status(body: bytes) -> StatusBody:
    document = _STATUSES[_ANY_STATUS.decode(body)["status"]].decode(body)
    _check_keys(body, document, _count_strings(msgspec.json.encode(document)))
    for place, value in _walk(document):
        if value == "":
            raise ProtocolViolation(place[1:], "it is empty")
        if isinstance(value, int) and not 0 <= value <= LARGEST:
            raise ProtocolViolation(place[1:], f"a number from 0 to {LARGEST} is needed")
    return document


def _check_keys(body: bytes, document: LogsBody | StatusBody, strings: int) -> None:
    """Refuse a key that is there twice, or that the protocol has not; msgspec overlooks both.

    ``strings`` is how many strings ``document`` has, which is what was read of ``body``.
    """
    if _count_strings(body) == strings:
        return
    known = {place for place, _ in _walk(document)}
    for place, _ in _walk(msgspec.json.decode(body)):
        if place not in known:
            raise ProtocolViolation(place[1:], "the protocol has no such key")
    raise ProtocolViolation("", "a key is there twice")


def _walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a document, each with its place, as ``.tunnels[0].hostname``."""
    yield place, value
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _walk(each, f"{place}[{index}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            name = ascii(key)[1:-1][:80]
            yield from _walk(each, f"{place}.{name}")


def _count_strings(body: bytes) -> int:
    """How many strings, keys among them, valid JSON has."""
    bare = body.replace(rb"\\", b"") if b"\\" in body else body
    return (bare.count(b'"') - bare.count(rb"\"")) // 2


def _read_line(index: int, record: LineObject) -> Line:
    moment = parse_time(record["logged_at"])
    if moment is None:
        raise ProtocolViolation(
            f"logs[{index}].logged_at", "a UTC time as 2024-01-15T10:30:00.123Z is needed"
        )
    return Line(record["level"], record["message"], moment)


def parse_time(text: str) -> int | None:
    """Unix milliseconds of a time as the protocol writes it; None where it is none."""
    second, fraction = _parse_second(text[:20]), _FRACTIONS.get(text[20:])
    return None if second is None or fraction is None else second + fraction


@lru_cache(1024)
def _parse_second(text: str) -> int | None:
    if not _SECOND.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(f"{text}000Z") - _EPOCH) // _MILLISECOND
    except ValueError:
        return None


#: What is needed where msgspec refuses a word, by the last key of its place.
_WORDS = {
    "level": f"one of {', '.join(LEVELS)} is allowed",
    "status": "one of started, completed, failed is needed",
}
_MISSING = re.compile("Object missing required field `(.*)`")


def _explain(text: str) -> ProtocolViolation:
    """What msgspec refused, by where it is: its text ends in `` - at `$.logs[1].level```."""
    message, found, place = text.rpartition(" - at `$")
    message, place = (message, place.strip(".`")) if found else (text, "")
    if match := _MISSING.fullmatch(message):
        return ProtocolViolation(f"{place}.{match[1]}" if place else match[1], "it is missing")
    if message.startswith("Invalid enum value"):
        message = _WORDS[place.rpartition(".")[2]]
    return ProtocolViolation(place, message)
