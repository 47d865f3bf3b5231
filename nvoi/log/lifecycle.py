"""From start to end: a handler's two threads, and what forks and exits of the process mean."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueListener
from typing import Any, Protocol

from nvoi.log import masking
from nvoi.log.clock import read_seconds
from nvoi.log.queueing import SENDER, marked_as_sender


class Lifecycle:
    """The two threads behind a handler's queue, the listener's and the sender's; used once.

    A caller starts the sender's thread, and that one the listener's: Python runs signal handlers
    on the main thread alone, so an exception out of one can interrupt no more than the first of
    the two steps. Which thread it is that sends, it settles itself once it runs. ``send`` is its
    body, and returns once an end came out of the queue.
    """

    def __init__(self, listener: QueueListener, send: Callable[[], None]) -> None:
        self._listener = listener
        self._send = send
        # The first of these is the thread that sends; None is whoever closes before there is one.
        # A list and no lock: nothing that Ctrl-C may cut in two.
        self._candidates: list[threading.Thread | None] = []
        self._started = self._listening = self._ended = False
        self._stopped = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether a thread sends, or will in a moment."""
        return not self._ended and (
            self._candidates[0] is not None if self._candidates else self._started
        )

    def start(self) -> None:
        """Start both threads, once; where no thread is to be had, the next call tries again."""
        if self._started or self._candidates:
            return
        # Noted first: starting a thread may log, and so come here again.
        self._started = True
        try:
            threading.Thread(target=self._run, name=SENDER, daemon=True).start()
        except BaseException as error:
            # If the thread is there all the same, it is the first, and the next ends at once.
            self._started = False
            if not isinstance(error, RuntimeError):
                raise

    def _run(self) -> None:
        self._candidates.append(threading.current_thread())
        if self._candidates[0] is not threading.current_thread():
            return
        try:
            self._listener.start()
        except RuntimeError:
            self._started = False
            del self._candidates[0]
            return
        self._listening = True
        try:
            with marked_as_sender():
                self._send()
        finally:
            self.stop_listener()
            self._ended = True

    def forbid_start(self) -> bool:
        """Start no thread any more; False where one sends."""
        self._candidates.append(None)
        return not self.running

    def join(self, seconds: float) -> bool:
        """Wait for both threads to end; False where the sender has not in ``seconds``."""
        sender = self._candidates[0] if self._candidates else None
        if sender is None:
            return True
        sender.join(min(max(0.0, seconds), threading.TIMEOUT_MAX))
        return not sender.is_alive()

    def stop_listener(self) -> None:
        """End the listener's thread, which waits for nothing, after what is queued.

        Once: a second sign to stop would end the next listener of the same queue.
        """
        if self._listening and self._stopped.acquire(blocking=False):
            self._listener.stop()


class Closable(Protocol):
    """What has to be closed before the process ends."""

    def close(self) -> None:
        """Deliver or keep what waits."""


class Watched(Closable, Protocol):
    """A handler that is told of the process's forks and of its end."""

    budget: float

    @property
    def is_closing(self) -> bool:
        """Whether a thread is at that."""

    def reset_after_fork(self) -> None:
        """In a forked child: the threads, and all that waits, are the parent's."""


class ThisProcess:
    """What there is of handlers in this process, and how it ends."""

    def __init__(self) -> None:
        # A set of references, not a WeakSet: the garbage collector may add to it at any moment,
        # also while another thread goes through it.
        self._handlers: set[weakref.ref[Watched]] = set()
        self._open: set[Closable] = set()
        self._inherited: list[object] = []
        self._has_logged = self._is_called_back = False
        # What closes all handlers at the end of a child of multiprocessing.
        self._finalizer: Any = None
        self._pipe: tuple[int, int] | None = None
        #: When the process began to end, in seconds of :mod:`nvoi.log.clock`, or None.
        self.ending_since: float | None = None

    def watch(self, handler: Watched) -> None:
        """Tell ``handler`` of forks, and close it when the process ends."""
        self._handlers.add(weakref.ref(handler, self._handlers.discard))
        self._close_at_child_end()

    def close_at_end(self, closable: Closable) -> None:
        """Close an open stream, or a sender without handler, if the process ends before it."""
        self._open.add(closable)

    def forget(self, closable: Closable) -> None:
        """It has ended by itself."""
        self._open.discard(closable)

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
        for each in [*tuple(self._open), *self._list_handlers()]:
            each.close()
        # Another thread may be closing one, within its budget: the end would cut it short.
        handlers = self._list_handlers()
        until = read_seconds() + max((handler.budget for handler in handlers), default=0.0)
        while any(handler.is_closing for handler in handlers) and read_seconds() < until:
            time.sleep(0.01)

    # -- children --------------------------------------------------------------------------

    def reset_after_fork(self) -> None:
        """In a forked child."""
        # Their locks may be held by threads that are not there: none may ever be collected.
        self._inherited.extend(self._open)
        self._open.clear()
        self.ending_since = None
        self._has_logged, self._finalizer = False, None
        if self._pipe is not None:
            # What it tells is the parent's end. A handler that the program has set since stays.
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                faulthandler.unregister(signal.SIGTERM)
            for end in self._pipe:
                os.close(end)
            self._pipe = None
        masking.masker.reset_lock()
        for handler in self._list_handlers():
            handler.reset_after_fork()
        self._close_at_child_end()

    def keep_inherited(self, sender: object) -> None:
        """Keep a sender of the process that this one was forked from, for ever."""
        self._inherited.append(sender)

    def _close_at_child_end(self) -> None:
        """Close all handlers where this is a child of multiprocessing, or becomes one, and ends.

        Such a child leaves by ``os._exit``, which calls no atexit function. It forgets what is to
        be called at its end when it begins, and calls back then.
        """
        util = sys.modules.get("multiprocessing.util")
        if util is None:
            return
        if not self._is_called_back:
            self._is_called_back = True
            util.register_after_fork(self, ThisProcess._begin_child)
        if is_child() and not (self._finalizer and self._finalizer.still_active()):
            self._finalizer = util.Finalize(None, self.close_all, exitpriority=0)

    def _begin_child(self) -> None:
        self._close_at_child_end()
        # One that is spawned has imported the program before, which may have logged.
        if self._has_logged:
            self.prepare_child()

    def prepare_child(self) -> None:
        """Have a child of multiprocessing that logs close all handlers before SIGTERM ends it.

        A pool ends its workers so as soon as it has the last result. Called with a first record.
        """
        self._has_logged = True
        # A handler of the program's own stays.
        is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if self._pipe is None and is_free and is_child() and hasattr(faulthandler, "register"):
            self._await_termination()

    def _await_termination(self) -> None:
        """Have a thread end this process by SIGTERM once all is closed.

        A handler of Python's would run on the main thread, which hears of no signal that comes
        just before it waits in a lock or a read: its pool would wait for it for ever. What
        faulthandler writes, it writes within the signal itself, on whichever thread.
        """
        reading, writing = self._pipe = os.pipe()
        # A signal that comes when nobody reads any more must not wait.
        os.set_blocking(writing, False)
        thread = threading.Thread(
            target=self._terminate, args=(reading,), name="nvoi-callback-end", daemon=True
        )
        with suppress(RuntimeError):
            thread.start()
            faulthandler.register(signal.SIGTERM, writing, all_threads=False)

    def _terminate(self, reading: int) -> None:
        """Deliver what waits, then end by the signal as if nobody had handled it."""
        os.read(reading, 1)
        try:
            self.close_all()
        finally:
            faulthandler.unregister(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)


def is_child() -> bool:
    """Whether this is a child of multiprocessing."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


this_process = ThisProcess()

atexit.register(this_process.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=this_process.reset_after_fork)
