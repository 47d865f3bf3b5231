"""What could not be delivered, kept in a file, and sent later: ``nvoi resend``.

The file is JSON lines, mode 0600: a head that says what it is, then one line a request, with
the id and the body it had. Each request that is acknowledged when it is sent is noted at its end,
on the disk before the next one goes out, so that nothing is sent twice. The ids of a request's
parts come from its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from nvoi import protocol
from nvoi.errors import DeliveryError, InputError
from nvoi.log import levels, masking
from nvoi.log.clock import read_seconds
from nvoi.log.delivery import Callee, Counts, Delivery
from nvoi.log.transport import Transport
from nvoi.protocol import LogBatch, Request, Run, StatusEvent

FORMAT = "nvoi-undelivered-1"

#: Seconds that one request of :func:`resend` may take with all its retries.
REQUEST_SECONDS = 30.0

_Entry = dict[str, Any]


class UndeliveredFile:
    """A file that appears with its first request.

    Args:
        directory: where to make it; the temporary directory where it is None or cannot be used.
        callee: whom its requests are for. A password in the URL is left out of the file.
    """

    def __init__(self, directory: Path | None, callee: Callee) -> None:
        self._directory = directory
        url = strip_auth(callee.url)
        self._head: _Entry = {
            "format": FORMAT,
            "callback_url": url,
            "deploy_id": callee.deploy_id,
            "has_credentials": url != callee.url,
            "run": {"id": callee.run.id, "app": callee.run.app, "command": callee.run.command},
        }
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self.path: Path | None = None
        self.lines = 0

    def append(self, request: Request, *, logged: int = 0, delivered: int = 0) -> None:
        """Write ``request`` at the end.

        Args:
            request: what was not acknowledged.
            logged: records of the run so far, which a terminal status tells.
            delivered: how many of them were acknowledged.

        Raises:
            OSError: there is no room for it anywhere.
        """
        if isinstance(request, LogBatch):
            # The lines are JSON already; a run that was never heard has many.
            lines = ", ".join(request.lines)
            text = f'{{"id": "{request.id}", "first": {request.first}, "logs": [{lines}]}}'
        else:
            counts = {"logged": logged, "delivered": delivered} if request.terminal else {}
            status = {"status": dict(request.payload), "headers": dict(request.headers)}
            text = json.dumps({"id": request.id} | status | counts)
        with self._lock:
            if self._file is None:
                self._open()
            self._write(text)
        if isinstance(request, LogBatch):
            self.lines += len(request.lines)

    def close(self) -> None:
        """Close the file, if there is one. A later request opens it again."""
        with self._lock, contextlib.suppress(OSError):
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _open(self) -> None:
        if self.path is not None:
            self._file = self.path.open("ab", buffering=0)
            return
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", self._head["deploy_id"])[:60]
        prefix = f"{plain}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-"
        descriptor, name = _make_file(self._directory, prefix)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self.path = Path(name)
        self._write(json.dumps(self._head))

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        end = self._file.seek(0, os.SEEK_END)
        data = memoryview(text.encode() + b"\n")
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            # Half a line would spoil the next one: all of it, or nothing.
            self._file.truncate(end)
            raise


def _make_file(directory: Path | None, prefix: str) -> tuple[int, str]:
    """A new file, which mkstemp makes 0600 and ours alone, whatever the umask."""
    if directory is not None:
        with contextlib.suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.mkstemp(".jsonl", prefix, directory)
    return tempfile.mkstemp(".jsonl", f"nvoi-{prefix}")


def strip_auth(url: str) -> str:
    """``url`` without the user and the password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


# -- reading it and sending it -------------------------------------------------------------


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
    total, refused = len(undelivered.requests), 0
    place = strip_auth(url)
    delivery = Delivery(
        Callee(url, key, protocol.check_deploy_id(undelivered.deploy_id), undelivered.run),
        Transport(url),
        tell=lambda text: logger.warning("Dashboard %s: %s", place, text),
        count_logged=lambda: undelivered.logged,
        counts=Counts(delivered=undelivered.delivered),
        note_delivered=undelivered.acknowledge,
    )
    try:
        for number, request in enumerate(undelivered.requests):
            until = read_seconds() + request_seconds
            delivery.end_by(until, until)
            given_up = delivery.deliver(request)
            if given_up and (delivery.stopped or not delivery.answered):
                raise DeliveryError(
                    f"{total - number} of {total} requests are still to be sent to {place}",
                    hint=f"later: nvoi resend {undelivered.path}",
                )
            refused += len(given_up)
    finally:
        delivery.close()
    if refused:
        raise DeliveryError(
            f"{place} refused {refused} requests, which stay in {undelivered.path}",
            hint="all else is delivered; remove the file when they are of no use",
        )
    undelivered.path.unlink()
    lines = delivery.counts.delivered - undelivered.delivered
    logger.success("Delivered %d log lines in %d requests to %s", lines, total, place)
