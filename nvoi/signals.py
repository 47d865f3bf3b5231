"""The signals that end a command of nvoi's, and what they do while it works."""

from __future__ import annotations

import logging
import signal
import threading
import types
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext

#: Ctrl-C; what supervisors and CIs send; a terminal that was closed or an SSH connection that was
#: lost; Ctrl-\.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: Seconds after which a wait begins anew: a signal that comes just before the wait does not end it.
LOOK_SECONDS = 0.1

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
        if is_locking(frame):
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


#: Those that are at work, the last one last.
_active: list[Signals] = []


def hold() -> AbstractContextManager[None]:
    """:meth:`Signals.hold` of those that are at work; other threads than the main one need none.

    What is made inside is known to whoever ends it before a signal can interrupt.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return _active[-1].hold() if _active and is_main else nullcontext()


@contextmanager
def interruptible(*, second_ends: bool = True) -> Iterator[Signals]:
    """Inside, the signals that end a command are :class:`Signals`'. Afterwards they are ignored.

    The process is about to end with the exit code of what was done inside; a signal that came
    while the interpreter shuts down would replace it. Those that are ignored already stay so: see
    :func:`list_handled`.
    """
    signals = Signals(second_ends=second_ends)
    wanted = list_handled()
    _active.append(signals)
    for number in wanted:
        signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        signals.settle()
        _active.remove(signals)
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
