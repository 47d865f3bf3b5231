"""Waiting lines that memory has no room for, in order, on disk."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO

from nvoi.log import wire
from nvoi.log.wire import Line, StatusEvent

_CHUNK_BYTES = 256 * 1024


class Gap:
    """Lines that were given up about here."""

    def __init__(self, count: int) -> None:
        self.count = count


class Barrier:
    """Set once everything put before it has been dealt with."""

    def __init__(self) -> None:
        self.passed = threading.Event()


class Sentinel:
    """Ends the queue: nothing is taken past it."""


Item = Line | StatusEvent | Gap | Barrier | Sentinel


def measure(item: Item) -> int:
    """The bytes that an item counts for: about those of its request."""
    if isinstance(item, tuple):
        text = item[2]
        return wire.LINE_BYTES + (len(text) if text.isascii() else 4 * len(text))
    return wire.LINE_BYTES


class Overflow:
    """A queue of items in a file that has no name, so that nobody else can open it.

    Only lines are written; what is none waits in memory for its turn.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._written = self._read = self._read_at = self._skipped = 0
        self._chunk: deque[bytes] = deque()
        self._markers: deque[tuple[int, Item]] = deque()

    def __bool__(self) -> bool:
        return bool(self._written > self._read or self._skipped or self._markers)

    def skip(self, count: int = 1) -> None:
        """Count lines that are given up about here."""
        self._skipped += count

    def append(self, item: Item) -> None:
        """Add ``item`` at the end; a line that the disk does not take is skipped."""
        if isinstance(item, Gap):
            self.skip(item.count)
        elif not isinstance(item, tuple):
            if self._skipped:
                self._markers.append((self._written, self._take_gap()))
            self._markers.append((self._written, item))
        elif not self._write(item):
            self.skip()

    def read(self) -> Iterator[Item]:
        """Take items from the front, in order, as many as the caller asks for."""
        while self:
            if self._markers and self._markers[0][0] <= self._read:
                yield self._markers.popleft()[1]
            elif self._read < self._written:
                yield self._read_line()
            else:
                yield self._take_gap()
        self.close()

    def close(self) -> None:
        """Give the disk its room back. Nothing that waited is left."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._written = self._read = self._read_at = self._skipped = 0
        self._chunk.clear()
        self._markers.clear()

    def _take_gap(self) -> Gap:
        gap, self._skipped = Gap(self._skipped), 0
        return gap

    def _write(self, line: Line) -> bool:
        data = json.dumps(line).encode() + b"\n"
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as items wait in it
            end = self._file.tell()
            if self._file.write(data) != len(data):
                self._file.seek(end)
                self._file.truncate()
                return False
        except OSError:
            return False
        self._written += 1
        return True

    def _read_line(self) -> Line:
        if not self._chunk and self._file is not None:
            data = os.pread(self._file.fileno(), _CHUNK_BYTES, self._read_at)
            while b"\n" not in data:
                data += os.pread(self._file.fileno(), _CHUNK_BYTES, self._read_at + len(data))
            data = data[: data.rindex(b"\n") + 1]
            self._read_at += len(data)
            self._chunk.extend(data.splitlines())
        level, created, text = json.loads(self._chunk.popleft())
        self._read += 1
        return (level, created, text)
