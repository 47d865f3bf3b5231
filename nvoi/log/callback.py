"""SignedHTTPHandler: a logging handler that batches, signs and sends records to a dashboard.

Its way in is one QueueHandler/QueueListener pair around a :class:`~nvoi.log.backlog.Backlog`:
the caller of a log method appends a small tuple and is done, the listener's thread builds
requests and sends them. Neither takes a lock that a log call could hang on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvoi.errors import UsageError
from nvoi.log import masking, wire
from nvoi.log.backlog import CAPACITY, Backlog
from nvoi.log.delivery import Delivery, Stats
from nvoi.log.overflow import Barrier, Sentinel
from nvoi.log.queueing import LOCAL_ONLY, BacklogHandler, BacklogListener
from nvoi.log.transport import CONNECT_SECONDS, Transport
from nvoi.log.undelivered import UndeliveredFile, strip_auth
from nvoi.log.wire import LogBatch, Request, StatusEvent

#: Seconds that closing may take.
BUDGET_SECONDS = 10.0
#: The part of the budget after which logs are given up; the rest is the terminal status's.
LOGS_SHARE = 0.7
#: The part after which that is given up too; the thread needs a moment to end.
FINAL_SHARE = 0.97

UNDELIVERED_DIRECTORY = Path("~/.local/state/nvoi/undelivered.d")

#: Seconds for a thread to end that is given up and only busy.
_GRACE_SECONDS = 0.2

_handlers: weakref.WeakSet[SignedHTTPHandler] = weakref.WeakSet()


class SignedHTTPHandler(logging.Handler):
    """Sends records to a dashboard, as docs/protocol.md says. Never blocks, never raises.

    It works on any logger, behind a QueueListener, and from ``logging.config.dictConfig``::

        logging.getLogger("nvoi").addHandler(SignedHTTPHandler(url, key, deploy_id))

    A record is on its way within a second, the first within 250 ms, from ERROR up at once.
    Closing (also by ``logging.shutdown`` at exit) takes ``budget`` seconds at most; what is
    not delivered by then is kept in a file that ``nvoi resend`` sends later.

    Args:
        url: the callback URL, ``http`` or ``https``.
        key: the deploy key's text, 64 hex characters. It signs and is masked.
        deploy_id: names the run.
        level: records below it are not sent.
        budget: seconds that closing may take.
        capacity: bytes of waiting records that memory holds.
        undelivered: the folder for what cannot be delivered.

    Raises:
        UsageError: the URL or the deploy id cannot be used.
    """

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
    ) -> None:
        super().__init__(level)
        key = str.__str__(key)
        check_url(url)
        masking.add_secrets(key)
        self.url = url
        self.deploy_id = wire.check_deploy_id(deploy_id)
        self.budget = budget
        #: The ident of the thread that sends; what it logs is not sent.
        self.sender: int | None = None
        self.backlog = Backlog(capacity)
        self.queue_handler = BacklogHandler(self)
        self.listener = BacklogListener(self)
        self._connect_seconds = min(CONNECT_SECONDS, max(0.1, budget * (1 - LOGS_SHARE)))
        self._key = key
        self._undelivered_directory = Path(undelivered).expanduser()
        self._forked = False
        #: What the parent of a forked process was sending with; its locks are the parent's.
        self._inherited: list[Delivery] = []
        #: Set once the run has its terminal status: nothing may follow it.
        self.sealed = False
        self._opening = threading.Lock()
        self._start_over()
        _handlers.add(self)

    def _start_over(self) -> None:
        """What a new run of the thread needs: at first, after a close, in a forked child."""
        self.delivery = Delivery(
            self.url,
            self._key,
            self.deploy_id,
            Transport(self.url, connect_seconds=self._connect_seconds),
            tell=self._tell,
            count_logged=lambda: self.backlog.numbered,
        )
        self.undelivered = UndeliveredFile(self._undelivered_directory, self.url, self.deploy_id)
        self._closing = threading.Event()
        self._closed = False
        self._flushed: tuple[float, float] | None = None

    # -- the way in ------------------------------------------------------------------------

    def createLock(self) -> None:  # noqa: N802 - the name in logging.Handler
        """No lock: see :class:`BacklogHandler`."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue ``record`` if it passes this handler's filters."""
        passed: object = self.filter(record)
        if not passed:
            return False
        return self.queue_handler.handle(
            passed if isinstance(passed, logging.LogRecord) else record
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Queue ``record``."""
        self.queue_handler.handle(record)

    def put(self, item: Any) -> None:
        """Queue a line or a status event, and start the thread where none runs."""
        self.backlog.put_nowait(item)
        if not self.listener.running:
            self._ensure_started()

    def put_status(self, payload: dict[str, Any]) -> None:
        """Queue a status: it is sent after all that was logged before it."""
        if not self._forked:
            self.put(StatusEvent(payload))

    def _ensure_started(self) -> None:
        # Starting may log, and so come here again on the same thread.
        if self.sealed or not self._opening.acquire(blocking=False):
            return
        try:
            if self._closed:
                self._start_over()
            # At exit no thread can be started; what waits is sent when all is closed.
            with contextlib.suppress(RuntimeError):
                self.listener.start()
        finally:
            self._opening.release()

    # -- the listener's thread -------------------------------------------------------------

    def wait_while_stopped(self) -> None:
        """Where nothing is sent any more, leave the backlog to its bounds until the end."""
        if self.delivery.stopped:
            self._closing.wait()

    def send(self, request: Request) -> None:
        """Deliver ``request``, or keep what of it was given up."""
        delivery = self.delivery
        if self._forked and isinstance(request, LogBatch):
            request.first = 0
        try:
            given_up = delivery.deliver(request)
        except Exception as error:  # noqa: BLE001 - a deploy outlives any fault in its callback
            self._tell(f"sending failed: {type(error).__name__}")
            given_up = [*delivery.pending]
            delivery.pending.clear()
        self._keep(given_up)

    def _keep(self, requests: Iterable[Request]) -> None:
        for request in requests:
            try:
                self.undelivered.append(
                    request,
                    logged=self.backlog.numbered,
                    delivered=self.delivery.stats.delivered,
                )
            except OSError as error:
                self._tell(f"what was not delivered could not be kept either: {error.strerror}")
                return

    def _tell(self, text: str) -> None:
        logging.getLogger("nvoi.callback").warning(
            "Dashboard %s: %s",
            strip_auth(self.url),
            text,
            extra={LOCAL_ONLY: True},
        )

    # -- the end ---------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was logged before is delivered or given up.

        Args:
            timeout: seconds to wait at most; the logs' share of the budget where left out.
        """
        if not self.listener.running or self._is_stopped() or self._is_sender():
            return
        if is_configuring():
            return
        start = time.monotonic()
        until = start + (self.budget * LOGS_SHARE if timeout is None else timeout)
        barrier = Barrier()
        self.put(barrier)
        while not barrier.passed.wait(min(0.05, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until or self._is_stopped():
                self._flushed = (start, time.monotonic())
                return

    def close(self) -> None:
        """Deliver what can be delivered within the budget, and keep the rest in a file.

        ``logging.config`` flushes and closes all handlers of the process when it configures
        anew. That does nothing here: what waits is delivered as ever, and closed at exit.
        """
        if self._closed or self._is_sender() or self.queue_handler.pinned or is_configuring():
            return
        self._closed = True
        start = now = time.monotonic()
        # logging.shutdown flushes first: what it waited in vain is part of the budget.
        if self._flushed is not None and now - self._flushed[1] < 1:
            start = self._flushed[0]
        self._finish(start)
        super().close()

    def _is_stopped(self) -> bool:
        return bool(self.delivery.stopped)

    def _is_sender(self) -> bool:
        return threading.get_ident() == self.sender

    def _finish(self, start: float) -> None:
        self.delivery.end_by(start + self.budget * LOGS_SHARE, start + self.budget * FINAL_SHARE)
        self._closing.set()
        try:
            if self.listener.running:
                self.backlog.put_nowait(Sentinel())
                self.listener.join(start + self.budget - time.monotonic())
            else:
                self._send_here()
        finally:
            # Whatever ended the wait, a second Ctrl-C perhaps, nothing is lost by it.
            if self.listener.running:
                self._abandon()
            else:
                self.delivery.close()
            self.backlog.close()
            self._keep(self.backlog.drain())
            self.undelivered.close()
            self.sender = None

    def _abandon(self) -> None:
        """End the thread that is busy yet; leave one that no deadline reaches.

        The first has more to keep than the budget allows, the other waits for a name look-up.
        """
        self.delivery.stopped = "the run has ended"
        if self.listener.give_up(_GRACE_SECONDS):
            self.delivery.close()
        else:
            self._keep([*self.delivery.pending])

    def _send_here(self) -> None:
        """Send on this thread: at exit none can be started any more."""
        self.sender = threading.get_ident()
        for request in self.backlog.drain():
            self.send(request)

    def _after_fork(self) -> None:
        """In the child: what waits, the numbers and the statuses are the parent's."""
        self._forked = True
        self._inherited.append(self.delivery)
        self._opening = threading.Lock()
        self.sender = None
        # The stream stays open in the parent; here, whoever closes means it.
        self.queue_handler.pinned = False
        self.backlog.reset()
        self.listener.forget()
        self._start_over()
        if "multiprocessing" in sys.modules:
            # Its children leave by os._exit, which calls no atexit function.
            from multiprocessing import util  # noqa: PLC0415 - only where it is in use

            util.register_after_fork(self, _flush_at_exit)

    def stats(self) -> Stats:
        """What became of the records so far."""
        stats = self.delivery.stats
        logged = self.backlog.numbered
        return replace(
            stats,
            logged=logged,
            dropped=max(self.backlog.given_up, logged - stats.delivered if self._closed else 0),
            undelivered=self.undelivered.lines,
            troubles=self.delivery.troubles,
        )


def _flush_at_exit(handler: SignedHTTPHandler) -> None:
    from multiprocessing import util  # noqa: PLC0415 - it is loaded already

    util.Finalize(handler, handler.close, exitpriority=0)


def _after_fork_in_child() -> None:
    masking.masker.reset_lock()
    for handler in list(_handlers):
        handler._after_fork()  # noqa: SLF001 - of this module


def _close_at_exit() -> None:
    """Close what logging.shutdown may not know of: logging.config makes it forget handlers."""
    for handler in list(_handlers):
        handler.close()


atexit.register(_close_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def is_configuring() -> bool:
    """Whether this thread holds logging's own lock, as ``logging.config`` does at its work.

    The sending thread may need that lock for a record of urllib3's or of its own, so waiting
    for it would be in vain until the time is up.
    """
    lock = getattr(logging, "_lock", None)
    is_owned = getattr(lock, "_is_owned", None)
    return bool(is_owned is not None and is_owned())


def check_url(url: str) -> None:
    """See to it that ``url`` can be called.

    Raises:
        UsageError: it is no http(s) URL with a host.
    """
    from urllib3.exceptions import LocationParseError  # noqa: PLC0415 - as late as it is needed
    from urllib3.util import parse_url  # noqa: PLC0415

    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.host:
        raise UsageError(
            "the callback URL is no http or https URL with a host",
            hint="for example https://dashboard.example.com/api/deploys",
        )
