"""What one request must look like by docs/protocol.md.

Levels, limits and names are of :mod:`nvoi.protocol`; what is sent by them is judged here, and the
signatures by the stock verifier of Standard Webhooks as well.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from nvoi import protocol
from tests.fakes.received import TERMINAL, Received

#: The requests that alone have a header.
PLACES = {
    protocol.SEQUENCE: ("logs",),
    protocol.LOG_COUNT: TERMINAL,
    protocol.LOG_DROPPED: TERMINAL,
    protocol.COMMIT_TITLE: ("started",),
    protocol.COMMIT_AUTHOR: ("started",),
    protocol.DIRTY: ("started",),
    protocol.REASON: ("failed",),
}
#: Headers that hold a text, percent-encoded.
TEXTS = (protocol.APP, protocol.COMMAND, protocol.COMMIT_TITLE, protocol.COMMIT_AUTHOR)
#: What is the same on every request of a run.
OF_THE_RUN = (protocol.RUN_ID, protocol.APP, protocol.COMMAND)

# A request is signed afresh for each attempt, so its time is now; the margin is for a
# machine that is busy, far under the five minutes that stock verifiers allow.
MAX_AGE_SECONDS = 30.0

WEBHOOK_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
NUMBER = re.compile(r"0|[1-9][0-9]*")
#: A text that a dashboard stores and shows: without ANSI codes and lone surrogates.
Text = Annotated[str, Meta(pattern="\\A[^\x1b\x9b\ud800-\udfff]*\\Z")]
Name = Annotated[Text, Meta(min_length=1)]


class Status(Struct, forbid_unknown_fields=True, tag_field="status", tag=str.lower):
    """A body whose ``status`` is its class's name."""


class Started(Status):
    git_sha: Name = ""
    git_ref: Name = ""
    ci_provider: Name = ""
    ci_run_url: Name = ""


class Tunnel(Struct, forbid_unknown_fields=True):
    service_name: Name
    hostname: Name


class Completed(Status):
    tunnels: list[Tunnel]
    duration_seconds: Annotated[int, Meta(ge=0)]


class Failed(Status):
    error: Name


class Record(Struct, forbid_unknown_fields=True):
    level: protocol.Level
    message: Text
    #: UTC with milliseconds, and a time that exists.
    logged_at: Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.logged_at)


class Batch(Struct, forbid_unknown_fields=True):
    logs: Annotated[list[Record], Meta(min_length=1, max_length=protocol.MOST_RECORDS)]


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
    if len(request.body) > protocol.MOST_BYTES:
        yield f"the body has {len(request.body)} bytes, over {protocol.MOST_BYTES}"
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
    for name in headers:
        if len(headers.getlist(name)) > 1:
            yield f"the header {name} came twice"
    if (found := headers.get("content-type")) != "application/json":
        yield f"Content-Type is {found!r}"
    if not re.fullmatch(r"nvoi/\S+", headers.get("user-agent", "")):
        yield f"User-Agent is {headers.get('user-agent')!r}"
    found = headers.get(protocol.DEPLOY_ID)
    if request.kind and found != request.deploy_id.strip(" \t"):
        yield f"{protocol.DEPLOY_ID} is {found!r}, the path names {request.deploy_id!r}"
    for name, places in PLACES.items():
        if name in headers and (request.state or request.kind) not in places:
            yield f"{name} belongs on {' and '.join(places)} alone"
    if request.kind == "logs" and protocol.SEQUENCE not in headers:
        yield f"{protocol.SEQUENCE} is missing"
    yield from find_run_faults(request)
    yield from find_count_faults(request)


def find_run_faults(request: Received) -> Iterator[str]:
    """Faults of what the headers tell of the run."""
    headers = request.headers
    run_id = headers.get(protocol.RUN_ID, "")
    if not is_uuid(run_id):
        yield f"{protocol.RUN_ID} is {run_id!r}, no UUID"
    for name in TEXTS:
        text = headers.get(name)
        if text is not None and not is_encoded(text):
            yield f"{name} is {text!r}, no percent-encoded text"
    for name, value in ((protocol.DIRTY, "1"), (protocol.REASON, protocol.CANCELLED)):
        if headers.get(name, value) != value:
            yield f"{name} is {headers.get(name)!r}, not {value!r}"


def find_count_faults(request: Received) -> Iterator[str]:
    """Faults of ``X-Nvoi-Log-Count`` and ``X-Nvoi-Log-Dropped`` on a terminal status."""
    if request.state not in TERMINAL:
        return
    count = request.headers.get(protocol.LOG_COUNT)
    dropped = request.headers.get(protocol.LOG_DROPPED)
    if not (NUMBER.fullmatch(count or "") and NUMBER.fullmatch(dropped or "")):
        yield f"X-Nvoi-Log-Count is {count!r} and X-Nvoi-Log-Dropped {dropped!r}, not two numbers"
    elif int(dropped or 0) > int(count or 0):
        yield f"X-Nvoi-Log-Dropped {dropped} is more than X-Nvoi-Log-Count {count}"


def find_signature_faults(request: Received, key: bytes) -> Iterator[str]:
    """What a stock verifier of either scheme says against the request."""
    headers = request.headers
    signature = headers.get(protocol.SIGNATURE)
    if not protocol.verify(request.body, signature, key.decode("ascii")):
        yield f"{protocol.SIGNATURE} is {signature!r}"
    try:
        Webhook(key).verify(request.body, dict(headers))
    except (WebhookVerificationError, ValueError) as error:
        yield f"a stock Standard Webhooks verifier refuses it: {error}"
    if not WEBHOOK_SIGNATURE.fullmatch(headers.get(protocol.WEBHOOK_SIGNATURE, "")):
        yield f"webhook-signature is {headers.get(protocol.WEBHOOK_SIGNATURE)!r}"
    if not re.fullmatch(r"[!-~]+", request.webhook_id) or "." in request.webhook_id:
        yield f"webhook-id is {request.webhook_id!r}"
    stamp = headers.get(protocol.WEBHOOK_TIMESTAMP, "")
    if not NUMBER.fullmatch(stamp):
        yield f"webhook-timestamp is {stamp!r}, no Unix seconds"
    elif abs(time.time() - int(stamp)) > MAX_AGE_SECONDS:
        yield f"webhook-timestamp {stamp} is not of this attempt: now is {time.time():.0f}"


def find_batch_faults(request: Received) -> Iterator[str]:
    """Faults of a batch of log records."""
    yield from find_shape_faults(request.payload, Batch)
    logs = request.records
    if request.sequence is None:
        yield f"X-Nvoi-Sequence is {request.headers.get(protocol.SEQUENCE)!r}, not first-last"
    elif request.sequence[1] - request.sequence[0] + 1 != len(logs):
        yield f"X-Nvoi-Sequence {request.sequence} does not count {len(logs)} records"


def find_status_faults(request: Received) -> Iterator[str]:
    """Faults of a status body."""
    yield from find_shape_faults(request.payload, Started | Completed | Failed)


def find_shape_faults(payload: dict[str, Any], kind: Any) -> Iterator[str]:
    """What makes ``payload`` no ``kind``, if anything."""
    try:
        msgspec.convert(payload, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        yield f"the body is not the protocol's: {error}"


def is_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID as it is usually written."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def is_encoded(text: str) -> bool:
    """Whether ``text`` is UTF-8 of at most 200 characters, all but the plainest percent-encoded."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return 0 < len(decoded) <= protocol.LONGEST_TEXT and quote(decoded, safe="") == text
