"""Waiting for something that happens elsewhere: with a deadline, and a word now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nvoi import parallel

T = TypeVar("T")

#: Seconds between two lines that say what is being waited for.
NOTICE_SECONDS = 15.0
#: Good answers in a row after which something is taken to answer well, and seconds between two.
IN_A_ROW = 3
ROW_PAUSE = 0.2


class NotReadyError(Exception):
    """What is waited for is not there yet; the text says what was seen instead.

    A text that takes a while to find out is given as a function, called where it is shown.
    """

    def __str__(self) -> str:
        seen = self.args[0] if self.args else ""
        return str(seen() if callable(seen) else seen)


@dataclass(eq=False)
class Reminder:
    """Says every 15 s what a long wait is for.

    Args:
        what: what is waited for, as it reads after "waiting for".
        first: seconds until it says so the first time.
    """

    what: str
    log: logging.Logger
    clock: Callable[[], float] = time.monotonic
    first: float = NOTICE_SECONDS

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._due = self._began + self.first

    def restart(self) -> None:
        """Count the 15 s anew: something was heard."""
        self._due = self.clock() + NOTICE_SECONDS

    def tell(self, seen: object = "") -> None:
        """Log one line if 15 s have passed since the last; ``seen`` is what was seen last."""
        if self.clock() < self._due:
            return
        self.restart()
        elapsed, text = self.clock() - self._began, str(seen)
        self.log.info("waiting for %s (%.0f s)%s", self.what, elapsed, f": {text}" if text else "")


def ask_in_a_row(ask: Callable[[], T], sleep: Callable[[float], object]) -> T:
    """Ask as often as is needed to take it for well; the first bad answer ends it.

    Returns:
        the last answer.
    """
    for _ in range(IN_A_ROW - 1):
        ask()
        sleep(ROW_PAUSE)
    return ask()


def wait_for(
    look: Callable[[], T],
    *,
    what: str,
    seconds: float,
    log: logging.Logger,
    pause: float = 0.02,
    longest_pause: float = 1.0,
    first_notice: float = NOTICE_SECONDS,
    sleep: Callable[[float], object] = parallel.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call ``look`` until it returns, and return what it returned.

    Args:
        look: raises :class:`NotReadyError` while it is too early; any other exception
            ends the wait.
        what: what is waited for, as it reads after "waiting for".
        seconds: how long to go on. The last look is at or after that.
        pause: seconds between the first two looks; each next pause is half as long again.
        longest_pause: seconds the pause grows to.
        first_notice: seconds until the log says the first time what is waited for.
        sleep: how to pause; the usual way ends when the thread's task is cancelled.

    Raises:
        NotReadyError: the last one seen, once the time is over.
    """
    reminder = Reminder(what, log, clock, first_notice)
    deadline = clock() + seconds
    while True:
        left = deadline - clock()
        try:
            return look()
        except NotReadyError as seen:
            if left <= 0:
                raise
            reminder.tell(seen)
        sleep(max(0.0, min(pause, left)))
        pause = min(pause * 1.5, longest_pause)
