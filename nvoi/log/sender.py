"""What is behind a handler's queue: two threads, the buffer between them, and what is sent.

Thread 1 is the QueueListener's: it puts what comes out of the queue into the buffer. Thread 2
takes batches out of that and has each delivered, or kept in a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from logging.handlers import QueueListener
from queue import Empty, SimpleQueue
from typing import Any

from nvoi.log.buffer import Barrier, Buffer, End
from nvoi.log.clock import read_seconds
from nvoi.log.counts import SENDER, Counts, marked_as_sender
from nvoi.log.delivery import Delivery, Destination
from nvoi.log.lifecycle import this_process
from nvoi.log.transport import CONNECT_SECONDS, Transport
from nvoi.log.undelivered import UndeliveredFile
from nvoi.protocol import LogBatch, Request, StatusEvent
from nvoi.signals import LOOK_SECONDS

#: The part of the closing budget after which logs are given up; the rest is the terminal status's.
LOGS_SHARE = 0.7
#: The part after which that is given up too; the thread needs a moment to end.
FINAL_SHARE = 0.97

#: Seconds for a thread to end that is given up and only busy.
_GRACE_SECONDS = 0.2

#: How long the listener leaves callers alone when it has read all that there was.
_GATHER_SECONDS = 0.01


class GatheringListener(QueueListener):
    """A QueueListener that no caller has to wake for each item: they come in a row."""

    queue: SimpleQueue[Any]

    def dequeue(self, block: bool) -> Any:
        with suppress(Empty):
            return self.queue.get_nowait()
        time.sleep(_GATHER_SECONDS)
        return self.queue.get(block)


class Sender:
    """Sends what is put into a queue, from the first item to :meth:`close`. Used once.

    Nothing of it refers to the handler before it: a handler that nobody can log to any more is
    collected, and its sender then ends by itself.

    ``queue`` is the handler's, whose next sender takes it over. ``capacity`` is in bytes of waiting
    records, ``budget`` in seconds for closing where nobody says otherwise. In a forked child
    records are not ``numbered``, as the numbers are its parent's.
    """

    def __init__(
        self,
        queue: SimpleQueue[Any],
        destination: Destination,
        undelivered: UndeliveredFile,
        counts: Counts,
        *,
        capacity: int,
        budget: float,
        numbered: bool,
    ) -> None:
        self._queue = queue
        self._undelivered = undelivered
        self._counts = counts
        self._budget = budget
        self._numbered = numbered
        # Connecting is the one step that no deadline can be brought forward for.
        connect_seconds = min(CONNECT_SECONDS, max(0.1, budget * (1 - LOGS_SHARE)))
        transport = Transport(destination.url, connect_seconds=connect_seconds)
        self._delivery = Delivery(destination, transport, counts)
        self._buffer = Buffer(counts, capacity)
        self._listener = GatheringListener(queue, self)  # type: ignore[arg-type]  # asked to handle() alone
        # The first of these is the thread that sends; None is whoever closes before there is one.
        # A list and no lock: nothing that Ctrl-C may cut in two.
        self._candidates: list[threading.Thread | None] = []
        self._is_started = self._is_listening = self._is_ended = False
        self._stopping = threading.Lock()
        # Held until the thread that sends has ended. Its own join() would not do: where Ctrl-C cuts
        # that short, Python 3.11 and 3.12 take the thread for ended.
        self._sending = threading.Lock()
        self._sending.acquire()
        self._left: threading.Thread | None = None
        #: Whether it is being closed, so that no thread is started any more; and whether nothing
        #: of it waits any more.
        self.is_closing = self.closed = False

    # -- the two threads -------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a thread sends, or will in a moment."""
        return not self._is_ended and (
            self._candidates[0] is not None if self._candidates else self._is_started
        )

    def start(self) -> None:
        """Start both threads, once; where no thread is to be had, the next call tries again.

        The caller starts the thread that sends, which starts the listener's: Python runs signal
        handlers on the main thread alone, so an exception out of one can interrupt no more than the
        first of the two steps.
        """
        if self._is_started or self._candidates:
            return
        # Noted first: starting a thread may log, and so come here again.
        self._is_started = True
        try:
            threading.Thread(target=self._run, name=SENDER, daemon=True).start()
        except BaseException as error:
            # If the thread is there all the same, it is the first, and the next ends at once.
            self._is_started = False
            if not isinstance(error, RuntimeError):
                raise

    def _run(self) -> None:
        self._candidates.append(threading.current_thread())
        if self._candidates[0] is not threading.current_thread():
            return
        try:
            self._listener.start()
        except RuntimeError:
            self._is_started = False
            del self._candidates[0]
            return
        self._is_listening = True
        try:
            with marked_as_sender():
                self._send_all()
        finally:
            self._stop_listener()
            self._is_ended = True
            self._sending.release()

    def _join(self, seconds: float) -> bool:
        """Wait for the thread that sends, which ends the listener's; False where it still runs."""
        until = read_seconds() + seconds
        while self.running and (left := until - read_seconds()) > 0:
            # Anew now and then: a signal that comes just before a wait does not end it.
            self._sending.acquire(timeout=min(left, LOOK_SECONDS))
        return not self.running

    def _stop_listener(self) -> None:
        """End the listener's thread after what is queued; it never waits for the network.

        Once: a second sign to stop would end the next listener of the same queue.
        """
        if self._is_listening and self._stopping.acquire(blocking=False):
            self._listener.stop()

    # -- what they do ----------------------------------------------------------------------

    def handle(self, item: Any) -> None:
        """Thread 1: move an item out of the queue into the buffer; never waits for the network."""
        try:
            if isinstance(item, End):
                self._end_by(item)
            elif self._counts.is_over and not isinstance(item, Barrier):
                # A log call and the end of the run met, or Ctrl-C cut in two what ended it.
                return
            elif isinstance(item, StatusEvent):
                self._counts.is_over = item.terminal
            self._buffer.append(item)
        except Exception as error:  # noqa: BLE001 - the next item comes, whatever becomes of this
            self._note_fault(error)

    def _end_by(self, end: End) -> None:
        budget = end.budget
        self._delivery.end_by(end.began + budget * LOGS_SHARE, end.began + budget * FINAL_SHARE)

    def _send_all(self) -> None:
        """Thread 2: one request after the other, until the end."""
        while not isinstance(request := self._buffer.take(), End):
            if isinstance(request, Barrier):
                request.set()
            else:
                self._send(request)
        self._delivery.close()
        this_process.forget(self)

    def _send(self, request: Request) -> None:
        """Deliver ``request``, or keep what of it was given up."""
        if not self._numbered and isinstance(request, LogBatch):
            request.first = 0
        try:
            # Stopped: the receiver refuses all, or a thread that was left has the delivery still.
            given_up = [request] if self._delivery.stopped else self._delivery.deliver(request)
        except Exception as error:  # noqa: BLE001 - a deploy outlives any fault in its callback
            self._note_fault(error)
            given_up = list(self._delivery.pending)
        except BaseException:
            # Ctrl-C, where it is the main thread that sends.
            self._keep(self._delivery.pending)
            raise
        # What a thread had that was left, whoever closed has kept.
        if threading.current_thread() is not self._left:
            self._keep(given_up)

    def _keep(self, requests: Iterable[Request]) -> None:
        counts = self._counts
        for request in requests:
            lines = len(request.lines) if isinstance(request, LogBatch) else 0
            counts.dropped += lines
            try:
                self._undelivered.append(request, counts.numbered, counts.delivered)
                counts.undelivered += lines
            except OSError as error:
                text = f"what was not delivered could not be kept either: {error.strerror}"
                counts.note_trouble("disk", text)

    def _note_fault(self, error: Exception) -> None:
        self._counts.note_trouble("fault", f"sending failed: {type(error).__name__}")

    # -- the end ---------------------------------------------------------------------------

    def leave(self) -> None:
        """End by itself, with what is queued and within the budget, as the handler is gone.

        Only puts: a finaliser calls it, on any thread, at any moment.
        """
        if self.running or not self._queue.empty():
            this_process.close_at_end(self)
            self._queue.put(End(read_seconds(), self._budget))

    def flush(self, seconds: float) -> bool:
        """Wait until all that was queued before is delivered or kept; False where it is not."""
        if not self.running:
            return True
        barrier = Barrier()
        self._queue.put(barrier)
        return barrier.wait(min(seconds, threading.TIMEOUT_MAX))

    def close(self, end: End | None = None) -> None:
        """Deliver what can be delivered until ``end``, and keep the rest.

        Where left out, the budget runs since the process began to end, or from now on.
        """
        if end is None:
            end = End(this_process.ending_since or read_seconds(), self._budget)
        self.is_closing = True
        self._candidates.append(None)
        ended = not self.running
        try:
            if not ended:
                self._queue.put(end)
                ended = self._join(end.began + end.budget - read_seconds())
        finally:
            # Whatever ended the wait, a second Ctrl-C perhaps, nothing is lost by it.
            if not ended:
                self._abandon(end)
            self._send_rest(end)
        this_process.forget(self)

    def _abandon(self, end: End) -> None:
        """Have a busy thread end after its request; leave one that no deadline reaches."""
        self._delivery.stopped = "the run has ended"
        self._buffer.stop(end)
        if not self._join(_GRACE_SECONDS):
            # It waits for a name look-up.
            self._left = self._candidates[0]
            self._keep(list(self._delivery.pending))
            self._stop_listener()

    def _send_rest(self, end: End) -> None:
        """Send, or keep, on this thread what waits: at exit no thread may have been started."""
        with marked_as_sender():
            # What is there now: threads of the program may log on faster than this takes it.
            for _ in range(self._queue.qsize()):
                with suppress(Empty):
                    item = self._queue.get_nowait()
                    # None is for a listener that has yet to read that it shall stop.
                    (self._queue.put if item is None else self.handle)(item)
            self._end_by(end)
            for request in self._buffer.drain():
                self._send(request)
        self.closed = True
