"""From start to end: a handler's two threads, and what forks and exits of the process mean."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueListener
from typing import Protocol

from nvoi.log import masking
from nvoi.log.queueing import SENDER, marked_as_sender


class Lifecycle:
    """The two threads behind a handler's queue, the listener's and the sender's; used once.

    Args:
        listener: takes from the queue.
        send: the body of the sender's thread. It returns once an end came out of the queue.
    """

    def __init__(self, listener: QueueListener, send: Callable[[], None]) -> None:
        self._listener = listener
        self._send = send
        self._starting = threading.Lock()
        self._sender: threading.Thread | None = None
        self._ended = False
        #: Whether both were started: an attribute, as each log call looks at it.
        self.running = False

    def start(self) -> None:
        """Start both threads, once.

        None is started where the interpreter is about to end: it could not run any more, and
        Python 3.11 would wait for it for ever. Whoever closes the handler then sends what waits.
        """
        # Starting a thread may log, and so come here again.
        if sys.is_finalizing() or not self._starting.acquire(blocking=False):
            return
        try:
            if not self.running and not self._ended:
                self._start()
        finally:
            self._starting.release()

    def _start(self) -> None:
        # Noted first: an interruption in here must not have another pair started beside this one.
        self.running = True
        self._sender = threading.Thread(target=self._run, name=SENDER, daemon=True)
        try:
            self._listener.start()
        except RuntimeError:
            self.running = False
            return
        try:
            self._sender.start()
        except RuntimeError:
            self._listener.stop()
            self.running = False

    def _run(self) -> None:
        with marked_as_sender():
            self._send()

    def join(self, seconds: float) -> bool:
        """Wait for both threads to end; False where the sender has not in ``seconds``."""
        self._ended = True
        sender = self._sender
        if sender is not None and sender.ident is not None:
            sender.join(min(max(0.0, seconds), threading.TIMEOUT_MAX))
            if sender.is_alive():
                return False
        self.stop_listener()
        return True

    def stop_listener(self) -> None:
        """End the listener's thread, which waits for nothing, after what is queued."""
        if self.running:
            self.running = False
            # Where a signal cut start() short there is no thread to stop.
            with suppress(AttributeError):
                self._listener.stop()


class Watched(Protocol):
    """A handler that is told of the process's forks and of its end."""

    def close(self) -> None:
        """Deliver or keep what waits."""

    def begin_anew(self) -> None:
        """In a forked child: the threads, and all that waits, are the parent's."""


class Closable(Protocol):
    """What is left of a handler that was collected."""

    def close(self) -> None:
        """Deliver or keep what waits."""


_handlers: weakref.WeakSet[Watched] = weakref.WeakSet()
_left: weakref.WeakSet[Closable] = weakref.WeakSet()


def watch(handler: Watched) -> None:
    """Tell ``handler`` of forks, and close it when the process ends."""
    _handlers.add(handler)


def watch_left(sender: Closable) -> None:
    """Close ``sender``, whose handler is gone, when the process ends before it."""
    _left.add(sender)


class _Exit:
    """How this process ends."""

    def __init__(self) -> None:
        self.closing = False
        self.prepared = 0

    def close_all(self) -> None:
        """Close what logging.shutdown may not know of: logging.config makes it forget handlers."""
        self.closing = True
        for each in [*_handlers, *_left]:
            each.close()

    def prepare_child(self) -> None:
        """In a child of multiprocessing, close all handlers when it ends, however it does.

        Such a child leaves by ``os._exit``, which calls no atexit function; and a pool ends its
        workers by SIGTERM as soon as it has the last result.
        """
        process = sys.modules.get("multiprocessing.process")
        if process is None or process.parent_process() is None or self.prepared == os.getpid():
            return
        from multiprocessing import util  # noqa: PLC0415 - where it is in use, it is loaded

        self.prepared = os.getpid()
        util.Finalize(None, self.close_all, exitpriority=0)
        # Only a main thread may set it; a handler of the program's own stays.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, self._end)

    def _end(self, number: int, _frame: types.FrameType | None) -> None:
        """Deliver what waits, then end by the signal as if nobody had handled it."""
        if self.closing:
            return
        signal.signal(number, signal.SIG_DFL)
        try:
            self.close_all()
        finally:
            os.kill(os.getpid(), number)

    def begin_anew(self) -> None:
        """In a forked child."""
        self.closing = False
        _left.clear()
        masking.masker.reset_lock()
        for handler in list(_handlers):
            handler.begin_anew()


_exit = _Exit()
prepare_child = _exit.prepare_child

atexit.register(_exit.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_exit.begin_anew)
