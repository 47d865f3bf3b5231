"""The account of a run: its records, its requests, and what went wrong, told once a kind.

It is told to all but the dashboards, whichever way it comes: no sender feeds on its own work.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from nvoi.log import rendering

#: The name of each thread that sends. What comes from one of another process, or by way of a
#: program's own queue, is known by it.
SENDER = "nvoi-callback-sender"

#: The logger of what a sender has to tell. A record of it may come by way of a program's own
#: queue, too.
LOGGER = "nvoi.callback"

_thread = threading.local()


@dataclass
class Stats:
    """What became of a run's records and requests so far.

    ``logged`` counts the records taken from log calls and a warning for each gap, ``delivered``
    those acknowledged, ``dropped`` those given up, be it for room or because the receiver did not
    take them: ``logged - delivered`` once the run is closed. ``undelivered`` of the dropped are
    kept in a file. ``troubles`` counts failed attempts and faults, by kind.
    """

    logged: int = 0
    delivered: int = 0
    dropped: int = 0
    undelivered: int = 0
    requests: int = 0
    retries: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    terminal_delivered: bool = False


@dataclass(kw_only=True)
class Counts(Stats):
    """The account itself, which sender, buffer and delivery share. No number ever shrinks.

    ``tell`` is called once for each kind of trouble.
    """

    tell: Callable[[str], None]
    #: The number of the last record that was taken out of the buffer.
    numbered: int = 0
    #: Whether the run has its terminal status, after which nothing may follow.
    is_over: bool = False

    def note_trouble(self, kind: str, text: str) -> None:
        """Count a trouble, and tell it if it is the first of its kind."""
        self.troubles[kind] = self.troubles.get(kind, 0) + 1
        if self.troubles[kind] == 1:
            self.tell(text)

    def sum_up(self, *, is_closed: bool) -> Stats:
        """A copy as of now; of what ``is_closed`` nothing more is delivered."""
        names = [each.name for each in dataclasses.fields(Stats)]
        stats = Stats(**{name: copy.copy(getattr(self, name)) for name in names})
        left = stats.logged - stats.delivered
        # What was given up may have arrived all the same.
        stats.dropped = left if is_closed else min(left, stats.dropped)
        return stats


@contextmanager
def marked_as_sender() -> Iterator[None]:
    """Inside, what this thread logs is of the sending itself, and goes to no dashboard."""
    before = is_sender()
    _thread.sends = True
    try:
        yield
    finally:
        _thread.sends = before


def tell(level: int, text: str, *args: object) -> None:
    """Log what a sender has to tell, for all but the dashboards."""
    # What a program has on this logger may fail, which is no reason to send no more.
    with marked_as_sender(), suppress(Exception):
        logging.getLogger(LOGGER).log(level, text, *args)


def is_sender() -> bool:
    return getattr(_thread, "sends", False)


def is_of_sender(record: logging.LogRecord) -> bool:
    """Whether ``record``, of whatever thread or process, is of some sender's own work.

    What else is logged on a sender's thread is the program's: its finalisers run on any thread.
    """
    name = rendering.read_field(record, "name")
    # It may be of anybody's class, and compare in any way.
    if type(name) is not str:
        return False
    if not name.startswith("urllib3"):
        return name == LOGGER
    thread = rendering.render_value(rendering.read_field(record, "threadName"))
    return is_sender() or thread.startswith(SENDER)
