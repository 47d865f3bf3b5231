"""The callback's words, the same for those who send and those who receive. Pure.

This is docs/protocol.md as code. Two signatures cover the exact bytes of a body, with the deploy
key's text as the key: ``X-Nvoi-Signature``, as GitHub signs its webhooks, and Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"), which covers the
request's id and time as well.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Literal, NamedTuple, Required, TypedDict
from urllib.parse import quote, urlsplit

from nvoi.errors import UsageError
from nvoi.version import __version__

#: The levels' numbers: those of ``logging``, and three of nvoi's own between INFO and WARNING.
LEVELS = {
    "debug": 10,
    "info": 20,
    "step": 22,
    "ok": 23,
    "success": 25,
    "warning": 30,
    "error": 40,
}

#: What a line's level is sent as: the names of :data:`LEVELS`.
Level = Literal["debug", "info", "step", "ok", "success", "warning", "error"]

#: Limits of one ``logs`` request; the size is that of its body in bytes.
MOST_RECORDS = 500
MOST_BYTES = 512 * 1024

SIGNATURE = "X-Nvoi-Signature"
DEPLOY_ID = "X-Nvoi-Deploy-Id"
RUN_ID = "X-Nvoi-Run-Id"
APP = "X-Nvoi-App"
COMMAND = "X-Nvoi-Command"
SEQUENCE = "X-Nvoi-Sequence"
LOG_COUNT = "X-Nvoi-Log-Count"
LOG_DROPPED = "X-Nvoi-Log-Dropped"
COMMIT_TITLE = "X-Nvoi-Commit-Title"
COMMIT_AUTHOR = "X-Nvoi-Commit-Author"
DIRTY = "X-Nvoi-Dirty"
REASON = "X-Nvoi-Reason"
WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"

#: The value of ``X-Nvoi-Reason`` where a signal ended the run.
CANCELLED = "cancelled"

LONGEST_DEPLOY_ID = 255
#: Characters of a text in a header, before it is percent-encoded, and of an error.
LONGEST_TEXT, LONGEST_ERROR = 200, 32_000

#: How far a Standard Webhooks timestamp may be from now, in seconds, as its libraries have it.
TOLERANCE_SECONDS = 300

#: A record on its way: its level's number, when it was made in Unix seconds, its text.
Line = tuple[int, float, str]

#: What a batch takes beside its lines, and a line beside its message.
FRAME_BYTES = len('{"logs": []}')
LINE_BYTES = len('{"level": "success", "message": "", "logged_at": "2024-01-15T10:30:00.123Z"}, ')

_CUT = re.compile(r"… \[(\d{1,15}) characters cut\]\Z", re.ASCII)
#: User and password; a name whose labels DNS can hold, or an IPv6 address, perhaps with a
#: zone; and a port.
_AUTHORITY = re.compile(
    r"(.*@)?([\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+(%25[\w.~-]+)?\])(:[0-9]*)?",
    re.ASCII,
)
_UNSAFE = re.compile(r'[\x00-\x20\x7f?#"<>\\^`{|}]|%(?![0-9A-Fa-f]{2})')
#: What a path can hold as one segment, where it is percent-encoded.
_DEPLOY_ID = re.compile(r"(?!\.\.?\Z)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_YEAR_10000 = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1
_UNIX_SECONDS = re.compile(r"[0-9]{1,15}")


def find_url_fault(url: str) -> str | None:
    """What ``url`` must be to be called and have paths appended, where it is not; else None."""
    if not url.isascii():
        return "must be ASCII: a host such as bücher.example is written xn--bcher-kva.example"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _AUTHORITY.fullmatch(parts.netloc) or _UNSAFE.search(url):
        return "must be an http or https URL with a host, and no query, fragment, space or bare %"
    return None


def check_url(url: object) -> str:
    """``url`` itself where it can be called.

    Raises:
        UsageError: it cannot, see :func:`find_url_fault`.
    """
    given = url if isinstance(url, str) else ""
    if fault := find_url_fault(given):
        raise UsageError(
            f"the callback URL {fault}", hint="for example https://dashboard.example.com/callbacks"
        )
    return given


def check_deploy_id(deploy_id: object) -> str:
    """``deploy_id`` itself where it can stand in the URL.

    Raises:
        UsageError: it would change the path, is no valid Unicode, or is longer than 255 bytes.
    """
    given = deploy_id if isinstance(deploy_id, str) else ""
    if not _DEPLOY_ID.fullmatch(given) or len(given.encode()) > LONGEST_DEPLOY_ID:
        raise UsageError(
            f"the deploy id {ascii(deploy_id)[:80]} cannot stand in the callback's path: it needs "
            "text of 1 to 255 bytes, no control characters, and is not '.' or '..'",
            hint="set NVOI_DEPLOY_ID to a plain id",
        )
    return given


def build_url(callback_url: str, deploy_id: str, kind: str) -> str:
    """The address of a request; ``kind`` is ``logs`` or ``status``."""
    return f"{callback_url.rstrip('/')}/{quote(deploy_id, safe='')}/{kind}"


@lru_cache(maxsize=64)
def name_level(number: int) -> str:
    """The protocol's name for a level: the nearest at or below ``number``, at least ``debug``."""
    return next((name for name, least in reversed(LEVELS.items()) if least <= number), "debug")


@lru_cache(maxsize=16)
def _format_second(second: int) -> str:
    """Thousands of lines share a second."""
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def read_time(created: Any) -> float:
    """The Unix seconds that a number or a datetime tells; now, where it is of no year to 9999."""
    try:
        seconds = created.timestamp() if isinstance(created, datetime) else created
        return float(seconds) if 0 <= seconds < _YEAR_10000 else time.time()
    except Exception:  # noqa: BLE001 - it may be of any class, and each log call comes here
        return time.time()


def format_time(created: float) -> str:
    """Unix seconds, as :func:`read_time` has them, as UTC in ISO 8601, to milliseconds."""
    # As a float .123 is a little less: half a microsecond is added.
    second, milliseconds = divmod(math.floor(created * 1000 + 0.0005), 1000)
    return f"{_format_second(second)}.{milliseconds:03d}Z"


def encode_line(line: Line) -> str:
    """A record as a :class:`LineObject` in JSON. Its text is clean and masked already."""
    number, created, text = line
    return (
        f'{{"level": "{name_level(number)}", "message": {encode_basestring(text)}, '
        f'"logged_at": "{format_time(created)}"}}'
    )


def measure(encoded: str) -> int:
    """The bytes of ``encoded`` in UTF-8."""
    return len(encoded) if encoded.isascii() else len(encoded.encode())


def cut_text(text: str, most: int) -> str:
    """``text``, or its first ``most`` characters and a mark that says how many were cut."""
    if len(text) <= most:
        return text
    # A text that was cut before has its mark: that is replaced by one for both cuts.
    mark = _CUT.search(text)
    whole, cut = (text[: mark.start()], int(mark[1])) if mark else (text, 0)
    return f"{whole[:most]}… [{cut + max(0, len(whole) - most)} characters cut]"


def cut_line(encoded: str, most_bytes: int) -> str:
    """An encoded line whose message is cut so that it takes at most ``most_bytes``."""
    record: LineObject = json.loads(encoded)
    message = record["message"]
    keep = len(message)
    while keep > 0 and measure(encoded) > most_bytes:
        # Escapes and UTF-8 make a character up to six bytes: come nearer by proportion.
        keep = min(keep - 1, int(keep * most_bytes / measure(encoded) * 0.98))
        record["message"] = cut_text(message, keep)
        encoded = json.dumps(record, ensure_ascii=False)
    return encoded


class LineObject(TypedDict):
    """A record in the body of a ``logs`` request."""

    level: Level
    message: str
    logged_at: str


class LogsBody(TypedDict):
    """The body of a ``logs`` request."""

    logs: list[LineObject]


class StartedBody(TypedDict, total=False):
    """The body of ``started``: what is not known is left out, so no text is empty."""

    status: Required[Literal["started"]]
    git_sha: str
    git_ref: str
    ci_provider: str
    ci_run_url: str


#: What ``started`` may tell of a run in its body.
STARTED_KEYS = tuple(key for key in StartedBody.__annotations__ if key != "status")


class TunnelObject(TypedDict):
    """A :class:`Tunnel` in the body of ``completed``."""

    service_name: str
    hostname: str


class CompletedBody(TypedDict):
    """The body of ``completed``."""

    status: Literal["completed"]
    tunnels: list[TunnelObject]
    duration_seconds: int


class FailedBody(TypedDict):
    """The body of ``failed``."""

    status: Literal["failed"]
    error: str


StatusBody = StartedBody | CompletedBody | FailedBody


@dataclass(frozen=True)
class Run:
    """What every request says of its run.

    ``command`` is ``deploy``, ``delete`` or ``rollback``. ``id`` is a UUID of this one run: a
    deploy id may be used again.
    """

    app: str | None = None
    command: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Tunnel(NamedTuple):
    """Where a service of the app can be reached."""

    service_name: str
    hostname: str


def build_webhook_id() -> str:
    """A new id of a request, as Standard Webhooks suggests: a prefix and random characters."""
    return f"msg_{secrets.token_urlsafe(18)}"


@dataclass
class LogBatch:
    """A ``logs`` request: its lines as JSON, numbered from ``first`` on.

    Those of a forked child have no numbers, as these are its parent's to give: ``first`` is 0.
    """

    lines: list[str]
    first: int
    id: str = field(default_factory=build_webhook_id)

    kind = "logs"
    terminal = False

    def encode(self) -> bytes:
        """The body, in UTF-8."""
        return f'{{"logs": [{", ".join(self.lines)}]}}'.encode(errors="replace")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that this kind alone has."""
        last = self.first + len(self.lines) - 1
        return {SEQUENCE: f"{self.first}-{last}"} if self.first else {}

    def halve(self) -> tuple[LogBatch, LogBatch]:
        """Two requests of two lines or more, with the same ids each time."""
        middle = len(self.lines) // 2
        second = self.first + middle if self.first else 0
        return (
            LogBatch(self.lines[:middle], self.first, f"{self.id}a"),
            LogBatch(self.lines[middle:], second, f"{self.id}b"),
        )

    def cut(self, most_bytes: int) -> LogBatch:
        """A request of the one line in this, cut to ``most_bytes``."""
        return LogBatch([cut_line(self.lines[0], most_bytes)], self.first, f"{self.id}c")

    def measure(self) -> int:
        """The bytes of its lines."""
        return sum(map(measure, self.lines))


@dataclass
class StatusEvent:
    """A ``status`` request: its body, and the headers that it alone has."""

    payload: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=build_webhook_id)

    kind = "status"

    @property
    def terminal(self) -> bool:
        """Whether it ends the run."""
        return self.payload.get("status") in {"completed", "failed"}

    def encode(self) -> bytes:
        """The body, in UTF-8."""
        return json.dumps(self.payload, ensure_ascii=False).encode(errors="replace")


Request = LogBatch | StatusEvent


def build_started(context: Mapping[str, str | None]) -> StatusEvent:
    """``started``: its body has :data:`STARTED_KEYS` of ``context``, as far as they are known.

    Its headers have ``commit_title`` and ``commit_author``, and tell of any text in ``dirty``.
    """
    known = {key: value for key in STARTED_KEYS if (value := context.get(key))}
    texts = {
        COMMIT_TITLE: context.get("commit_title"),
        COMMIT_AUTHOR: context.get("commit_author"),
        DIRTY: "1" if context.get("dirty") else None,
    }
    return StatusEvent({"status": "started"} | known, _build_texts(texts))


def build_completed(tunnels: Iterable[tuple[str, str]], duration_seconds: float) -> StatusEvent:
    """``completed``; each tunnel is a service's name and its hostname."""
    named: list[TunnelObject] = [
        {"service_name": name, "hostname": hostname} for name, hostname in tunnels
    ]
    seconds = max(0, round(duration_seconds)) if math.isfinite(duration_seconds) else 0
    body: CompletedBody = {"status": "completed", "tunnels": named, "duration_seconds": seconds}
    return StatusEvent(body)


def build_failed(error: str, *, reason: str | None = None) -> StatusEvent:
    """``failed``; ``reason`` is :data:`CANCELLED` where a signal ended the run."""
    # A status has to fit as a whole: a receiver that refuses it is not asked again.
    body: FailedBody = {"status": "failed", "error": cut_text(error, LONGEST_ERROR)}
    return StatusEvent(body, _build_texts({REASON: reason}))


def build_headers(
    request: Request,
    body: bytes,
    *,
    key: str,
    deploy_id: str,
    run: Run,
    timestamp: int,
    counts: tuple[int, int] | None = None,
) -> dict[str, str]:
    """The headers of the attempt at ``timestamp``, in Unix seconds.

    A terminal status has ``counts``: the records logged in the run, and those given up.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"nvoi/{__version__}",
        SIGNATURE: sign(body, key),
        # HTTP clients write a header as Latin-1: so its bytes are the id's in UTF-8.
        DEPLOY_ID: deploy_id.encode().decode("latin-1"),
        RUN_ID: run.id,
        WEBHOOK_ID: request.id,
        WEBHOOK_TIMESTAMP: str(timestamp),
        WEBHOOK_SIGNATURE: sign_webhook(body, key, request.id, timestamp),
    }
    if counts is not None:
        headers[LOG_COUNT], headers[LOG_DROPPED] = map(str, counts)
    texts = _build_texts({APP: run.app, COMMAND: run.command})
    return {**headers, **texts, **request.headers}


def _build_texts(texts: Mapping[str, str | None]) -> dict[str, str]:
    """Headers with these texts, cut and percent-encoded; one that is not known is left out."""
    return {
        name: quote(text[:LONGEST_TEXT], safe="", errors="replace")
        for name, text in texts.items()
        if text
    }


def sign(body: bytes, key: str) -> str:
    """The value of ``X-Nvoi-Signature``: ``sha256=`` and 64 hex digits."""
    return "sha256=" + hmac.digest(key.encode(), body, "sha256").hex()


def verify(body: bytes, signature: str | None, key: str) -> bool:
    """Whether ``signature`` is the one of ``body``, in constant time.

    Args:
        body: the request's body as received, before anything has parsed it.
        signature: the header ``X-Nvoi-Signature``; None, where it is missing, is never right.
        key: the deploy key's text.
    """
    return signature is not None and _is_same(sign(body, key), signature)


def _is_same(expected: str, given: str) -> bool:
    """Whether two signatures are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def sign_webhook(body: bytes, key: str, webhook_id: str, timestamp: int) -> str:
    """The value of ``webhook-signature``: ``v1,`` and base64."""
    signed = f"{webhook_id}.{timestamp}.".encode(errors="replace") + body
    return "v1," + base64.b64encode(hmac.digest(key.encode(), signed, "sha256")).decode()


def verify_webhook(
    body: bytes,
    signatures: str | None,
    key: str,
    *,
    webhook_id: str | None,
    timestamp: str | None,
    now: float | None = None,
    tolerance: float = TOLERANCE_SECONDS,
) -> bool:
    """Whether a Standard Webhooks signature is right and its timestamp recent.

    Args:
        body: the request's body as received.
        signatures: the header ``webhook-signature``, one or several, separated by spaces.
        key: the deploy key's text.
        webhook_id: the header of this name.
        timestamp: the header ``webhook-timestamp``, Unix seconds.
        now: Unix seconds to compare with; the clock's where left out.
        tolerance: how many seconds the timestamp may be off, either way.
    """
    if not (signatures and webhook_id and timestamp and _UNIX_SECONDS.fullmatch(timestamp)):
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        return False
    expected = sign_webhook(body, key, webhook_id, int(timestamp))
    # Every one is compared, so that the time taken does not tell which one fits.
    fits = [_is_same(expected, candidate) for candidate in signatures.split(" ")]
    return any(fits)
