"""What waits to be sent: a queue that never blocks its writers and knows what it gave up.

Writers append to a deque, which needs no lock, so that a log call in a signal handler or a
finaliser cannot hang on one. Whoever has the lock moves what was appended into the ordered
store; a writer does so only when much has gathered, and only if the lock is free.

Past its capacity in bytes the store gives up the lowest levels below STEP, oldest first, and
keeps a :class:`Gap` where lines are missing. What must stay and does not fit goes to an
unnamed file on disk, in order.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator

from nvoi.log import wire
from nvoi.log.levels import STEP
from nvoi.log.overflow import Barrier, Gap, Item, Overflow, Sentinel, measure
from nvoi.log.wire import LogBatch, Request

#: Bytes of waiting records, as they would be sent.
CAPACITY = 16 * 1024 * 1024
#: Seconds that the first lines of a run, and later ones, wait for company. The protocol's
#: limits are 250 ms and 1 s from the log call to the request.
FIRST_LINGER = 0.1
LINGER = 0.5

_NEVER = 1 << 62

#: Seconds that a log call on the main thread may wait for what has gathered to be moved.
_CATCH_UP_SECONDS = 0.05


class Backlog:
    """An ordered queue of lines and status events, bounded by bytes.

    Any thread may call :meth:`put_nowait`; one thread at a time calls :meth:`get`.

    Args:
        capacity: bytes of waiting records.
        linger: seconds that a line may wait for others.
        first_linger: the same for the first lines of all.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        *,
        linger: float = LINGER,
        first_linger: float = FIRST_LINGER,
    ) -> None:
        self._capacity = capacity
        self._linger = linger
        self._first_linger = first_linger
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a forked child must: what waits is its parent's to send."""
        self._inlet: deque[Item] = deque()
        self._inlet_bytes = 0
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wake_at = _NEVER
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident
        self._relief: queue.SimpleQueue[bool] | None = None
        self._relief_wanted = False
        self._store: deque[Item] = deque()
        self._store_bytes = 0
        self._lines = 0
        self._overflow = Overflow()
        self._urgent = False
        self._draining = False
        self._next_linger = self._first_linger
        self._last_taken = 0.0
        #: Lines that have their number, and how many numbers gaps took: both only grow.
        self.numbered = 0
        self.given_up = 0

    # -- writers ---------------------------------------------------------------------------

    def put_nowait(self, item: Item) -> None:
        """Append ``item``. Never waits for a lock or the network, for the disk at times."""
        inlet = self._inlet
        inlet.append(item)
        if isinstance(item, tuple):
            text = item[2]
            self._inlet_bytes += wire.LINE_BYTES + (len(text) if text.isascii() else 4 * len(text))
            if self._inlet_bytes > self._capacity >> 3:
                self._relieve()
            if item[0] >= logging.ERROR:
                self.hurry()
                return
        else:
            self.hurry()
        if len(inlet) >= self._wake_at:
            self._wake()

    def hurry(self) -> None:
        """Everything that waits is due now."""
        self._urgent = True
        self._wake()

    def _wake(self) -> None:
        self._wake_at = _NEVER
        self._wakeups.put(None)

    def _relieve(self) -> None:
        """Have moved into the store, and kept within its bounds, what has gathered.

        Signal handlers run on the main thread and may raise there, between any two steps. So
        that thread leaves the store alone; another, made when it is first needed, does it.
        """
        if threading.get_ident() != self._main:
            if self._lock.acquire(blocking=False):
                try:
                    self._absorb()
                finally:
                    self._lock.release()
            return
        if not self._relief_wanted:
            self._relief_wanted = True
            if self._relief is None:
                self._relief = queue.SimpleQueue()
                # At exit no thread can be started; what waits is then sent by who closes.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(
                        target=self._absorb_on_demand,
                        args=(self._relief,),
                        name="nvoi-backlog",
                        daemon=True,
                    ).start()
            self._relief.put(True)
        if self._inlet_bytes > self._capacity >> 2:
            self._wait_for_relief()

    def _wait_for_relief(self) -> None:
        """Let the other thread catch up, as what it has not moved is not bounded.

        It waits for the disk at most. A signal may end this wait at any step, and the thread
        may be kept by a lock that the interrupted code holds: so it is polled, and not for long.
        """
        until = time.monotonic() + _CATCH_UP_SECONDS
        while self._inlet_bytes > self._capacity >> 2:
            if time.monotonic() >= until:
                # It may not have been asked: a signal handler can raise just before that.
                self._relief_wanted = False
                return
            time.sleep(0.001)

    def _absorb_on_demand(self, relief: queue.SimpleQueue[bool]) -> None:
        while relief.get():
            self._relief_wanted = False
            with self._lock:
                self._absorb()

    def close(self) -> None:
        """End the thread of its own, if there is one. What waits can still be taken."""
        if self._relief is not None:
            self._relief.put(False)
            self._relief = None
            self._relief_wanted = False

    # -- the store, under the lock ---------------------------------------------------------

    def _absorb(self) -> None:
        inlet = self._inlet
        items = [inlet.popleft() for _ in range(len(inlet))]
        if self._overflow:
            for item in items:
                self._append_to_overflow(item)
        else:
            self._append(items)
        self._inlet_bytes = sum(map(measure, list(inlet))) if inlet else 0
        if self._store_bytes > self._capacity:
            self._shed()

    def _append(self, items: list[Item]) -> None:
        self._store.extend(items)
        self._store_bytes += sum(map(measure, items))
        self._lines += sum(isinstance(item, tuple) for item in items)

    def _append_to_overflow(self, item: Item) -> None:
        if isinstance(item, tuple) and item[0] < STEP:
            self._overflow.skip()
        else:
            self._overflow.append(item)

    def _shed(self) -> None:
        """Give up lines below STEP, level by level, until the rest fits; else move some out.

        The last level that has to give gives down to three quarters of the capacity, so that
        this is not done anew for every line.
        """
        totals: dict[int, int] = {}
        for item in self._store:
            if isinstance(item, tuple) and item[0] < STEP:
                totals[item[0]] = totals.get(item[0], 0) + measure(item)
        allowance: dict[int, int] = {}
        rest = self._store_bytes
        for level in sorted(totals):
            if rest > self._capacity:
                allowance[level] = min(rest - self._capacity * 3 // 4, totals[level])
                rest -= allowance[level]
        self._rebuild(allowance)
        if self._store_bytes > self._capacity:
            self._move_out()

    def _rebuild(self, allowance: dict[int, int]) -> None:
        """Leave out what ``allowance`` has bytes for, by level; one gap stands for all of it.

        Where every other line is left out, a gap for each would be as long as the lines.
        """
        kept: deque[Item] = deque()
        gap = Gap(0)
        for item in self._store:
            if isinstance(item, Gap):
                lost = item.count
            elif isinstance(item, tuple) and allowance.get(item[0], 0) > 0:
                allowance[item[0]] -= measure(item)
                lost = 1
            else:
                kept.append(item)
                continue
            if not gap.count:
                kept.append(gap)
            gap.count += lost
        self._replace(kept)

    def _replace(self, store: deque[Item]) -> None:
        self._store = store
        self._store_bytes = sum(map(measure, store))
        self._lines = sum(isinstance(item, tuple) for item in store)

    def _move_out(self) -> None:
        """Move what is over half of the capacity to the disk: all of it is to stay.

        The overflow is empty before, and the store stays below its capacity as long as it is
        not: all of it is newer than the store.
        """
        kept: deque[Item] = deque()
        size = 0
        for item in self._store:
            size += measure(item)
            if size <= self._capacity // 2:
                kept.append(item)
            else:
                self._overflow.append(item)
        self._replace(kept)

    def _refill(self) -> None:
        """Take back from the disk what fits in half of the capacity."""
        for item in self._overflow.read():
            self._store.append(item)
            self._store_bytes += measure(item)
            self._lines += isinstance(item, tuple)
            if self._store_bytes > self._capacity // 2:
                return

    # -- the reader ------------------------------------------------------------------------

    def get(self) -> Request | Barrier | Sentinel:
        """The next request as soon as it is due, a barrier, or the sentinel."""
        # What gathered while the last request was under way has waited since it began.
        since: float | None = self._last_taken or None
        while True:
            # Read before the inlet: a writer appends first, so what is urgent is seen.
            if self._urgent:
                self._urgent, self._draining = False, True
            with self._lock:
                self._absorb_all()
                now = time.monotonic()
                since = (since or now) if self._store else None
                due = None if since is None else since + self._next_linger
                if self._store and (self._is_ready() or now >= (due or 0)):
                    self._last_taken = now
                    taken = self._take()
                    self._draining = self._draining and bool(self._store or self._overflow)
                    return taken
                wanted = max(1, wire.MOST_RECORDS - self._lines) if self._store else 1
            self._wait(wanted, None if due is None else due - now)

    def drain(self) -> Iterator[Request]:
        """All requests that wait, due or not, past barriers and sentinels too.

        One at a time: what waits on the disk is more than memory is to hold.
        """
        while (taken := self._take_any()) is not None:
            if isinstance(taken, Barrier):
                taken.passed.set()
            elif not isinstance(taken, Sentinel):
                yield taken

    def _take_any(self) -> Request | Barrier | Sentinel | None:
        with self._lock:
            self._absorb_all()
            return self._take() if self._store else None

    def _absorb_all(self) -> None:
        self._absorb()
        if not self._store and self._overflow:
            self._refill()

    def _is_ready(self) -> bool:
        return (
            self._draining
            or bool(self._overflow)
            or self._lines >= wire.MOST_RECORDS
            or self._store_bytes >= wire.MOST_BYTES
            or not isinstance(self._store[0], (tuple, Gap))
        )

    def _wait(self, wanted: int, timeout: float | None) -> None:
        self._wake_at = wanted
        # A writer that appended before it could see this does not wake us.
        if len(self._inlet) < wanted and not self._urgent:
            with contextlib.suppress(queue.Empty):
                self._wakeups.get(timeout=timeout)
        self._wake_at = _NEVER
        with contextlib.suppress(queue.Empty):
            while True:
                self._wakeups.get_nowait()

    def _take(self) -> Request | Barrier | Sentinel:
        head = self._store[0]
        if isinstance(head, (tuple, Gap)):
            self._next_linger = self._linger
            return self._take_batch()
        self._store.popleft()
        self._store_bytes -= measure(head)
        return head

    def _take_batch(self) -> LogBatch:
        lines: list[str] = []
        if isinstance(self._store[0], Gap):
            lines.append(self._take_gap())
        # The numbers of the lines of a gap are passed over: that is how it is seen.
        first = self.numbered + 1
        size = wire.FRAME_BYTES + sum(map(wire.measure, lines))
        while self._store and len(lines) < wire.MOST_RECORDS:
            item = self._store[0]
            if not isinstance(item, tuple):
                break
            encoded = wire.encode_line(item)
            if wire.measure(encoded) > wire.MOST_BYTES - wire.FRAME_BYTES:
                encoded = wire.cut_line(encoded, wire.MOST_BYTES - wire.FRAME_BYTES)
            size += wire.measure(encoded) + 2
            if lines and size > wire.MOST_BYTES:
                break
            lines.append(encoded)
            self._store.popleft()
            self._store_bytes -= measure(item)
            self._lines -= 1
        self.numbered += len(lines)
        return LogBatch(lines, first)

    def _take_gap(self) -> str:
        """The record that stands for lost lines; their numbers are skipped."""
        gap = self._store.popleft()
        count = gap.count if isinstance(gap, Gap) else 0
        self._store_bytes -= measure(gap)
        self.numbered += count
        self.given_up += count
        text = f"{count} log lines are missing about here: more were waiting than may be kept"
        after = self._store[0] if self._store else None
        created = after[1] if isinstance(after, tuple) else time.time()
        return wire.encode_line((logging.WARNING, created, text))
