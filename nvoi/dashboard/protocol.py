"""uvicorn's HTTP, whose clients have to ask for something in time.

uvicorn itself waits for ever for a first request, and for the rest of one that has begun: a few
thousand silent connections would take all files that the process may open.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from nvoi.dashboard.errors import Complaints

if TYPE_CHECKING:
    import asyncio

#: Seconds for a request's line and headers to come, from the connection's begin on or from the
#: first byte after an answer. For a connection that is kept, see uvicorn's `timeout_keep_alive`.
HEAD_SECONDS = 30.0

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Protocol(H11Protocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._set_timer()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; once its head is there, it is waited for no longer."""
        super().data_received(data)
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self._cancel_timer()
        super().connection_lost(exc)

    def _set_timer(self) -> None:
        if not self._is_waiting():
            self._cancel_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _cancel_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        # A request that was held back behind another one may have begun meanwhile.
        if self._is_waiting():
            self.transport.close()

    def _is_waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete


class Faults:
    """What the event loop complains of.

    Without a file for another connection asyncio would log a thousand tracebacks a second.
    """

    def __init__(self) -> None:
        self._complaints = Complaints(logging.getLogger(__name__))

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            self._complaints.warn(f"connections have to wait: {error.strerror}")
        else:
            loop.default_exception_handler(context)
