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
from dataclasses import dataclass
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


Item = Line | StatusEvent | Barrier | End
#: Items of one kind, each with its place among all.
Source = deque[tuple[int, Any]]
#: Lines are kept by rank, the first of which is given up first. Custom levels count as the next
#: lower one.
RANKS = ("debug", "info", "step and above")


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
        self._changed = threading.Condition(threading.Lock())
        self._lines: list[Source] = [deque() for _ in RANKS]
        #: Where older lines of a rank were given up.
        self._gaps: list[Source] = [deque() for _ in RANKS]
        self._others: Source = deque()
        self._sources = [self._others, *self._lines, *self._gaps]
        self._place = 0
        self._bytes = 0
        self._since = 0.0
        self._hurried = False
        self._stopped: End | None = None

    def append(self, item: Item) -> None:
        """Add ``item`` at the end, and give up what does not fit."""
        with self._changed:
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
        with self._changed:
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
        with self._changed:
            self._stopped = end
            self._changed.notify()

    def drain(self) -> Iterator[Request]:
        """All requests that wait, due or not, past barriers and ends too."""
        while True:
            with self._changed:
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
            or sum(map(len, self._lines)) >= protocol.MOST_RECORDS
        )

    def _append_line(self, level: int, created: float, text: str) -> None:
        # One request may hold no more text than this.
        line = (level, created, protocol.cut_text(text, protocol.MOST_BYTES))
        self._lines[get_rank(level)].append((self._place, line))
        self._bytes += measure(line)
        self._counts.logged += 1
        self._hurried |= level >= LEVELS["error"]
        while self._bytes > self._capacity:
            rank = next((rank for rank, lines in enumerate(self._lines) if lines), None)
            if rank is None:
                break
            self._give_up(*self._lines[rank].popleft(), self._gaps[rank])

    def _give_up(self, place: int, line: Line, gaps: Source) -> None:
        self._bytes -= measure(line)
        gap = gaps[-1][1] if gaps else None
        if gap is None or place - gap.first - gap.count >= _LINES_BETWEEN_GAPS:
            gap = Gap(place)
            gaps.append((place, gap))
            self._bytes += protocol.LINE_BYTES
            self._counts.logged += 1
        gap.count += 1

    def _find_source(self) -> Source:
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

    def _take_batch(self, source: Source) -> LogBatch:
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

    def _take_gap(self, source: Source) -> str:
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
