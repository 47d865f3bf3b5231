"""SignedHTTPHandler: a logging handler that batches, signs and sends records to a dashboard."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nvoi import network, protocol
from nvoi.errors import UsageError
from nvoi.log import levels, masking, rendering
from nvoi.log.buffer import CAPACITY, End
from nvoi.log.clock import LOOK_SECONDS, read_seconds
from nvoi.log.counts import Counts, Stats, is_of_sender, is_sender, tell
from nvoi.log.delivery import Destination
from nvoi.log.lifecycle import this_process
from nvoi.log.sender import LOGS_SHARE, Sender
from nvoi.log.undelivered import UndeliveredFile
from nvoi.protocol import Run, StatusEvent
from nvoi.signals import Shield

#: Seconds that closing may take.
BUDGET_SECONDS = 10.0
#: No budget is longer, in seconds: as good as infinite, and any clock can reckon with it.
_LONGEST_BUDGET = 1e9

#: With more items than this in the queue, a caller yields its turn to the listener after each.
_CROWDED = 10_000

UNDELIVERED_DIRECTORY = Path("~/.local/state/nvoi/undelivered.d")


class LineQueueHandler(QueueHandler):
    """What it queues of a record is a :data:`~nvoi.protocol.Line`, so that a log call is soon done.

    It meets no lock of nvoi's, so that a call from a signal handler, a finaliser or a forked child
    cannot hang; ``SimpleQueue`` is made for such callers. The record itself is left as it was:
    other handlers come after this one.
    """

    queue: SimpleQueue[Any]

    def __init__(self) -> None:
        super().__init__(SimpleQueue())

    def prepare(self, record: logging.LogRecord) -> Any:
        """The line of ``record``: finished, masked and clean, whatever the record holds."""
        text = rendering.render(record) if self.formatter is None else self._format(record)
        text = masking.masker.clean_text(text)
        created = protocol.read_time(rendering.read_field(record, "created"))
        return (levels.settle_level(record), created, text)

    def enqueue(self, record: Any) -> None:
        """Put ``record``, a line or any other item, into the queue."""
        self.queue.put_nowait(record)
        if self.queue.qsize() > _CROWDED:
            # Many threads together log faster than one can take: each lets that one go first.
            time.sleep(0)

    def _format(self, record: logging.LogRecord) -> str:
        # A program's formatter may fail in any way.
        with suppress(Exception):
            return str(self.format(record))
        return rendering.render(record)


class SignedHTTPHandler(logging.Handler):
    """Sends records to a dashboard, as docs/protocol.md says. Never blocks, never raises.

    It works on any logger, behind a QueueListener, and from ``logging.config.dictConfig``::

        logging.getLogger("nvoi").addHandler(SignedHTTPHandler(url, key, deploy_id))

    A record is on its way within a second, the first within 250 ms, from ERROR up at once.
    Closing (also by ``logging.shutdown`` at exit) takes ``budget`` seconds at most; what is
    not delivered by then is kept in a file that ``nvoi resend`` sends later. A handler that is
    logged to after that goes on.

    Args:
        url: the callback URL, ``http`` or ``https``.
        key: the deploy key's text, 64 hex characters. It signs and is masked.
        deploy_id: names the run.
        level: records below it are not sent.
        budget: seconds that closing may take; ``inf`` is as long as it takes.
        capacity: bytes of waiting records that memory holds.
        undelivered: the folder for what cannot be delivered.
        app: what the run is of, if that has a name.
        command: what the run does, such as ``deploy``.

    Raises:
        UsageError: one of them cannot be used.
    """

    #: True while a stream is open by it: only the stream closes it.
    is_streaming = False
    _is_forked = False
    _finalizer: weakref.finalize[[], SignedHTTPHandler] | None = None

    def __init__(
        self,
        url: str,
        key: str,
        deploy_id: str,
        level: int | str = logging.NOTSET,
        *,
        budget: float = BUDGET_SECONDS,
        capacity: int = CAPACITY,
        undelivered: str | os.PathLike[str] = UNDELIVERED_DIRECTORY,
        app: str | None = None,
        command: str | None = None,
    ) -> None:
        # All is checked before the handler is one of logging's: a refused one leaves nothing.
        check_arguments(key, budget, capacity)
        number = levels.get_level(level)
        self._destination = Destination(
            protocol.check_url(url),
            # It may be of a class that hides it.
            str.__str__(key),
            protocol.check_deploy_id(deploy_id),
            Run(app and masking.clean(app), command and masking.clean(command)),
        )
        self.budget = min(budget, _LONGEST_BUDGET)
        self._capacity = capacity
        self._directory = find_folder(undelivered)
        masking.add_secrets(key, *network.find_secrets(url))
        self.queue_handler = LineQueueHandler()
        # Held to close and to reopen. Only who ends the process waits for it: a signal handler may
        # come here again.
        self._changing = threading.Lock()
        self._reset()
        # Whoever forks meanwhile has all that logging knows of flushed at its end.
        super().__init__(number)
        if self._directory is None:
            text = "there is no home folder; what cannot be delivered goes to the temporary folder"
            self._counts.note_trouble("folder", text)
        this_process.watch(self)

    # -- the way in ------------------------------------------------------------------------

    def createLock(self) -> None:  # noqa: N802 - the name in logging.Handler
        """No lock: ``logging.shutdown`` holds it while it waits for :meth:`flush`.

        And a record's text is the program's own code, which may wait for another thread.
        """
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging has it, but for the lock, which Python 3.13 takes unasked."""
        passed: object = self.filter(record)
        if passed:
            # From Python 3.12 on a filter may answer with another record.
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether ``record`` passes the handler's filters; one that fails lets it pass."""
        try:
            return not self.filters or super().filter(record)
        except Exception as error:  # noqa: BLE001 - a program's filter may fail in any way
            text = f"a filter of its handler failed: {type(error).__name__}"
            self._counts.note_trouble("filter", text)
            return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue ``record``, unless it is of some sender's own work, or the run is over."""
        if self._counts.is_over or is_of_sender(record):
            return
        if self._sender.is_closing:
            self._reopen()
        self.queue_handler.emit(record)
        if not self._sender.running:
            self._ensure_running()

    def put_status(self, event: StatusEvent) -> None:
        """Queue a status: it is sent after all that was logged before it.

        Nothing is sent after a terminal one, and the handler may be closed from then on.
        """
        if self._is_forked:
            return
        if event.terminal:
            self.is_streaming = False
        self.queue_handler.enqueue(event)
        self._ensure_running()

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - as in logging
        """Have records sent as ``fmt`` formats them."""
        super().setFormatter(fmt)
        self.queue_handler.setFormatter(fmt)

    # -- its sender ------------------------------------------------------------------------

    def _reset(self) -> None:
        """Be as new: at first, and in a forked child."""
        place = network.strip_auth(self._destination.url)
        self._counts = Counts(tell=partial(tell, logging.WARNING, "Dashboard %s: %s", place))
        self._undelivered = UndeliveredFile(self._directory, self._destination)
        self._build_sender()

    def _reopen(self) -> None:
        """Go on after a close, with the numbers, the counts and the file that there were."""
        # One thread does that. What the others log meanwhile is in the queue, which stays.
        with Shield():
            if not self._changing.acquire(blocking=False):
                return
            try:
                if self._sender.is_closing:
                    self._build_sender()
            finally:
                self._changing.release()

    def _build_sender(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._sender = Sender(
            self.queue_handler.queue,
            self._destination,
            self._undelivered,
            self._counts,
            capacity=self._capacity,
            budget=self.budget,
            numbered=not self._is_forked,
        )
        self._flushed: tuple[float, float] | None = None
        self._finalizer = weakref.finalize(self, self._sender.leave)
        self._finalizer.atexit = False

    def _ensure_running(self) -> None:
        if this_process.ending_since is None:
            self._sender.start()
        elif not sys.is_finalizing():
            # The exit hook has passed: a thread would not get far, and Python 3.11 could wait
            # for its start for ever. Nobody else would send what an exit function logs.
            self.close()

    def reset_after_fork(self) -> None:
        """In a forked child: what waits, the numbers and the statuses are the parent's."""
        self.queue_handler.queue = SimpleQueue()
        self._changing = threading.Lock()
        self._is_forked = True
        # The stream stays open in the parent; here, whoever closes means it.
        self.is_streaming = False
        is_over = self._counts.is_over
        self._reset()
        self._counts.is_over = is_over

    # -- the end ---------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was logged before is delivered or given up.

        Args:
            timeout: seconds to wait at most; the logs' share of the budget where left out.
        """
        if is_sender() or levels.is_configuring():
            return
        began = read_seconds()
        if not self._sender.flush(self.budget * LOGS_SHARE if timeout is None else timeout):
            self._flushed = (began, read_seconds())

    def close(self, *, blocking: bool = False) -> None:
        """Deliver what can be delivered within the budget, and keep the rest in a file.

        ``logging.config`` flushes and closes all handlers of the process when it configures
        anew. That does nothing here: what waits is delivered as ever. A handler that is no
        logger's any more then ends by itself.

        Args:
            blocking: if another thread is at that, wait for it, and take what came meanwhile.
        """
        if is_sender() or self.is_streaming:
            return
        # At the end nobody configures. Whoever holds that lock then was cut short.
        if levels.is_configuring() and this_process.ending_since is None:
            return
        began = this_process.ending_since or read_seconds()
        # logging.shutdown flushes first: what it waited in vain is part of the budget.
        if self._flushed is not None and began - self._flushed[1] < 1:
            began = self._flushed[0]
        end = End(began, self.budget)
        while not self._close(end) and blocking and read_seconds() < began + self.budget:
            time.sleep(LOOK_SECONDS)

    def _close(self, end: End) -> bool:
        """Close by ``end``; False where another thread is at it."""
        with Shield(self._give_up) as shield:
            if not self._changing.acquire(blocking=False):
                return False
            try:
                if not (self._sender.closed and self.queue_handler.queue.empty()):
                    self._sender.close_by(end, shield)
                    super().close()
            finally:
                self._changing.release()
        return True

    def _give_up(self) -> None:
        self._sender.give_up()

    def stats(self) -> Stats:
        return self._counts.sum_up(is_closed=self._sender.closed)

    @property
    def undelivered_file(self) -> Path | None:
        """Where what could not be delivered is kept, or None."""
        return self._undelivered.path


def check_arguments(key: object, budget: object, capacity: object) -> None:
    """Make sure that there is a key, and that the numbers are such, a budget of ``inf`` too.

    Raises:
        UsageError: one of them cannot be used.
    """
    if not (isinstance(key, str) and key):
        raise UsageError("the deploy key is missing", hint="give its text, 64 hex characters")
    # NaN is neither more nor less than any number.
    if not (isinstance(budget, (int, float)) and budget >= 0):
        hint = "give a number of seconds, 0 or more"
        raise UsageError(f"the closing budget is {budget!r}", hint=hint)
    if not (isinstance(capacity, int) and capacity > 0):
        hint = "give a number of bytes, 1 or more"
        raise UsageError(f"the capacity is {capacity!r}", hint=hint)


def find_folder(path: str | os.PathLike[str]) -> Path | None:
    """``path`` with the home folder in it; None where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None
