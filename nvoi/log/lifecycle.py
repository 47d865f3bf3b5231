"""From start to end: a handler's two threads, and what forks and exits of the process mean."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueListener
from typing import Protocol

from nvoi.log import masking
from nvoi.log.clock import read_seconds
from nvoi.log.queueing import SENDER, marked_as_sender

#: Seconds for a thread that has done its work to be gone.
_JOIN_SECONDS = 1.0


class Lifecycle:
    """The two threads behind a handler's queue, the listener's and the sender's; used once.

    A caller starts the sender's thread, and that one the listener's: Python runs signal handlers
    on the main thread alone, so an exception out of one can interrupt no more than the first of
    the two steps. Which thread it is that sends, it settles itself once it runs.

    Args:
        listener: takes from the queue.
        send: the body of the sender's thread. It returns once an end came out of the queue.
    """

    def __init__(self, listener: QueueListener, send: Callable[[], None]) -> None:
        self._listener = listener
        self._send = send
        # Taken for good, by the thread that sends or by whoever closes before there is one.
        self._claim = threading.Lock()
        self._started = False
        self._stopped = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a thread sends, or will in a moment."""
        return (self._started or self._claim.locked()) and not self._ended.is_set()

    def start(self) -> None:
        """Start both threads, once; where no thread is to be had, the next call tries again.

        None is started where the interpreter is about to end: it could not run any more, and
        Python 3.11 would wait for it for ever. Whoever closes the handler then sends what waits.
        """
        if self._started or self._claim.locked() or sys.is_finalizing():
            return
        # Noted first: starting a thread may log, and so come here again.
        self._started = True
        try:
            threading.Thread(target=self._run, name=SENDER, daemon=True).start()
        except BaseException as error:
            # If the thread is there all the same, it has the claim and the next one ends at once.
            self._started = False
            if not isinstance(error, RuntimeError):
                raise

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        try:
            self._listener.start()
        except RuntimeError:
            self._started = False
            self._claim.release()
            return
        try:
            with marked_as_sender():
                self._send()
        finally:
            self.stop_listener()
            self._ended.set()

    def retire(self) -> bool:
        """Start no thread any more; False where one sends."""
        if self._claim.acquire(blocking=False):
            self._ended.set()
        return self._ended.is_set()

    def join(self, seconds: float) -> bool:
        """Wait for both threads to end; False where the sender has not in ``seconds``."""
        if not self._ended.wait(min(max(0.0, seconds), threading.TIMEOUT_MAX)):
            return False
        if self._thread is not None:
            # Its last step takes a lock of threading's, which a caller in a signal handler may
            # be holding.
            self._thread.join(_JOIN_SECONDS)
        return True

    def stop_listener(self) -> None:
        """End the listener's thread, which waits for nothing, after what is queued.

        Once: a second sign to stop would end the next listener of the same queue.
        """
        if self._thread is not None and self._stopped.acquire(blocking=False):
            self._listener.stop()


class Closable(Protocol):
    """A handler, or the sender that is left of one."""

    def close(self) -> None:
        """Deliver or keep what waits."""


class Watched(Closable, Protocol):
    """A handler that is told of the process's forks and of its end."""

    def begin_anew(self) -> None:
        """In a forked child: the threads, and all that waits, are the parent's."""


class ThisProcess:
    """What there is of handlers in this process, and how it ends."""

    def __init__(self) -> None:
        # A set of references, not a WeakSet: the garbage collector may add to it at any moment,
        # also while another thread goes through it.
        self._handlers: set[weakref.ref[Watched]] = set()
        self._left: set[Closable] = set()
        self._inherited: list[object] = []
        self._closing: list[object] = []
        self._held: int | None = None
        self._follows = False
        self._prepared = False
        #: When the process began to end, in seconds of :mod:`nvoi.log.clock`, or None.
        self.ending_since: float | None = None

    def watch(self, handler: Watched) -> None:
        """Tell ``handler`` of forks, and close it when the process ends."""
        self._handlers.add(weakref.ref(handler, self._handlers.discard))
        self._follow_multiprocessing()

    def watch_left(self, sender: Closable) -> None:
        """Close ``sender``, whose handler is gone, if the process ends before it."""
        self._left.add(sender)

    def forget_left(self, sender: Closable) -> None:
        """``sender`` has ended."""
        self._left.discard(sender)

    def _list_handlers(self) -> list[Watched]:
        found = [reference() for reference in tuple(self._handlers)]
        return [handler for handler in found if handler is not None]

    # -- the end ---------------------------------------------------------------------------

    def close_all(self) -> None:
        """Close what logging.shutdown may not know of: logging.config makes it forget handlers.

        The process ends with that: all that is closed from here on has its budget from now.
        """
        if self.ending_since is None:
            self.ending_since = read_seconds()
        with self.closing():
            for each in [*self._list_handlers(), *tuple(self._left)]:
                each.close()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Inside, something is being closed: a SIGTERM waits until that is done."""
        self._closing.append(None)
        try:
            yield
        finally:
            self._closing.pop()
            if self._held is not None and not self._closing:
                number, self._held = self._held, None
                os.kill(os.getpid(), number)

    # -- children --------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """In a forked child."""
        # Their locks may be held by threads that are not there: none may ever be collected.
        self._inherited.extend(self._left)
        self._left.clear()
        self._closing.clear()
        self.ending_since = self._held = None
        self._prepared = False
        masking.masker.reset_lock()
        for handler in self._list_handlers():
            handler.begin_anew()
        self._follow_multiprocessing()

    def inherit(self, sender: object) -> None:
        """Keep a sender of the process that this one was forked from, for ever."""
        self._inherited.append(sender)

    def _follow_multiprocessing(self) -> None:
        """Prepare this process if it is a child of multiprocessing, and any that it will start.

        multiprocessing calls back on the main thread of a child, where alone a signal handler can
        be set, before the child's own work begins.
        """
        util = sys.modules.get("multiprocessing.util")
        if util is None:
            return
        if not self._follows:
            self._follows = True
            util.register_after_fork(self, ThisProcess._prepare_anew)
        self._prepare()

    def _prepare_anew(self) -> None:
        self._prepared = False
        self._prepare()

    def _prepare(self) -> None:
        """In a child of multiprocessing, close all handlers when it ends, however it does.

        Such a child leaves by ``os._exit``, which calls no atexit function; and a pool ends its
        workers by SIGTERM as soon as it has the last result.
        """
        multiprocessing = sys.modules["multiprocessing.process"]
        if self._prepared or multiprocessing.parent_process() is None:
            return
        self._prepared = True
        sys.modules["multiprocessing.util"].Finalize(None, self.close_all, exitpriority=0)
        # A handler of the program's own stays.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, _frame: types.FrameType | None) -> None:
        """Deliver what waits, then end by the signal as if nobody had handled it."""
        if self._closing:
            self._held = number
            return
        try:
            self.close_all()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


this_process = ThisProcess()

atexit.register(this_process.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=this_process.begin_anew)
