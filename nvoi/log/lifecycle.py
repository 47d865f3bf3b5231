"""What signals, forks and the end of the process mean for handlers and what they have to send."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from nvoi.log import masking
from nvoi.log.clock import read_seconds

#: The name of each thread that waits for the end of the process.
_END = "nvoi-callback-end"

#: What faulthandler writes begins with this.
_TERMINATED = b"S"


class Watched(Protocol):
    """A handler that is told of the process's forks and of its end."""

    def close(self, *, blocking: bool) -> None:
        """Deliver or keep what waits; if ``blocking``, wait for another thread that closes it."""

    def reset_after_fork(self) -> None:
        """In a forked child: the threads, and all that waits, are the parent's."""


class ThisProcess:
    """What there is of handlers in this process, and how it ends."""

    def __init__(self) -> None:
        # A set of references, not a WeakSet: the garbage collector may add to it at any moment,
        # also while another thread goes through it.
        self._handlers: set[weakref.ref[Watched]] = set()
        self._open: set[Callable[[], None]] = set()
        self._is_called_back = False
        # What closes all handlers at the end of a child of multiprocessing.
        self._finalizer: Any = None
        self._pipe: tuple[int, int] | None = None
        self._main_thread = threading.main_thread()
        self._is_followed = False
        #: When the process began to end, in seconds of :mod:`nvoi.log.clock`, or None.
        self.ending_since: float | None = None

    def watch(self, handler: Watched) -> None:
        """Tell ``handler`` of forks, and close it when the process ends."""
        self._handlers.add(weakref.ref(handler, self._handlers.discard))
        self._close_at_child_end()
        if is_child():
            self._await_termination()

    def close_at_end(self, close: Callable[[], None]) -> None:
        """Close an open stream, or a sender without handler, if the process ends before it."""
        self._open.add(close)

    def forget(self, close: Callable[[], None]) -> None:
        self._open.discard(close)

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
        for close in tuple(self._open):
            close()
        for handler in self._list_handlers():
            handler.close(blocking=True)

    # -- children --------------------------------------------------------------------------

    def reset_after_fork(self) -> None:
        # Python keeps what threads that are not there have in their frames, and so no lock is
        # ever collected that one of them holds. A handler that is collected would have its
        # parent's sender deliver what waits, here too: first each gets one of its own.
        handlers = self._list_handlers()
        self._open.clear()
        self.ending_since = self._finalizer = None
        self._is_followed = False
        self._forget_termination()
        masking.masker.reset_lock()
        for handler in handlers:
            handler.reset_after_fork()
        self._close_at_child_end()

    def follow_main_thread(self) -> None:
        """Close all when the main thread ends, where this is a child that another thread forked.

        That one is the main thread here, and at its end Python calls no exit hook: the process goes
        on for as long as any thread does, such as those that send.
        """
        if self._is_followed or threading.main_thread() is self._main_thread:
            return
        self._is_followed = True
        with suppress(RuntimeError):
            threading.Thread(target=self._close_last, name=_END, daemon=True).start()

    def _close_last(self) -> None:
        # One that no Thread stands for cannot be waited for.
        with suppress(RuntimeError, AssertionError):
            threading.main_thread().join()
            self.close_all()

    def _close_at_child_end(self) -> None:
        """Close all handlers where this is a child of multiprocessing, or becomes one, and ends.

        Such a child leaves by ``os._exit``, which calls no atexit function, but its finalizers. It
        forgets its parent's when it begins, and then calls what is registered here.
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
        if self._list_handlers():
            self._await_termination()

    def _await_termination(self) -> None:
        """Have a thread end this process by SIGTERM once all is closed.

        A pool ends its workers so as soon as it has the last result. The main thread runs Python's
        handlers, but hears of no signal that comes just before it waits in a lock or a read: its
        pool would wait for it for ever. What ``set_wakeup_fd`` is for is written within the signal
        itself, on whichever thread. Only the main thread may ask for it; on others faulthandler
        does the same, but for threads that just begin.
        """
        # A handler of the program's own stays.
        if self._pipe is not None or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        reading, writing = self._pipe = os.pipe()
        # A signal that comes when nobody reads any more must not wait.
        os.set_blocking(writing, False)
        thread = threading.Thread(target=self._terminate, args=(reading,), name=_END, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread is to be had: the next handler tries again.
            self._pipe = None
            os.close(reading)
            os.close(writing)
            return
        # It can set the signal back on any thread, which is why it comes first on the main one too.
        faulthandler.register(signal.SIGTERM, writing, all_threads=False)
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, self._note_termination)
            if (others := signal.set_wakeup_fd(writing, warn_on_full_buffer=False)) >= 0:
                signal.set_wakeup_fd(others)

    def _note_termination(self, *_: object) -> None:
        """The handler of SIGTERM, for where the program uses ``set_wakeup_fd`` itself."""
        if self._pipe is not None:
            with suppress(BlockingIOError):
                os.write(self._pipe[1], _TERMINATED)

    def _forget_termination(self) -> None:
        """In a forked child: what the pipe tells is the parent's end."""
        if self._pipe is None:
            return
        reading, writing = self._pipe
        self._pipe = None
        # A handler that the program has set since stays.
        if signal.getsignal(signal.SIGTERM) in {signal.SIG_DFL, self._note_termination}:
            faulthandler.unregister(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if (others := signal.set_wakeup_fd(-1)) != writing:
            signal.set_wakeup_fd(others)
        os.close(reading)
        os.close(writing)

    def _terminate(self, reading: int) -> None:
        """Deliver what waits, then end by the signal as if nobody had handled it."""
        while (told := os.read(reading, 1)) != _TERMINATED:
            # Other signals wake too, and this one where the program has a handler since.
            handler = signal.getsignal(signal.SIGTERM)
            if told[0] == signal.SIGTERM and handler == self._note_termination:
                break
        try:
            self.close_all()
        finally:
            faulthandler.unregister(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)


def is_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


this_process = ThisProcess()

atexit.register(this_process.close_all)
os.register_at_fork(after_in_child=this_process.reset_after_fork)
