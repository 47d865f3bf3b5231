"""The signals that end a run: the first stops the step that runs, a second Ctrl-C ends at once."""

from __future__ import annotations

import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nvoi.signals import list_wanted

Handler = Callable[[int, types.FrameType | None], None]


class Interruption(KeyboardInterrupt):
    """A signal that ends the run. Raised in the main thread, wherever that is.

    A KeyboardInterrupt, so that whoever lets Ctrl-C pass lets this pass too.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Signals:
    """What a signal that ends a run does: raise :class:`Interruption` until that is settled.

    Once a step has failed, or all are done, there is nothing left to stop: what follows
    undoes and reports, and a signal in the middle of that would only make it untrue. A CI
    that cancels a job sends SIGTERM some seconds after SIGINT as well. A second Ctrl-C ends
    the process all the same.
    """

    def __init__(self) -> None:
        self._settled = False

    def settle(self) -> None:
        """From now on signals no longer interrupt."""
        self._settled = True

    def handle(self, number: int, _frame: types.FrameType | None) -> None:
        """The signals' handler."""
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._settled:
            return
        self._settled = True
        raise build_interruption(number)


@contextmanager
def interruptible() -> Iterator[Signals]:
    """Inside, the signals that end a run are :class:`Signals`'. Afterwards they are ignored.

    The process is about to end with the exit code of what was done inside; a signal that came
    while the interpreter shuts down would replace it.
    """
    signals = Signals()
    with handled(signals.handle):
        try:
            yield signals
        finally:
            signals.settle()


@contextmanager
def handled(handle: Handler) -> Iterator[None]:
    """Inside, :data:`~nvoi.signals.ENDING` go to ``handle``; afterwards they are ignored.

    Those that are ignored already stay so: see :func:`~nvoi.signals.list_wanted`.
    """
    taken = list_wanted()
    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_IGN)


def build_interruption(number: int) -> Interruption:
    """What a signal that ends the run is told as."""
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return Interruption(f"interrupted ({name})", 128 + number)
