"""A file of lines that a run could not deliver, as :mod:`nvoi.log.undelivered` has written it.

It may be large: where each request is, is noted, and requests are read one by one, when it is
their turn. Each that is acknowledged is noted at the file's end.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nvoi import protocol
from nvoi.errors import DeliveryError, InputError, UsageError
from nvoi.folders import name_user
from nvoi.log.undelivered import FORMAT
from nvoi.protocol import LogBatch, Request, Run, StatusEvent

#: Bytes of the file's longest line: a request's, with all that JSON may escape.
LONGEST_LINE = 16 * protocol.MOST_BYTES
#: Half of a surrogate pair, as JSON writes it.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
HINT = "name the file that the run's last lines named"

_Entry = dict[str, Any]


@dataclass(slots=True)
class Kept:
    """A request in the file: where it is, and how many lines it has.

    ``acknowledged`` are its id, or those of its parts, as far as they were delivered.
    """

    offset: int
    lines: int
    acknowledged: frozenset[str] = frozenset()


@dataclass
class Undelivered:
    """Such a file, open and locked.

    ``logged`` and ``delivered`` are the run's counts of records, as far as known, with
    those that were delivered from the file since.
    """

    path: Path
    file: IO[bytes] = field(repr=False)
    callback_url: str
    deploy_id: str
    run: Run
    #: Whether the callback URL had a user and password, which the file does not keep.
    has_credentials: bool
    kept: dict[str, Kept] = field(default_factory=dict)
    #: Bytes of the file up to its last whole line, and as it was found.
    whole: int = 0
    size: int = 0
    grown: bool = False
    logged: int = 0
    delivered: int = 0
    #: How many requests are still to be sent.
    count: int = 0

    def read_requests(self) -> Iterator[Request]:
        for name in self.kept:
            yield from self.read_parts(name)

    def read_parts(self, name: str) -> list[Request]:
        """A request, or those of its parts that are still to be sent."""
        parts = self.kept[name].acknowledged
        if name in parts:
            return []
        self.file.seek(self.kept[name].offset)
        request = decode(json.loads(self.file.readline()))
        return [one for one in split(request, parts) if one.id not in parts]

    def acknowledge(self, request: Request) -> None:
        """Note on the disk that ``request`` was delivered."""
        if not self.has_grown():
            # A last line without its end was being written when the machine stopped.
            self.file.truncate(self.whole)
            self.file.seek(self.whole)
        self.file.write(json.dumps({"acknowledged": request.id}).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.whole = self.size = self.file.tell()

    def has_grown(self) -> bool:
        """Go to the file's end; whether the run has written there since it was read."""
        self.grown |= self.file.seek(0, os.SEEK_END) != self.size
        return self.grown

    def remove(self) -> None:
        """Remove the file, all of which is acknowledged."""
        if self.has_grown():
            raise DeliveryError(
                f"more was written to {self.path} meanwhile",
                hint=f"all else is delivered; later: nvoi resend {self.path}",
            )
        self.path.unlink(missing_ok=True)


@contextmanager
def open_undelivered(path: Path) -> Iterator[Undelivered]:
    """The file at ``path``, which no other command sends meanwhile."""
    try:
        # For both, as what is delivered is noted; not to wait for the writer of a pipe.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}", hint=HINT) from None
    with os.fdopen(descriptor, "r+b") as file:
        check_file(path, os.fstat(descriptor))
        lock(path, descriptor)
        yield read_file(path, file)


def check_file(path: Path, status: os.stat_result) -> None:
    """Make sure that nobody but this user can have written what is about to be signed."""
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} cannot be read: it is no file", hint=HINT)
    if status.st_uid != os.geteuid():
        raise InputError(
            f"{path} belongs to {name_user(status.st_uid)}: what others have written is not signed",
            hint="resend it as the user that the run had",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"others may write to {path}: what they have written is not signed",
            hint=f"if it is as the run left it: chmod go-w {path}",
        )


def lock(path: Path, descriptor: int) -> None:
    """Keep other commands from sending the file until it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"{path} is being sent by another nvoi resend", hint="wait until that has ended"
        ) from None
    except OSError:
        # A file system that has no such lock.
        return
    if os.fstat(descriptor).st_nlink == 0:
        raise InputError(f"{path} was sent by another nvoi resend meanwhile, and is removed")


def read_file(path: Path, file: IO[bytes]) -> Undelivered:
    """Where each request of the file is, and which are still to be sent."""
    number = 1
    try:
        lines = read_lines(file)
        content = build_content(path, file, parse_entry(next(lines, b"")))
        for number, line in enumerate(lines, start=2):  # noqa: B007 - told where one is damaged
            add_entry(content, parse_entry(line), content.whole)
            content.whole += len(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path} is not a file of undelivered requests, or is damaged: line {number}",
            hint=HINT,
        ) from None
    content.size = file.seek(0, os.SEEK_END)
    count_requests(content)
    return content


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The whole lines of the file; a last one without its end was never written to it."""
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == LONGEST_LINE:
            raise ValueError("no request is that long")


def parse_entry(line: bytes) -> _Entry:
    """The JSON object in a line, in Unicode that can be sent."""
    entry = json.loads(line.decode())
    if not isinstance(entry, dict):
        raise TypeError("no object")
    if SURROGATE.search(line):
        # Fails where it is half of a pair.
        json.dumps(entry, ensure_ascii=False).encode()
    return entry


def build_content(path: Path, file: IO[bytes], head: _Entry) -> Undelivered:
    if head["format"] != FORMAT:
        raise ValueError(head["format"])
    run = Run(**head["run"])
    check_header_texts(run.id)
    return Undelivered(
        path,
        file,
        str(head["callback_url"]),
        str(head["deploy_id"]),
        run,
        has_credentials=bool(head["has_credentials"]),
        whole=file.tell(),
    )


def add_entry(content: Undelivered, entry: _Entry, offset: int) -> None:
    if "acknowledged" in entry:
        name = part = entry["acknowledged"]
        check_header_texts(part)
        # The id of a part is its request's, with letters behind it: LogBatch.halve, LogBatch.cut.
        while name not in content.kept and name.endswith(("a", "b", "c")):
            name = name[:-1]
        if name in content.kept:
            content.kept[name].acknowledged |= {part}
    if "id" in entry:
        request = decode(entry)
        # An id that comes twice is one request that was kept twice.
        if request.id not in content.kept:
            lines = len(request.lines) if isinstance(request, LogBatch) else 0
            content.kept[request.id] = Kept(offset, lines)
            content.logged += int(entry.get("logged", 0))
            content.delivered += int(entry.get("delivered", 0))


def check_header_texts(*texts: str) -> None:
    if not all(text.isascii() and text.isprintable() for text in texts):
        raise ValueError("this cannot stand in a header")


def decode(entry: _Entry) -> Request:
    """The request in a line, which can be sent, in parts too."""
    check_header_texts(entry["id"])
    if "logs" not in entry:
        headers = dict(entry["headers"])
        check_header_texts(*headers, *headers.values())
        return StatusEvent(dict(entry["status"]), headers, entry["id"])
    if not all(isinstance(line["message"], str) for line in entry["logs"]):
        raise TypeError("no message")
    lines = [json.dumps(line, ensure_ascii=False) for line in entry["logs"]]
    return LogBatch(lines, int(entry["first"]), entry["id"])


def split(request: Request, acknowledged: frozenset[str]) -> Iterator[Request]:
    """``request``, or the parts in which it was sent, as one of them was acknowledged."""
    parts = frozenset(name for name in acknowledged if name.startswith(request.id))
    if not parts or request.id in parts or not isinstance(request, LogBatch):
        yield request
    elif len(request.lines) > 1:
        for half in request.halve():
            yield from split(half, parts)
    else:
        yield LogBatch(request.lines, request.first, min(parts))


def count_requests(content: Undelivered) -> None:
    """Fill in how many requests are still to be sent, and the run's counts of records."""
    for name, kept in content.kept.items():
        if not kept.acknowledged:
            content.count += 1
            continue
        left = content.read_parts(name)
        lines_left = sum(len(one.lines) for one in left if isinstance(one, LogBatch))
        content.count += len(left)
        content.delivered += kept.lines - lines_left
