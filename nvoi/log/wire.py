"""The callback's requests as bytes: what docs/protocol.md says is sent. Pure."""

from __future__ import annotations

import bisect
import json
import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import quote

from nvoi.errors import UsageError
from nvoi.log import levels, signing
from nvoi.version import __version__

#: Limits of one request; the size is that of its body in bytes.
MOST_RECORDS = 500
MOST_BYTES = 512 * 1024

_LEVELS = (
    (logging.DEBUG, "debug"),
    (logging.INFO, "info"),
    (levels.STEP, "step"),
    (levels.OK, "ok"),
    (levels.SUCCESS, "success"),
    (logging.WARNING, "warning"),
    (logging.ERROR, "error"),
)
_THRESHOLDS = [number for number, _ in _LEVELS]
_NAMES = [name for _, name in _LEVELS]

#: A record on its way: its level's number, when it was made in Unix seconds, its text.
Line = tuple[int, float, str]

_PREFIX, _SUFFIX = '{"logs": [', "]}"
FRAME_BYTES = len(_PREFIX) + len(_SUFFIX)
#: What a line takes beside its message.
LINE_BYTES = len('{"level": "success", "message": "", "logged_at": "2024-01-15T10:30:00.123Z"}, ')

_LONGEST_DEPLOY_ID = 255
_LONGEST_ERROR = 32_000

_CUT = re.compile(r"… \[(\d{1,15}) characters cut\]\Z", re.ASCII)


def new_webhook_id() -> str:
    """A new id of a request, as Standard Webhooks suggests: a prefix and random characters."""
    return f"msg_{secrets.token_urlsafe(18)}"


@dataclass
class LogBatch:
    """A ``logs`` request: its lines as JSON, numbered from ``first`` on.

    Those of a forked child have no numbers, as these are its parent's to give: ``first`` is 0.
    """

    lines: list[str]
    first: int
    id: str = field(default_factory=new_webhook_id)

    kind = "logs"
    terminal = False

    @property
    def sequence(self) -> str:
        """``first-last``: the run's own numbers of the batch's records."""
        return f"{self.first}-{self.first + len(self.lines) - 1}"

    def encode(self) -> bytes:
        """The body."""
        return f"{_PREFIX}{', '.join(self.lines)}{_SUFFIX}".encode()

    def halve(self) -> tuple[LogBatch, LogBatch]:
        """Two requests, each with an id of its own, of two lines or more."""
        middle = len(self.lines) // 2
        return (
            LogBatch(self.lines[:middle], self.first),
            LogBatch(self.lines[middle:], self.first + middle if self.first else 0),
        )


@dataclass
class StatusEvent:
    """A ``status`` request."""

    payload: Mapping[str, Any]
    id: str = field(default_factory=new_webhook_id)

    kind = "status"

    @property
    def terminal(self) -> bool:
        """Whether it ends the run."""
        return self.payload.get("status") in {"completed", "failed"}

    def encode(self) -> bytes:
        """The body."""
        return json.dumps(self.payload, ensure_ascii=False).encode()


Request = LogBatch | StatusEvent


def name_level(number: int) -> str:
    """The protocol's name for a level: the nearest at or below ``number``, at least ``debug``."""
    return _NAMES[max(0, bisect.bisect_right(_THRESHOLDS, number) - 1)]


#: The end of a time for each millisecond; the one too many is the last, for times that
#: would round up to the next second.
_FRACTIONS = [f".{number:03d}Z" for number in (*range(1000), 999)]

_heads: dict[int, str] = {}
_seconds: tuple[int, str] = (0, "1970-01-01T00:00:00")


def format_time(created: float) -> str:
    """Unix seconds as UTC in ISO 8601, with milliseconds and ``Z``."""
    global _seconds  # noqa: PLW0603 - thousands of lines share a second
    second, text = _seconds
    if not 0 <= created - second < 1:
        try:
            second = int(created // 1)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        except (OverflowError, ValueError, OSError):
            return format_time(time.time())
        _seconds = (second, text)
    # To the microsecond first: .123 as a float is a little less.
    return text + _FRACTIONS[int((created - second) * 1000 + 0.0005)]


def encode_line(line: Line) -> str:
    """A record as the JSON object of the protocol. Its text is clean and masked already."""
    number, created, text = line
    head = _heads.get(number)
    if head is None:
        head = _heads[number] = f'{{"level": "{name_level(number)}", "message": '
    return f'{head}{encode_basestring(text)}, "logged_at": "{format_time(created)}"}}'


def measure(encoded: str) -> int:
    """The bytes of ``encoded`` in UTF-8."""
    return len(encoded) if encoded.isascii() else len(encoded.encode())


def cut_line(encoded: str, most_bytes: int) -> str:
    """A line with its message cut so that it takes at most ``most_bytes``, and says so."""
    record = json.loads(encoded)
    message, already = _split_mark(record["message"])
    keep = len(message)
    while keep > 0 and measure(encoded) > most_bytes:
        # Escapes and UTF-8 make a character up to six bytes: come nearer by proportion.
        keep = min(keep - 1, int(keep * most_bytes / measure(encoded) * 0.98))
        keep = max(keep, 0)
        record["message"] = f"{message[:keep]}… [{already + len(message) - keep} characters cut]"
        encoded = json.dumps(record, ensure_ascii=False)
    return encoded


def _split_mark(message: str) -> tuple[str, int]:
    """A message that may have been cut before: what is left of it, and how much is not."""
    match = _CUT.search(message)
    return (message[: match.start()], int(match[1])) if match else (message, 0)


def check_deploy_id(deploy_id: str) -> str:
    """``deploy_id`` itself where it can stand in the URL.

    Raises:
        UsageError: it is empty, has control characters, is ``.`` or ``..``, or is longer
            than 255 bytes.
    """
    try:
        size = len(deploy_id.encode())
    except UnicodeEncodeError:
        raise UsageError("the deploy id is not valid Unicode", hint=_ID_HINT) from None
    if not deploy_id or size > _LONGEST_DEPLOY_ID:
        raise UsageError(f"the deploy id has {size} bytes; 1 to 255 are allowed", hint=_ID_HINT)
    if deploy_id in {".", ".."} or not all(map(_is_plain, deploy_id)):
        raise UsageError(
            f"the deploy id {ascii(deploy_id)[:80]} would change the callback's path; "
            "control characters, '.' and '..' are not allowed",
            hint=_ID_HINT,
        )
    return deploy_id


_ID_HINT = "set NVOI_DEPLOY_ID to a plain id"


def _is_plain(character: str) -> bool:
    return character >= " " and not "\x7f" <= character <= "\x9f"


def build_url(callback_url: str, deploy_id: str, kind: str) -> str:
    """The address of a request; ``kind`` is ``logs`` or ``status``."""
    return f"{callback_url.rstrip('/')}/{quote(deploy_id, safe='')}/{kind}"


def build_headers(
    request: Request,
    body: bytes,
    *,
    key: str,
    deploy_id: str,
    timestamp: int,
    counts: tuple[int, int] | None = None,
) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        request: what is sent.
        body: its bytes, as sent.
        key: the deploy key's text.
        deploy_id: checked by :func:`check_deploy_id`.
        timestamp: Unix seconds of this attempt.
        counts: records logged and given up in the run, for a terminal status.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"nvoi/{__version__}",
        "X-Nvoi-Signature": signing.sign(body, key),
        # HTTP clients write a header as Latin-1: this way its bytes are the id's in UTF-8.
        "X-Nvoi-Deploy-Id": deploy_id.encode().decode("latin-1"),
        "webhook-id": request.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.sign_webhook(body, key, request.id, timestamp),
    }
    if isinstance(request, LogBatch) and request.first:
        headers["X-Nvoi-Sequence"] = request.sequence
    if counts is not None:
        headers["X-Nvoi-Log-Count"], headers["X-Nvoi-Log-Dropped"] = map(str, counts)
    return headers


def build_started(context: Mapping[str, str | None]) -> dict[str, str]:
    """The payload of ``started``; what is not known is left out."""
    keys = ("git_sha", "git_ref", "ci_provider", "ci_run_url")
    known = ((key, context.get(key)) for key in keys)
    return {"status": "started"} | {key: value for key, value in known if value}


def build_completed(
    tunnels: Iterable[tuple[str, str]], duration_seconds: float
) -> dict[str, object]:
    """The payload of ``completed``; each tunnel is a service's name and its hostname."""
    return {
        "status": "completed",
        "tunnels": [{"service_name": name, "hostname": host} for name, host in tunnels],
        "duration_seconds": max(0, round(duration_seconds)),
    }


def build_failed(error: str) -> dict[str, str]:
    """The payload of ``failed``; a very long reason is cut, as a status has to fit as a whole."""
    if len(error) > _LONGEST_ERROR:
        cut = len(error) - _LONGEST_ERROR
        error = f"{error[:_LONGEST_ERROR]}… [{cut} characters cut]"
    return {"status": "failed", "error": error}
