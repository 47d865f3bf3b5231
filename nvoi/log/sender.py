"""What is behind a handler's queue: two threads, the buffer between them, and what is sent.

Thread 1 is the QueueListener's: it puts what comes out of the queue into the buffer. Thread 2
takes batches out of that and has each delivered, or kept in a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from logging.handlers import QueueListener
from queue import Empty, SimpleQueue
from typing import Any

from nvoi.log.buffer import Barrier, Buffer, End
from nvoi.log.clock import LOOK_SECONDS, read_seconds
from nvoi.log.counts import SENDER, Counts, marked_as_sender
from nvoi.log.delivery import Delivery, Destination
from nvoi.log.lifecycle import this_process
from nvoi.log.transport import CONNECT_SECONDS, Transport
from nvoi.log.undelivered import UndeliveredFile
from nvoi.protocol import LogBatch, Request, StatusEvent
from nvoi.signals import Shield

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

    First nobody sends, then its thread does, and in the end whoever closes: what the thread has not
    sent by then is that one's, and so is all where no thread is to be had.

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
        #: Ends what is under way: what waits is kept.
        self.give_up = self._delivery.give_up
        self._buffer = Buffer(counts, capacity)
        #: The first of these is who sends: a thread, or None for whoever closes. A list and no
        #: lock, as a log call may come here at any moment, on any thread.
        self._senders: list[threading.Thread | None] = []
        self._is_starting = False
        #: What is being sent; whoever takes it out keeps what becomes of it.
        self._in_hand: list[Request] = []
        #: The listener as long as nobody has stopped it.
        self._listeners: list[GatheringListener] = []
        #: Whether it is being closed, so that no thread is started any more; and whether nothing
        #: of it waits any more.
        self.is_closing = self.closed = False

    # -- the two threads -------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a thread sends, or will in a moment."""
        return self._senders[0] is not None if self._senders else self._is_starting

    def start(self) -> None:
        """Start both threads, once; where no thread is to be had, the next call tries again."""
        if self._is_starting or self._senders:
            return
        with Shield():
            # Noted first: starting a thread may log, and so come here again.
            self._is_starting = True
            try:
                threading.Thread(target=self._run, name=SENDER, daemon=True).start()
            except RuntimeError:
                self._is_starting = False

    def _run(self) -> None:
        thread = threading.current_thread()
        self._senders.append(thread)
        # Whoever closes, or another thread, may have come first.
        if self._senders[0] is not thread:
            return
        listener = GatheringListener(self._queue, self)  # type: ignore[arg-type]  # asked to handle() alone
        try:
            listener.start()
        except RuntimeError:
            self._is_starting = False
            self._senders.remove(thread)
            return
        self._listeners.append(listener)
        this_process.follow_main_thread()
        try:
            with marked_as_sender():
                self._send_all()
        finally:
            self._stop_listener()
            self._senders.insert(0, None)

    def _join(self, until: float, interrupted: Sequence[object] = ()) -> bool:
        """Wait for the thread that sends, unless ``interrupted``; False where it still does."""
        while self.running and read_seconds() < until and not interrupted:
            time.sleep(LOOK_SECONDS)
        return not self.running

    def _stop_listener(self) -> None:
        """End the listener's thread after what is queued; it never waits for the network.

        Once: a second sign to stop would end the next listener of the same queue.
        """
        with suppress(IndexError):
            self._listeners.pop().stop()

    # -- what they do ----------------------------------------------------------------------

    def handle(self, item: Any) -> None:
        """Thread 1: move an item out of the queue into the buffer; never waits for the network."""
        try:
            if isinstance(item, End):
                self._end_by(item)
            elif self._counts.is_over and not isinstance(item, Barrier):
                # A log call and the end of the run met.
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
        this_process.forget(self.close)

    def _send(self, request: Request) -> None:
        """Deliver ``request``, and keep what of it was given up."""
        if not self._numbered and isinstance(request, LogBatch):
            request.first = 0
        if self._delivery.stopped:
            # The receiver refuses all, or a thread that was left has the delivery still.
            self._keep([request])
            return
        self._in_hand.append(request)
        try:
            self._delivery.deliver(request)
        except Exception as error:  # noqa: BLE001 - a deploy outlives any fault in its callback
            self._note_fault(error)
        self._keep_in_hand()

    def _keep_in_hand(self) -> None:
        """Keep what is left of the request in hand, unless another thread has done so."""
        with suppress(IndexError):
            self._in_hand.pop()
            self._keep(self._delivery.list_left())

    def _keep(self, requests: Sequence[Request]) -> None:
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
            this_process.close_at_end(self.close)
            self._queue.put(End(read_seconds(), self._budget))

    def flush(self, seconds: float) -> bool:
        """Wait until all that was queued before is delivered or kept; False where it is not."""
        if not self.running:
            return True
        until, barrier = read_seconds() + seconds, Barrier()
        with Shield() as shield:
            self._queue.put(barrier)
            # A signal's handler may flush while a close waits: then the thread ends before that.
            while self.running and read_seconds() < until and not shield.raised:
                if barrier.wait(LOOK_SECONDS):
                    break
        return barrier.is_set()

    def close(self) -> None:
        """Close within the budget, which runs since the process began to end, or from now on."""
        with Shield(self.give_up) as shield:
            self.close_by(End(this_process.ending_since or read_seconds(), self._budget), shield)

    def close_by(self, end: End, shield: Shield) -> None:
        """Deliver what can be delivered until ``end``, and keep the rest.

        What the ``shield`` holds back, such as Ctrl-C, ends the waiting, and :meth:`give_up` is
        its ``note``: all is kept at once.
        """
        self.is_closing = True
        self._senders.append(None)
        if self.running:
            self._queue.put(end)
            if not self._join(end.began + end.budget, shield.raised):
                self._abandon(end)
        self._send_rest(end)
        this_process.forget(self.close)

    def _abandon(self, end: End) -> None:
        """Have a busy thread end after its request; leave one that no deadline reaches."""
        self.give_up()
        self._buffer.stop(end)
        if not self._join(read_seconds() + _GRACE_SECONDS):
            # It waits for a name look-up.
            self._senders.insert(0, None)
            self._keep_in_hand()
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
