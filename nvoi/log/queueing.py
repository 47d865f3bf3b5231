"""The way into a handler's queue, and what of a process never goes there: a sender's own log.

A log call renders and masks its record, puts one small tuple into the queue, and is done. It
meets no lock of nvoi's, so that a call from a signal handler, a finaliser or a forked child
cannot hang; ``queue.SimpleQueue`` is made for such callers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

from nvoi.log import levels, masking, rendering

#: The name of each thread that sends. What comes from one of another process, or by way of a
#: program's own queue, is known by it.
SENDER = "nvoi-callback-sender"

#: The logger of what a sender has to tell. A record of it may come by way of a program's own
#: queue, too.
LOGGER = "nvoi.callback"

#: With more items than this in the queue, a caller yields its turn to the listener after each.
CROWDED = 10_000

#: In Unix seconds; the protocol writes a year in four digits.
_YEAR_10000 = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1

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


class LineQueueHandler(QueueHandler):
    """The pair's QueueHandler: what it queues of a record is a :data:`~nvoi.protocol.Line`.

    The record itself is left as it was; other handlers come after this one.
    """

    queue: SimpleQueue[Any]

    def __init__(self) -> None:
        super().__init__(SimpleQueue())

    def prepare(self, record: logging.LogRecord) -> Any:
        """The line of ``record``: finished, masked and clean, whatever the record holds."""
        text = rendering.render(record) if self.formatter is None else self._format(record)
        text = masking.masker.clean_text(text)
        return (levels.settle_level(record), read_created(record), text)

    def enqueue(self, record: Any) -> None:
        """Put ``record``, a line or any other item, into the queue."""
        self.queue.put_nowait(record)
        if self.queue.qsize() > CROWDED:
            # Many threads together log faster than one can take: each lets that one go first.
            time.sleep(0)

    def _format(self, record: logging.LogRecord) -> str:
        # A program's formatter may fail in any way.
        with suppress(Exception):
            return str(self.format(record))
        return rendering.render(record)


def is_of_sender(record: logging.LogRecord) -> bool:
    """Whether ``record``, of whatever thread or process, is of some sender's own work.

    What else is logged on a sender's thread is the program's: its finalisers run on any thread.
    """
    name = getattr(record, "name", None)
    if name == LOGGER or not (isinstance(name, str) and name.startswith("urllib3")):
        return bool(name == LOGGER)
    return is_sender() or str(getattr(record, "threadName", "")).startswith(SENDER)


def read_created(record: logging.LogRecord) -> float:
    """When ``record`` was made, in Unix seconds; now, where it tells none up to the year 9999."""
    created: object = record.created
    if isinstance(created, datetime):
        with suppress(OverflowError, ValueError, OSError):
            created = created.timestamp()
    if isinstance(created, (int, float)) and 0 <= created < _YEAR_10000:
        return float(created)
    return time.time()
