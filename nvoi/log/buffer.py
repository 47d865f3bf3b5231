"""What waits to be sent: in order, in batches, bounded in bytes.

The listener's thread appends and the sender's takes; nobody else meets the lock between them.
Beyond its capacity the buffer gives up the lowest level first and of that the oldest: ``debug``,
then ``info``, then, when ``step`` and above alone are too many, the oldest of those. One record
tells of each loss at its place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nvoi import protocol
from nvoi.log.clock import read_seconds
from nvoi.log.counts import Counts
from nvoi.protocol import LEVELS, Line, LogBatch, Request, StatusEvent

#: Bytes of waiting records, as they would be sent.
CAPACITY = 16 * 1024 * 1024
#: Seconds that the first lines of a run, and later ones, wait for company. The protocol's
#: limits are 250 ms and 1 s from the log call to the request.
FIRST_LINGER = 0.1
LINGER = 0.25

#: Losses with fewer lines than this between them are told as one: where every other line is given
#: up, a record for each would take as much room as the lines.
_LINES_BETWEEN_GAPS = 500


class Barrier(threading.Event):
    """Set once everything put before it has been dealt with."""


@dataclass(frozen=True)
class End:
    """Ends the sender's thread: nothing is taken past it.

    ``began`` is when closing began, in seconds of :mod:`nvoi.log.clock`, and ``budget`` how many
    seconds it may take.
    """

    began: float
    budget: float


@dataclass
class Gap:
    """Lines that were given up; ``first`` is the place of the first of them."""

    first: int
    count: int = 0

    def takes(self, place: int) -> bool:
        """Whether a line that was lost at ``place`` is told by this gap."""
        return place - self.first - self.count < _LINES_BETWEEN_GAPS


Item = Line | StatusEvent | Barrier | End


@dataclass
class Rank:
    """Lines of one rank, each with its place, and the gaps where older ones were given up."""

    lines: deque[tuple[int, Any]] = field(default_factory=deque)
    gaps: deque[tuple[int, Any]] = field(default_factory=deque)


class Buffer:
    """An ordered queue of lines and status events.

    One thread calls :meth:`append`, one :meth:`take`; :meth:`drain` is for when they have ended.

    It goes on with the numbers in ``counts``. ``capacity`` is in bytes; the lines linger, the
    first ones shorter, for as many seconds at most.
    """

    def __init__(
        self,
        counts: Counts,
        capacity: int = CAPACITY,
        *,
        linger: float = LINGER,
        first_linger: float = FIRST_LINGER,
    ) -> None:
        self._counts = counts
        self._capacity = capacity
        self._linger = linger
        self._next_linger = first_linger
        # Entered as itself: to enter the condition is a call, which Ctrl-C may cut in two.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # Lowest first. Custom levels count as the next lower one.
        self._ranks = tuple(Rank() for _ in ("debug", "info", "step and above"))
        self._others: deque[tuple[int, Any]] = deque()
        self._sources = [self._others]
        self._sources += [source for rank in self._ranks for source in (rank.lines, rank.gaps)]
        self._place = 0
        self._bytes = 0
        self._since = 0.0
        self._hurried = False
        self._stopped: End | None = None

    def append(self, item: Item) -> None:
        """Add ``item`` at the end, and give up what does not fit."""
        with self._lock:
            was_empty = self._is_empty()
            if was_empty:
                self._since = read_seconds()
            self._place += 1
            if isinstance(item, tuple):
                self._append_line(*item)
            else:
                self._others.append((self._place, item))
                self._hurried = True
            if was_empty or self._is_due():
                self._changed.notify()

    def take(self) -> Request | Barrier | End:
        """The next request as soon as it is due, a barrier, or the end; waits for it."""
        with self._lock:
            while self._is_empty() and self._stopped is None:
                self._changed.wait()
            left = self._since + self._next_linger - read_seconds()
            if left > 0 and not self._is_due():
                # Whatever ends this wait, what is there is due: it is full, urgent, or its time
                # has come.
                self._changed.wait(left)
            self._since = read_seconds()
            return self._stopped or self._take()

    def stop(self, end: End) -> None:
        """Have :meth:`take` answer ``end`` from now on; what waits is left to :meth:`drain`."""
        with self._lock:
            self._stopped = end
            self._changed.notify()

    def drain(self) -> Iterator[Request]:
        """All requests that wait, due or not, past barriers and ends too."""
        while True:
            with self._lock:
                if self._is_empty():
                    return
                taken = self._take()
            if isinstance(taken, Barrier):
                taken.set()
            elif not isinstance(taken, End):
                yield taken

    # -- under the lock --------------------------------------------------------------------

    def _is_empty(self) -> bool:
        return not any(self._sources)

    def _is_due(self) -> bool:
        return (
            self._hurried
            or self._stopped is not None
            or self._bytes >= protocol.MOST_BYTES
            or sum(len(rank.lines) for rank in self._ranks) >= protocol.MOST_RECORDS
        )

    def _append_line(self, level: int, created: float, text: str) -> None:
        # One request may hold no more text than this.
        line = (level, created, protocol.cut_text(text, protocol.MOST_BYTES))
        self._ranks[get_rank(level)].lines.append((self._place, line))
        self._bytes += measure(line)
        self._counts.logged += 1
        self._hurried |= level >= LEVELS["error"]
        while self._bytes > self._capacity:
            rank = next((rank for rank in self._ranks if rank.lines), None)
            if rank is None:
                break
            self._give_up(rank)

    def _give_up(self, rank: Rank) -> None:
        """Give up the oldest line of ``rank``."""
        place, line = rank.lines.popleft()
        self._bytes -= measure(line)
        if not rank.gaps or not rank.gaps[-1][1].takes(place):
            rank.gaps.append((place, Gap(place)))
            self._bytes += protocol.LINE_BYTES
            self._counts.logged += 1
        rank.gaps[-1][1].count += 1

    def _find_source(self) -> deque[tuple[int, Any]]:
        """The queue whose head comes first of all."""
        return min(filter(None, self._sources), key=lambda source: source[0][0])

    def _take(self) -> Request | Barrier | End:
        source = self._find_source()
        if source is self._others:
            taken: Request | Barrier | End = source.popleft()[1]
        else:
            taken = self._take_batch(source)
            self._next_linger = self._linger
        self._hurried = self._hurried and not self._is_empty()
        return taken

    def _take_batch(self, source: deque[tuple[int, Any]]) -> LogBatch:
        lines: list[str] = []
        if isinstance(source[0][1], Gap):
            lines.append(self._take_gap(source))
        # The numbers of the lines of a gap are passed over: that is how it is seen.
        first = self._counts.numbered + 1
        size = protocol.FRAME_BYTES + sum(map(protocol.measure, lines))
        place = -1
        while len(lines) < protocol.MOST_RECORDS and not self._is_empty():
            if not source or source[0][0] != place:
                source = self._find_source()
            place, line = source[0]
            if not isinstance(line, tuple):
                break
            encoded = encode(line)
            size += protocol.measure(encoded) + 2
            if lines and size > protocol.MOST_BYTES:
                break
            lines.append(encoded)
            source.popleft()
            self._bytes -= measure(line)
            place += 1
        self._counts.numbered += len(lines)
        return LogBatch(lines, first)

    def _take_gap(self, source: deque[tuple[int, Any]]) -> str:
        """The record that stands for lost lines; their numbers are skipped."""
        count = source.popleft()[1].count
        self._bytes -= protocol.LINE_BYTES
        self._counts.numbered += count
        self._counts.dropped += count
        text = f"{count} log lines are missing about here: more were waiting than may be kept"
        if count == 1:
            text = "1 log line is missing about here: more were waiting than may be kept"
        after = self._find_source()[0][1] if not self._is_empty() else None
        created = after[1] if isinstance(after, tuple) else time.time()
        return protocol.encode_line((LEVELS["warning"], created, text))


def get_rank(level: int) -> int:
    """How late a line of ``level`` is given up: 0 first, then 1, then 2."""
    return (level >= LEVELS["info"]) + (level >= LEVELS["step"])


def measure(line: Line) -> int:
    """The bytes that a line counts for: about those that it is sent as."""
    text = line[2]
    return protocol.LINE_BYTES + (len(text) if text.isascii() else 4 * len(text))


def encode(line: Line) -> str:
    """A line as JSON, cut to what a request may hold."""
    encoded = protocol.encode_line(line)
    most = protocol.MOST_BYTES - protocol.FRAME_BYTES
    return protocol.cut_line(encoded, most) if protocol.measure(encoded) > most else encoded
