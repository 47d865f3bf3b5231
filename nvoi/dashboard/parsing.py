"""What a request's body and headers say, read strictly. Pure.

docs/protocol.md names everything that may be sent; whatever else is there is a
:class:`ProtocolViolation`, which says where. Text may hold any character but lone surrogates,
which no UTF-8 can carry.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from typing import Any, Literal

from nvoi.dashboard.documents import (
    ProtocolViolation,
    check_keys,
    get_list,
    get_number,
    get_object,
    get_text,
    has_surrogate,
    parse_json,
)
from nvoi.dashboard.records import Body, Completed, Failed, Line, LogBatch, Started
from nvoi.protocol import (
    DEPLOY_ID,
    LEVELS,
    LOG_COUNT,
    LOG_DROPPED,
    SEQUENCE,
    STARTED_KEYS,
    Tunnel,
)

Kind = Literal["logs", "status"]

_CONTENT_TYPE = re.compile(r'application/json(\s*;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_SEQUENCE = re.compile(r"([1-9][0-9]{0,14})-([1-9][0-9]{0,14})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_TIME = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)\.(\d{3})Z", re.ASCII
)


def parse_request(kind: Kind, body: bytes, headers: Mapping[str, str]) -> Body:
    """The record that a request brings.

    Args:
        kind: the last segment of its path.
        body: its raw bytes.
        headers: by name in lower case; one that came twice is joined by ``,``.

    Raises:
        ProtocolViolation: it is not one of the protocol's.
    """
    check_content(headers)
    document = parse_json(body)
    if kind == "logs":
        return parse_batch(document, headers)
    return parse_status(document, headers)


def check_content(headers: Mapping[str, str]) -> None:
    """Make sure that the body is JSON as it stands."""
    content_type = headers.get("content-type", "")
    if not _CONTENT_TYPE.fullmatch(content_type.strip()):
        raise ProtocolViolation("Content-Type", "application/json is needed")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProtocolViolation("Content-Encoding", "the body has to be sent as it is")


def check_deploy_header(deploy_id: str, headers: Mapping[str, str]) -> None:
    """Make sure that the header, where it is there, names the deploy of the path.

    HTTP leaves off white space around a header's value, so around the id too.
    """
    found = headers.get(DEPLOY_ID.lower())
    if found is not None and found.encode("latin-1") != deploy_id.encode().strip(b" \t"):
        raise ProtocolViolation(DEPLOY_ID, "it is not the deploy id in the path")


def parse_batch(document: dict[str, Any], headers: Mapping[str, str]) -> LogBatch:
    """A ``logs`` body."""
    _refuse_headers(headers, (LOG_COUNT, LOG_DROPPED), "a terminal status only")
    check_keys("", document, {"logs"})
    logs = get_list("logs", document["logs"])
    lines = tuple(parse_line(index, item) for index, item in enumerate(logs))
    return LogBatch(lines, parse_sequence(headers.get(SEQUENCE.lower()), len(lines)))


def parse_line(index: int, item: Any) -> Line:
    """One of a batch's lines."""
    match item:
        # A line is nearly always right: names are made only for one that is not.
        case {
            "level": str(level),
            "message": str(message),
            "logged_at": str(logged_at),
        } if len(item) == 3 and level in LEVELS:  # noqa: PLR2004 - the keys above
            moment = parse_time(logged_at)
            if moment is not None and not has_surrogate(message):
                return Line(level, message, moment)
    raise _explain_line(f"logs[{index}]", item)


def _explain_line(place: str, item: Any) -> ProtocolViolation:
    """Why a line was refused."""
    try:
        fields = get_object(place, item)
        check_keys(place, fields, {"level", "message", "logged_at"})
        if fields["level"] not in LEVELS:
            return ProtocolViolation(f"{place}.level", f"one of {', '.join(LEVELS)} is allowed")
        get_text(f"{place}.message", fields["message"], may_be_empty=True)
    except ProtocolViolation as violation:
        return violation
    except TypeError:
        return ProtocolViolation(f"{place}.level", "a text is needed")
    return ProtocolViolation(
        f"{place}.logged_at", "a UTC time as 2024-01-15T10:30:00.123Z is needed"
    )


def parse_time(text: str) -> int | None:
    """Unix milliseconds of a time as the protocol writes it; None where it is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, milliseconds = map(int, match.groups())
    if not year or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    return seconds * 1000 + milliseconds


def parse_sequence(header: str | None, count: int) -> int | None:
    """The number of a batch's first line; None where the sender gave none."""
    if header is None:
        return None
    match = _SEQUENCE.fullmatch(header)
    if match is None:
        raise ProtocolViolation(SEQUENCE, "first-last is needed, numbers from 1 on")
    first, last = int(match[1]), int(match[2])
    if last - first + 1 != count:
        raise ProtocolViolation(SEQUENCE, f"it does not count the body's {count} lines")
    return first


def parse_status(document: dict[str, Any], headers: Mapping[str, str]) -> Body:
    """A ``status`` body."""
    _refuse_headers(headers, (SEQUENCE,), "logs only")
    match document.get("status"):
        case "started":
            _refuse_headers(headers, (LOG_COUNT, LOG_DROPPED), "a terminal status only")
            return parse_started(document)
        case "completed":
            check_keys("", document, {"status", "tunnels", "duration_seconds"})
            tunnels = parse_tunnels(document["tunnels"])
            seconds = get_number("duration_seconds", document["duration_seconds"])
            return Completed(tunnels, seconds, *parse_counts(headers))
        case "failed":
            check_keys("", document, {"status", "error"})
            return Failed(get_text("error", document["error"]), *parse_counts(headers))
    raise ProtocolViolation("status", "one of started, completed, failed is needed")


def parse_started(document: dict[str, Any]) -> Started:
    """A ``started`` body; what its sender did not know is left out of it."""
    known = document.keys() - {"status"}
    check_keys("", document, {"status"} | (known.intersection(STARTED_KEYS)))
    return Started(**{name: get_text(name, document[name]) for name in known})


def parse_tunnels(value: Any) -> tuple[Tunnel, ...]:
    """The list of ``completed``."""
    tunnels = []
    for index, item in enumerate(get_list("tunnels", value)):
        place = f"tunnels[{index}]"
        fields = get_object(place, item)
        check_keys(place, fields, {"service_name", "hostname"})
        tunnels.append(
            Tunnel(
                get_text(f"{place}.service_name", fields["service_name"]),
                get_text(f"{place}.hostname", fields["hostname"]),
            )
        )
    return tuple(tunnels)


def parse_counts(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """The lines logged in the run, and how many of them were given up."""
    count, dropped = (_parse_count(headers, name) for name in (LOG_COUNT, LOG_DROPPED))
    if count is not None and dropped is not None and dropped > count:
        raise ProtocolViolation(LOG_DROPPED, f"it is more than {LOG_COUNT}")
    return count, dropped


def _parse_count(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name.lower())
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise ProtocolViolation(name, "a whole number is needed")
    return int(value)


def _refuse_headers(headers: Mapping[str, str], names: tuple[str, ...], place: str) -> None:
    for name in names:
        if name.lower() in headers:
            raise ProtocolViolation(name, f"it belongs on {place}")
