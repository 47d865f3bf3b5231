"""What a sender has to tell of its own work: for all but the dashboards, whichever way it comes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: The name of each thread that sends. What comes from one of another process, or by way of a
#: program's own queue, is known by it.
SENDER = "nvoi-callback-sender"

#: The logger of what a sender has to tell. A record of it may come by way of a program's own
#: queue, too.
LOGGER = "nvoi.callback"

_thread = threading.local()


@contextmanager
def marked_as_sender() -> Iterator[None]:
    """Inside, what this thread logs is of the sending itself, and goes to no dashboard."""
    before = getattr(_thread, "sends", False)
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
    name = getattr(record, "name", None)
    if name == LOGGER or not (isinstance(name, str) and name.startswith("urllib3")):
        return bool(name == LOGGER)
    return is_sender() or str(getattr(record, "threadName", "")).startswith(SENDER)
