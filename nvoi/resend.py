"""The story of ``nvoi resend``: read what a run could not deliver, send it, remove the file.

Each request that is acknowledged is noted at the file's end, on the disk before the next one goes
out, so that nothing is sent twice. The ids of a request's parts come from its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvoi import protocol
from nvoi.errors import DeliveryError, InputError
from nvoi.log import levels, masking
from nvoi.log.clock import read_seconds
from nvoi.log.delivery import Counts, Delivery, Destination
from nvoi.log.transport import Transport
from nvoi.log.undelivered import FORMAT
from nvoi.network import strip_auth
from nvoi.protocol import LogBatch, Request, Run, StatusEvent

#: Seconds that one request may take with all its retries.
REQUEST_SECONDS = 30.0

_Entry = dict[str, Any]


@dataclass
class Undelivered:
    """The content of such a file: what is still to be sent, in order.

    ``logged`` and ``delivered`` are the run's counts of records, as far as known, with
    those that were delivered from the file since.
    """

    path: Path
    callback_url: str
    deploy_id: str
    run: Run
    #: Whether the callback URL had a user and password, which the file does not keep.
    has_credentials: bool
    #: Bytes of the file up to its last whole line.
    size: int
    requests: list[Request] = field(default_factory=list)
    logged: int = 0
    delivered: int = 0

    def acknowledge(self, request: Request) -> None:
        """Note on the disk that ``request`` was delivered."""
        data = json.dumps({"acknowledged": request.id}).encode() + b"\n"
        with self.path.open("r+b") as file:
            # A last line without its end was being written when the machine stopped.
            file.truncate(self.size)
            file.seek(self.size)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.size += len(data)


def read_undelivered(path: Path) -> Undelivered:
    """The content of the file ``path``.

    Raises:
        InputError: it cannot be read, or was not written by nvoi.
    """
    hint = "name the file that the run's last lines named"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    whole = data[: data.rfind(b"\n") + 1]
    try:
        head, *entries = map(json.loads, whole.splitlines())
        if head["format"] != FORMAT:
            raise ValueError(head["format"])  # noqa: TRY301 - told as all other damage is
        content = Undelivered(
            path,
            str(head["callback_url"]),
            str(head["deploy_id"]),
            Run(**head["run"]),
            has_credentials=bool(head["has_credentials"]),
            size=len(whole),
        )
        _fill(content, entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path} is not a file of undelivered requests, or is damaged", hint=hint
        ) from None
    return content


def _fill(content: Undelivered, entries: list[_Entry]) -> None:
    acknowledged = {entry["acknowledged"] for entry in entries if "acknowledged" in entry}
    # An id that comes twice is one request that was kept twice.
    kept = {entry["id"]: entry for entry in entries if "id" in entry}
    for entry in kept.values():
        content.logged += int(entry.get("logged", 0))
        content.delivered += int(entry.get("delivered", 0))
        for request in _find_parts(_decode(entry), acknowledged):
            if request.id not in acknowledged:
                content.requests.append(request)
            elif isinstance(request, LogBatch):
                content.delivered += len(request.lines)


def _find_parts(request: Request, acknowledged: set[str]) -> Iterator[Request]:
    """``request``, or the parts in which it was sent, as one of them was acknowledged."""
    parts = {name for name in acknowledged if name.startswith(request.id)}
    if not parts or request.id in parts or not isinstance(request, LogBatch):
        yield request
    elif len(request.lines) > 1:
        for half in request.halve():
            yield from _find_parts(half, parts)
    else:
        yield LogBatch(request.lines, request.first, parts.pop())


def _decode(entry: _Entry) -> Request:
    if "logs" in entry:
        lines = [json.dumps(line, ensure_ascii=False) for line in entry["logs"]]
        return LogBatch(lines, int(entry["first"]), str(entry["id"]))
    return StatusEvent(dict(entry["status"]), dict(entry["headers"]), str(entry["id"]))


def resend(undelivered: Undelivered, key: str, *, request_seconds: float = REQUEST_SECONDS) -> None:
    """Send the file's requests in order, and remove it when the last is acknowledged.

    Args:
        undelivered: the file's content.
        key: the deploy key's text.
        request_seconds: how long one request may take with all its retries.

    Raises:
        DeliveryError: some are still to be sent, or were refused; the file says which.
        UsageError: the file's URL or deploy id cannot be used.
    """
    logger = levels.get_logger("nvoi.resend")
    masking.add_secrets(key)
    url = protocol.check_url(undelivered.callback_url)
    place = strip_auth(url)
    delivery = Delivery(
        Destination(url, key, protocol.check_deploy_id(undelivered.deploy_id), undelivered.run),
        Transport(url),
        tell=lambda text: logger.warning("Dashboard %s: %s", place, text),
        count_logged=lambda: undelivered.logged,
        counts=Counts(delivered=undelivered.delivered),
        note_delivered=undelivered.acknowledge,
    )
    try:
        refused = _send_all(undelivered, delivery, request_seconds)
    finally:
        delivery.close()
    if refused:
        raise DeliveryError(
            f"{place} refused {refused} requests, which stay in {undelivered.path}",
            hint="all else is delivered; remove the file when they are of no use",
        )
    undelivered.path.unlink()
    lines, requests = delivery.counts.delivered - undelivered.delivered, undelivered.requests
    logger.success("Delivered %d log lines in %d requests to %s", lines, len(requests), place)


def _send_all(undelivered: Undelivered, delivery: Delivery, request_seconds: float) -> int:
    """Send each request; returns how many, or parts of how many, were refused."""
    refused, total = 0, len(undelivered.requests)
    for number, request in enumerate(undelivered.requests):
        until = read_seconds() + request_seconds
        delivery.end_by(until, until)
        given_up = delivery.deliver(request)
        if given_up and (delivery.stopped or not delivery.answered):
            place = strip_auth(undelivered.callback_url)
            raise DeliveryError(
                f"{total - number} of {total} requests are still to be sent to {place}",
                hint=f"later: nvoi resend {undelivered.path}",
            )
        refused += len(given_up)
    return refused
