"""What one request must look like by docs/protocol.md, checked apart from nvoi's own code."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.fakes.received import TERMINAL, Received

LEVELS = frozenset(("debug", "info", "step", "ok", "success", "warning", "error"))
STARTED_KEYS = frozenset(("git_sha", "git_ref", "ci_provider", "ci_run_url"))
RECORD_KEYS = frozenset(("level", "message", "logged_at"))
TUNNEL_KEYS = frozenset(("service_name", "hostname"))
MAX_RECORDS = 500
MAX_BYTES = 512 * 1024
# A request is signed afresh for each attempt, so its time is now; the margin is for a
# machine that is busy, far under the five minutes that stock verifiers allow.
MAX_AGE_SECONDS = 30.0

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
WEBHOOK_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
NUMBER = re.compile(r"0|[1-9][0-9]*")
ANSI = re.compile("[\x1b\x9b]")
SURROGATE = re.compile("[\ud800-\udfff]")


def parse(body: bytes) -> Any:
    """The body as strict JSON in strict UTF-8; raises ValueError."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(body.decode(), parse_constant=refuse)


def find_faults(request: Received, key: bytes) -> Iterator[str]:
    """Everything that is wrong with a request that was read whole, looked at by itself."""
    if request.method != "POST":
        yield f"the method is {request.method}, not POST"
    if not request.kind:
        yield f"the path {request.path!r} is neither …/logs nor …/status of a deploy id"
    if len(request.body) > MAX_BYTES:
        yield f"the body has {len(request.body)} bytes, over {MAX_BYTES}"
    yield from find_header_faults(request)
    yield from find_signature_faults(request, key)
    if not isinstance(request.payload, dict):
        yield f"the body is no JSON object in UTF-8: {request.body[:80]!r}"
    elif request.kind == "logs":
        yield from find_batch_faults(request)
    elif request.kind == "status":
        yield from find_status_faults(request)


def find_header_faults(request: Received) -> Iterator[str]:
    """Faults of the plain headers."""
    headers = request.headers
    names = [name.lower() for name, _ in headers.fields]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the header {name} came twice"
    if (found := headers.get("content-type")) != "application/json":
        yield f"Content-Type is {found!r}"
    if not re.fullmatch(r"nvoi/\S+", headers.get("user-agent", "")):
        yield f"User-Agent is {headers.get('user-agent')!r}"
    if request.kind and headers.get("x-nvoi-deploy-id") != request.deploy_id.strip(" \t"):
        found = headers.get("x-nvoi-deploy-id")
        yield f"X-Nvoi-Deploy-Id is {found!r}, the path names {request.deploy_id!r}"
    if ("x-nvoi-sequence" in headers) != (request.kind == "logs"):
        yield "X-Nvoi-Sequence belongs on logs, and on nothing else"
    yield from find_count_faults(request)


def find_count_faults(request: Received) -> Iterator[str]:
    """Faults of ``X-Nvoi-Log-Count`` and ``X-Nvoi-Log-Dropped``: terminal status only."""
    count = request.headers.get("x-nvoi-log-count")
    dropped = request.headers.get("x-nvoi-log-dropped")
    if request.state not in TERMINAL:
        if (count, dropped) != (None, None):
            yield "X-Nvoi-Log-Count and X-Nvoi-Log-Dropped belong on a terminal status only"
    elif not (NUMBER.fullmatch(count or "") and NUMBER.fullmatch(dropped or "")):
        yield f"X-Nvoi-Log-Count is {count!r} and X-Nvoi-Log-Dropped {dropped!r}, not two numbers"
    elif int(dropped or 0) > int(count or 0):
        yield f"X-Nvoi-Log-Dropped {dropped} is more than X-Nvoi-Log-Count {count}"


def find_signature_faults(request: Received, key: bytes) -> Iterator[str]:
    """What a stock verifier of either scheme says against the request."""
    headers = request.headers
    expected = "sha256=" + hmac.new(key, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(headers.get("x-nvoi-signature", "").encode(), expected.encode()):
        yield f"X-Nvoi-Signature is {headers.get('x-nvoi-signature')!r}, not {expected!r}"
    try:
        Webhook(key).verify(request.body, dict(headers))
    except (WebhookVerificationError, ValueError) as error:
        yield f"a stock Standard Webhooks verifier refuses it: {error}"
    if not WEBHOOK_SIGNATURE.fullmatch(headers.get("webhook-signature", "")):
        yield f"webhook-signature is {headers.get('webhook-signature')!r}"
    if not re.fullmatch(r"[!-~]+", request.webhook_id) or "." in request.webhook_id:
        yield f"webhook-id is {request.webhook_id!r}"
    stamp = headers.get("webhook-timestamp", "")
    if not NUMBER.fullmatch(stamp):
        yield f"webhook-timestamp is {stamp!r}, no Unix seconds"
    elif abs(time.time() - int(stamp)) > MAX_AGE_SECONDS:
        yield f"webhook-timestamp {stamp} is not of this attempt: now is {time.time():.0f}"


def find_batch_faults(request: Received) -> Iterator[str]:
    """Faults of a batch of log records."""
    logs = request.payload.get("logs")
    if set(request.payload) != {"logs"} or not isinstance(logs, list) or not logs:
        yield f"a batch is one list of records under 'logs', not {sorted(request.payload)}"
        return
    if len(logs) > MAX_RECORDS:
        yield f"the batch has {len(logs)} records, over {MAX_RECORDS}"
    if request.sequence is None:
        yield f"X-Nvoi-Sequence is {request.headers.get('x-nvoi-sequence')!r}, not first-last"
    elif request.sequence[1] - request.sequence[0] + 1 != len(logs):
        yield f"X-Nvoi-Sequence {request.sequence} does not count {len(logs)} records"
    for index, record in enumerate(logs):
        for fault in find_record_faults(record):
            yield f"logs[{index}]: {fault}"


def find_record_faults(record: Any) -> Iterator[str]:
    """Faults of one log record."""
    if not isinstance(record, dict) or record.keys() != RECORD_KEYS:
        yield f"a record has {sorted(RECORD_KEYS)}, not {shorten(record)}"
        return
    if record["level"] not in LEVELS:
        yield f"level {record['level']!r} is not allowed"
    yield from find_text_faults("message", record["message"], may_be_empty=True)
    if not is_time(record["logged_at"]):
        yield f"logged_at is {record['logged_at']!r}"


def find_status_faults(request: Received) -> Iterator[str]:
    """Faults of a status body."""
    payload = dict(request.payload)
    payload.pop("status", None)
    match request.state:
        case "started":
            if unnamed := payload.keys() - STARTED_KEYS:
                yield f"started has keys that are not named: {sorted(unnamed)}"
            for name, value in payload.items():
                yield from find_text_faults(name, value)
        case "completed":
            if payload.keys() != {"tunnels", "duration_seconds"}:
                yield f"completed has tunnels and duration_seconds, not {sorted(payload)}"
            yield from find_completed_faults(payload)
        case "failed":
            if payload.keys() != {"error"}:
                yield f"failed has error, not {sorted(payload)}"
            yield from find_text_faults("error", payload.get("error"))
        case _:
            yield f"status is {request.payload.get('status')!r}"


def find_completed_faults(payload: dict[str, Any]) -> Iterator[str]:
    """Faults of what ``completed`` carries."""
    duration = payload.get("duration_seconds")
    if not isinstance(duration, int) or isinstance(duration, bool) or duration < 0:
        yield f"duration_seconds is {duration!r}, no whole number"
    tunnels = payload.get("tunnels")
    if not isinstance(tunnels, list):
        yield f"tunnels is {shorten(tunnels)}, no list"
        return
    for tunnel in tunnels:
        if not isinstance(tunnel, dict) or tunnel.keys() != TUNNEL_KEYS:
            yield f"a tunnel has {sorted(TUNNEL_KEYS)}, not {shorten(tunnel)}"
            continue
        for name, value in tunnel.items():
            yield from find_text_faults(name, value)


def find_text_faults(name: str, value: Any, *, may_be_empty: bool = False) -> Iterator[str]:
    """Faults of a text that a dashboard stores and shows."""
    if not isinstance(value, str) or not (value or may_be_empty):
        yield f"{name} is {shorten(value)}, no text"
    elif ANSI.search(value):
        yield f"{name} has ANSI codes: {shorten(value)}"
    elif SURROGATE.search(value):
        yield f"{name} has lone surrogates: {shorten(value)}"


def is_time(value: Any) -> bool:
    """Whether ``value`` is UTC with milliseconds and ``Z``, and a time that exists."""
    if not isinstance(value, str) or not TIMESTAMP.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def shorten(value: Any) -> str:
    """``value`` for a message."""
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"
