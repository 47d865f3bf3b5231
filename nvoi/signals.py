"""Signals: what those that end a command of nvoi's do, and how to be cut short by none."""

from __future__ import annotations

import logging
import os
import signal
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Self

#: Ctrl-C; what supervisors and CIs send; a terminal that was closed or an SSH connection that was
#: lost; Ctrl-\.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: Seconds after which a wait begins anew: a signal that comes just before the wait does not end it.
LOOK_SECONDS = 0.1

#: The signals whose handlers programs let raise: those that end them, a timer's, and those by which
#: supervisors have a worker stop, as Celery (soft time limit) and gunicorn (time-out) do.
RAISING = (*ENDING, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGABRT)

#: What takes or gives back a lock in the standard library: a lock stays taken for ever where an
#: exception comes between its own code and the caller's.
LOCKING = frozenset(
    {
        *("__enter__", "__exit__", "acquire", "release", "_acquire_restore", "_release_save"),
        *("_acquireLock", "_releaseLock"),
    }
)
LOCK_FILES = frozenset({threading.__file__, logging.__file__, Future.done.__code__.co_filename})
#: Seconds until a signal that came at such a moment is looked at again.
SOON = 0.001


def is_locking(frame: types.FrameType | None) -> bool:
    code = frame and frame.f_code
    return code is not None and code.co_name in LOCKING and code.co_filename in LOCK_FILES


def list_handled() -> list[signal.Signals]:
    """Those of :data:`ENDING` that this process was not started to ignore.

    A shell starts background jobs with SIGINT and SIGQUIT ignored, nohup a command with SIGHUP,
    and both mean it.
    """
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


class Interruption(KeyboardInterrupt):
    """A signal that ends the command. Raised in the main thread, wherever that is.

    A KeyboardInterrupt, so that whoever lets Ctrl-C pass lets this pass too.
    """

    def __init__(self, number: int, consequence: str = "") -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"interrupted ({name}){consequence}")
        self.exit_code = 128 + number


class Signals:
    """What a signal that ends a command does: raise :class:`Interruption` until that is settled.

    Once a step has failed, or all are done, there is nothing left to stop: what follows
    undoes and reports, and a signal in the middle of that would only make it untrue. A CI
    that cancels a job sends SIGTERM some seconds after SIGINT as well. A second Ctrl-C ends
    the process all the same where ``second_ends`` is true.
    """

    def __init__(self, *, second_ends: bool) -> None:
        self._second_ends = second_ends
        self._numbers: list[int] = []
        self._holds = 0
        self._settled = False

    @property
    def number(self) -> int | None:
        """The first signal that came, None where none has."""
        return self._numbers[0] if self._numbers else None

    def settle(self) -> None:
        """From now on signals no longer interrupt."""
        self._settled = True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Inside, no signal interrupts, not even a second one; one that came does at the end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._interrupt()

    def handle(self, number: int, frame: types.FrameType | None) -> None:
        # A shield keeps what is raised from whatever is taking a lock.
        if is_locking(frame) and not _shields:
            signal.signal(signal.SIGALRM, lambda _, later: self.handle(number, later))
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return
        self._numbers.append(number)
        self._interrupt()

    def _interrupt(self) -> None:
        if not self._numbers or self._holds:
            return
        if self._second_ends and signal.SIGINT in self._numbers:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not self._settled:
            self._settled = True
            raise Interruption(self._numbers[0])


@contextmanager
def interruptible(*, second_ends: bool = True) -> Iterator[Signals]:
    """Inside, the signals that end a command are :class:`Signals`'. Afterwards they are ignored.

    The process is about to end with the exit code of what was done inside; a signal that came
    while the interpreter shuts down would replace it. Those that are ignored already stay so: see
    :func:`list_handled`.
    """
    signals = Signals(second_ends=second_ends)
    wanted = list_handled()
    for number in wanted:
        signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        signals.settle()
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)


class Shield:
    """Inside, no signal cuts anything in two: what its handler raises, as for Ctrl-C, has to wait.

    Handlers are called as ever, and what they raise is raised at the end. Python calls them on the
    main thread alone: on others there is nothing to hold back.

    Args:
        note: called, inside a handler, each time that one has raised.
    """

    def __init__(self, note: Callable[[], object] = lambda: None) -> None:
        self._note = note
        self._handlers: dict[int, Any] = {}
        #: What was held back.
        self.raised: list[BaseException] = []

    def __enter__(self) -> Self:
        if threading.get_ident() != threading.main_thread().ident:
            return self
        # First of all, so that what comes from here on is held back; what comes just before that is
        # raised by its own handler.
        _shields.append(self)
        try:
            for number in RAISING:
                if callable(handler := signal.getsignal(number)):
                    self._handlers[number] = handler
                    # Another interpreter of the process has no signals.
                    with suppress(ValueError):
                        signal.signal(number, self._handle)
        except BaseException:
            self.lower()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.lower()
        if self.raised:
            raise self.raised[0]

    def lower(self) -> None:
        """Give the handlers back; one that was set inside stays."""
        try:
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, handler)
        finally:
            if self in _shields:
                _shields.remove(self)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            # One that could not be given back is as its program's from then on.
            if self not in _shields:
                raise
            self.raised.append(error)
            self._note()


#: The main thread's shields, each within those before it.
_shields: list[Shield] = []


def _lower_all() -> None:
    """In a forked child, the thread that would lower them may be none of its own."""
    for shield in reversed(_shields):
        shield.lower()


os.register_at_fork(after_in_child=_lower_all)
