"""The callback's words, the same for those who send and those who receive. Pure.

docs/protocol.md as code: levels, limits, header names, what may stand in a URL, bodies and
signatures. Two signatures cover the exact bytes of a body, with the deploy key's text as the
key: ``X-Nvoi-Signature``, as GitHub signs its webhooks, and Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"), which covers the
request's id and time as well.
"""

from __future__ import annotations

import base64
import bisect
import hmac
import json
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any
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
_NAMES, _THRESHOLDS = list(LEVELS), list(LEVELS.values())

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

#: What ``started`` may tell of a run in its body.
STARTED_KEYS = ("git_sha", "git_ref", "ci_provider", "ci_run_url")
#: The value of ``X-Nvoi-Reason`` where a signal ended the run.
CANCELLED = "cancelled"

LONGEST_DEPLOY_ID = 255
LONGEST_COMMIT_TITLE = 200
_LONGEST_ERROR = 32_000

#: How far a Standard Webhooks timestamp may be from now, in seconds, as its libraries have it.
TOLERANCE_SECONDS = 300

#: A record on its way: its level's number, when it was made in Unix seconds, its text.
Line = tuple[int, float, str]

_PREFIX, _SUFFIX = '{"logs": [', "]}"
FRAME_BYTES = len(_PREFIX) + len(_SUFFIX)
#: What a line takes beside its message.
LINE_BYTES = len('{"level": "success", "message": "", "logged_at": "2024-01-15T10:30:00.123Z"}, ')

_CUT = re.compile(r"… \[(\d{1,15}) characters cut\]\Z", re.ASCII)


# -- what stands in a URL ------------------------------------------------------------------


def find_url_fault(url: str) -> str | None:
    """What ``url`` must be to be called and have paths appended, where it is not; else None."""
    allowed = "must be an http or https URL with a host, and no query, fragment or space"
    if not url.isascii() or not url.isprintable() or any(c in ' ?#"<>\\^`{|}' for c in url):
        return allowed
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    return None if fits else allowed


def check_url(url: str) -> str:
    """``url`` itself where it can be called.

    Raises:
        UsageError: it is no http(s) URL with a host, or has a query or a fragment.
    """
    if fault := find_url_fault(url):
        raise UsageError(
            f"the callback URL {fault}", hint="for example https://dashboard.example.com/callbacks"
        )
    return url


def check_deploy_id(deploy_id: str) -> str:
    """``deploy_id`` itself where it can stand in the URL.

    Raises:
        UsageError: it is empty, has control characters, is ``.`` or ``..``, or is longer
            than 255 bytes.
    """
    hint = "set NVOI_DEPLOY_ID to a plain id"
    try:
        size = len(deploy_id.encode())
    except UnicodeEncodeError:
        raise UsageError("the deploy id is not valid Unicode", hint=hint) from None
    if not deploy_id or size > LONGEST_DEPLOY_ID:
        raise UsageError(f"the deploy id has {size} bytes; 1 to 255 are allowed", hint=hint)
    if deploy_id in {".", ".."} or any(c < " " or "\x7f" <= c <= "\x9f" for c in deploy_id):
        raise UsageError(
            f"the deploy id {ascii(deploy_id)[:80]} would change the callback's path; "
            "control characters, '.' and '..' are not allowed",
            hint=hint,
        )
    return deploy_id


def build_url(callback_url: str, deploy_id: str, kind: str) -> str:
    """The address of a request; ``kind`` is ``logs`` or ``status``."""
    return f"{callback_url.rstrip('/')}/{quote(deploy_id, safe='')}/{kind}"


# -- lines ---------------------------------------------------------------------------------


def name_level(number: int) -> str:
    """The protocol's name for a level: the nearest at or below ``number``, at least ``debug``."""
    return _NAMES[max(0, bisect.bisect_right(_THRESHOLDS, number) - 1)]


#: The end of a time for each millisecond; the one too many is the last, for times that
#: would round up to the next second.
_FRACTIONS = [f".{number:03d}Z" for number in (*range(1000), 999)]

_heads: dict[int, str] = {}
_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def format_time(created: float) -> str:
    """Unix seconds as UTC in ISO 8601, with milliseconds and ``Z``; now, where they are none."""
    global _second  # noqa: PLW0603 - thousands of lines share a second
    second, text = _second
    if not 0 <= created - second < 1:
        try:
            second = int(created // 1)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        except (OverflowError, ValueError, OSError):
            return format_time(time.time())
        _second = (second, text)
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
    """An encoded line whose message is cut to take at most ``most_bytes``, and says so."""
    record = json.loads(encoded)
    message, already = _split_mark(record["message"])
    keep = len(message)
    while keep > 0 and measure(encoded) > most_bytes:
        # Escapes and UTF-8 make a character up to six bytes: come nearer by proportion.
        keep = max(0, min(keep - 1, int(keep * most_bytes / measure(encoded) * 0.98)))
        record["message"] = f"{message[:keep]}… [{already + len(message) - keep} characters cut]"
        encoded = json.dumps(record, ensure_ascii=False)
    return encoded


def _split_mark(message: str) -> tuple[str, int]:
    """A message that may have been cut before: what is left of it, and how much is not."""
    match = _CUT.search(message)
    return (message[: match.start()], int(match[1])) if match else (message, 0)


# -- requests ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What every request says of the run it is of.

    ``id`` is a UUID of this one run: a deploy id may be used again. ``app`` and ``command``
    (``deploy``, ``delete``, ``rollback``) are None for programs that name none.
    """

    id: str
    app: str | None = None
    command: str | None = None


def build_run_id() -> str:
    """A new id of a run."""
    return str(uuid.uuid4())


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
        """The body."""
        return f"{_PREFIX}{', '.join(self.lines)}{_SUFFIX}".encode()

    def build_headers(self) -> dict[str, str]:
        """The headers of this kind alone."""
        if not self.first:
            return {}
        return {SEQUENCE: f"{self.first}-{self.first + len(self.lines) - 1}"}

    def halve(self) -> tuple[LogBatch, LogBatch]:
        """Two requests, each with an id of its own, of two lines or more."""
        middle = len(self.lines) // 2
        return (
            LogBatch(self.lines[:middle], self.first),
            LogBatch(self.lines[middle:], self.first + middle if self.first else 0),
        )


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
        """The body."""
        return json.dumps(self.payload, ensure_ascii=False).encode()

    def build_headers(self) -> dict[str, str]:
        """The headers of this kind alone."""
        return dict(self.headers)


Request = LogBatch | StatusEvent


def build_started(context: Mapping[str, str | None]) -> StatusEvent:
    """``started``. Of ``context`` the body has :data:`STARTED_KEYS`, as far as they are known.

    The headers have ``commit_title`` and ``commit_author``; and any text in ``dirty`` says that
    the checkout differs from its commit.
    """
    payload = {"status": "started"}
    payload |= {key: value for key in STARTED_KEYS if (value := context.get(key))}
    title = (context.get("commit_title") or "")[:LONGEST_COMMIT_TITLE]
    headers = {
        COMMIT_TITLE: quote(title, safe=""),
        COMMIT_AUTHOR: quote(context.get("commit_author") or "", safe=""),
        DIRTY: "1" if context.get("dirty") else "",
    }
    return StatusEvent(payload, {name: value for name, value in headers.items() if value})


def build_completed(tunnels: Iterable[tuple[str, str]], duration_seconds: float) -> StatusEvent:
    """``completed``; each tunnel is a service's name and its hostname."""
    named = [{"service_name": name, "hostname": host} for name, host in tunnels]
    seconds = max(0, round(duration_seconds))
    return StatusEvent({"status": "completed", "tunnels": named, "duration_seconds": seconds})


def build_failed(error: str, *, reason: str | None = None) -> StatusEvent:
    """``failed``; a very long error is cut, as a status has to fit as a whole.

    ``reason`` is :data:`CANCELLED` where a signal ended the run.
    """
    if len(error) > _LONGEST_ERROR:
        cut = len(error) - _LONGEST_ERROR
        error = f"{error[:_LONGEST_ERROR]}… [{cut} characters cut]"
    return StatusEvent({"status": "failed", "error": error}, {REASON: reason} if reason else {})


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
    """The headers of one attempt.

    Args:
        request: what is sent.
        body: its bytes, as sent.
        key: the deploy key's text.
        deploy_id: checked by :func:`check_deploy_id`.
        run: whose request it is.
        timestamp: Unix seconds of this attempt.
        counts: records logged and given up in the run, for a terminal status.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"nvoi/{__version__}",
        SIGNATURE: sign(body, key),
        # HTTP clients write a header as Latin-1: this way its bytes are the id's in UTF-8.
        DEPLOY_ID: deploy_id.encode().decode("latin-1"),
        RUN_ID: run.id,
        WEBHOOK_ID: request.id,
        WEBHOOK_TIMESTAMP: str(timestamp),
        WEBHOOK_SIGNATURE: sign_webhook(body, key, request.id, timestamp),
    }
    for name, value in ((APP, run.app), (COMMAND, run.command)):
        if value:
            headers[name] = quote(value, safe="")
    if counts is not None:
        headers[LOG_COUNT], headers[LOG_DROPPED] = map(str, counts)
    return headers | request.build_headers()


# -- signatures ----------------------------------------------------------------------------


def sign(body: bytes, key: str) -> str:
    """The value of ``X-Nvoi-Signature``: ``sha256=`` and 64 hex digits."""
    return "sha256=" + hmac.digest(key.encode(), body, "sha256").hex()


def verify(body: bytes, signature: str | None, key: str) -> bool:
    """Whether ``signature`` is the one of ``body``, in constant time.

    Args:
        body: the request's body as received, before anything has parsed it.
        signature: the header ``X-Nvoi-Signature``; None, where it is missing, is never right.
        key: the deploy key's text, 64 hex characters.
    """
    if not signature:
        return False
    expected = sign(body, key).encode()
    return hmac.compare_digest(expected, signature.encode("utf-8", "surrogatepass"))


def sign_webhook(body: bytes, key: str, webhook_id: str, timestamp: int) -> str:
    """The value of ``webhook-signature``: ``v1,`` and base64."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
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
        webhook_id: the header ``webhook-id``.
        timestamp: the header ``webhook-timestamp``, Unix seconds.
        now: Unix seconds to compare with; the clock's where left out.
        tolerance: how many seconds the timestamp may be off, either way.
    """
    if not (signatures and webhook_id and timestamp and timestamp.isascii()):
        return False
    if not timestamp.isdigit() or len(timestamp) > 15:  # noqa: PLR2004 - longer than any time
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        return False
    expected = sign_webhook(body, key, webhook_id, int(timestamp)).encode()
    candidates = [text.encode("utf-8", "surrogatepass") for text in signatures.split(" ")]
    # Every candidate is compared, so that the time taken does not tell which one fits.
    return any([hmac.compare_digest(expected, candidate) for candidate in candidates])  # noqa: C419 - no short cut
