"""Ctrl-C and SIGTERM: the first stops the step that runs, a second Ctrl-C ends at once."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption(KeyboardInterrupt):
    """A signal that ends the run. Raised in the main thread, wherever that is.

    A KeyboardInterrupt, so that whoever lets Ctrl-C pass lets this pass too.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise :class:`Interruption`, once.

    After the first of either, what it stopped is undone and reported; meanwhile SIGTERM is
    ignored (a CI that cancels a job sends it some seconds after SIGINT), and SIGINT has its
    default effect: it ends the process.
    """
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, _frame: types.FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        raise Interruption(f"interrupted ({name})", 128 + number)

    for number, handler in previous.items():
        # A shell starts background jobs with SIGINT ignored, and means it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
