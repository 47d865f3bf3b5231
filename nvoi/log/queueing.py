"""The one QueueHandler/QueueListener pair that stands before a SignedHTTPHandler.

Both halves differ from the standard library's in what its queue costs and promises: nothing
is formatted twice, no lock is taken by who logs, and the listener outlives every fault.
"""

from __future__ import annotations

import logging
import threading
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

from nvoi.log import masking, rendering
from nvoi.log.overflow import Barrier, Sentinel

if TYPE_CHECKING:
    from nvoi.log.callback import SignedHTTPHandler

#: A record with this attribute is for the console only.
LOCAL_ONLY = "nvoi_local"


class BacklogHandler(QueueHandler):
    """The pair's QueueHandler: a record becomes a :data:`~nvoi.log.wire.Line`.

    The record itself is left as it was; other handlers come after this one.
    """

    #: True while a stream is open: a logger of nvoi keeps the handler, and it is not closed.
    pinned = False

    def __init__(self, owner: SignedHTTPHandler) -> None:
        super().__init__(owner.backlog)
        self._owner = owner

    def createLock(self) -> None:  # noqa: N802 - the name in logging.Handler
        """No lock: the backlog needs none, and ``logging.shutdown`` holds one while it waits."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue ``record``, unless it is of the sending itself."""
        if record.thread == self._owner.sender or hasattr(record, LOCAL_ONLY):
            return False
        # From Python 3.12 on a filter may answer with another record.
        passed: object = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def prepare(self, record: logging.LogRecord) -> Any:
        """The line of ``record``: finished, masked and clean."""
        mask = masking.masker
        text = mask.clean_text(mask.mask_text(rendering.render(record)))
        return (record.levelno, record.created, text)

    def enqueue(self, record: Any) -> None:
        """Append, and see to it that somebody reads."""
        self._owner.put(record)

    def close(self) -> None:
        """Close the handler behind, unless a stream is open on it."""
        self._owner.close()
        if not self.pinned:
            super().close()


class BacklogListener(QueueListener):
    """The pair's QueueListener: its thread takes requests from the backlog and delivers them."""

    def __init__(self, owner: SignedHTTPHandler) -> None:
        super().__init__(owner.backlog)
        self._owner = owner
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

        #: Whether the thread was started and not seen to end: an attribute, as each log
        #: call looks at it.
        self.running = False

    def start(self) -> None:
        """Start the thread, once."""
        with self._starting:
            if self.running:
                return
            thread = threading.Thread(target=self._run, name="nvoi-callback", daemon=True)
            # Before it starts: an interruption of start() would have a second one started.
            self._thread, self.running = thread, True
            try:
                thread.start()
            except RuntimeError:
                self.forget()
                raise

    def _run(self) -> None:
        # Before anything is sent: what urllib3 logs of the sending must be known as such.
        self._owner.sender = threading.get_ident()
        self._monitor()  # type: ignore[attr-defined]  # of QueueListener
        if threading.current_thread() is not self._thread:
            # Given up: what it has kept since, in a file that was closed already, is all.
            self._owner.undelivered.close()

    def dequeue(self, block: bool) -> Any:  # noqa: ARG002 - the signature of QueueListener
        """The next request; None, the listener's sentinel, at the end."""
        while True:
            self._owner.wait_while_stopped()
            # Once given up it takes nothing more: who gave it up keeps the rest, in order.
            if threading.current_thread() is not self._thread:
                return None
            item = self._owner.backlog.get()
            if isinstance(item, Sentinel):
                return None
            if not isinstance(item, Barrier):
                return item
            item.passed.set()

    def handle(self, record: Any) -> None:
        """Deliver a request. Nothing that goes wrong here ends the thread."""
        self._owner.send(record)

    def stop(self) -> None:
        """End the thread after what is queued, within the closing budget."""
        self._owner.close()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; False where it has not in ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(max(0.0, timeout))
            if self._thread.is_alive():
                return False
        self.forget()
        return True

    def give_up(self, timeout: float) -> bool:
        """End the thread after the request that it has; False where it has not ended by then."""
        thread = self._thread
        self.forget()
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def forget(self) -> None:
        """Be as before :meth:`start`: the thread has ended, is given up, or was the parent's."""
        self._thread = None
        self._starting = threading.Lock()
        self.running = False
