"""One run, told to a dashboard: ``started``, its log, then ``completed`` or ``failed``."""

from __future__ import annotations

import atexit
import logging
import os
import time
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from nvoi.errors import NvoiError
from nvoi.log import levels, masking, rendering, wire
from nvoi.log.backlog import CAPACITY
from nvoi.log.callback import BUDGET_SECONDS, UNDELIVERED_DIRECTORY, SignedHTTPHandler
from nvoi.log.delivery import Stats
from nvoi.log.queueing import LOCAL_ONLY


class CallbackStream:
    """Streams a logger's records to a dashboard for as long as a run lasts.

    As a context manager it reports ``started``, then ``completed`` or, where an exception
    ends the block, ``failed``::

        with CallbackStream(logging.getLogger("nvoi"), url, key, deploy_id) as stream:
            deploy()

    Each of these may be called by hand as well, in any order and more than once: what comes
    first counts, exactly one terminal status is sent, and a run that nobody ended is
    reported as failed when the interpreter exits. Nothing here raises or blocks because of
    the dashboard; closing takes ``budget`` seconds at most.

    Args:
        logger: whose records are sent, and those of the loggers below it.
        url: the callback URL.
        key: the deploy key's text, 64 hex characters.
        deploy_id: names the run.
        context: ``git_sha``, ``git_ref``, ``ci_provider``, ``ci_run_url``, as far as known.
        level: records below it are not sent. The logger is opened down to it.
        secrets: values to mask, beside those registered elsewhere.
        budget: seconds that closing may take, for logs and terminal status together.
        capacity: bytes of waiting records that memory holds.
        undelivered: the folder for what cannot be delivered.

    Raises:
        UsageError: the URL or the deploy id cannot be used.
    """

    def __init__(
        self,
        logger: logging.Logger | str,
        url: str,
        key: str,
        deploy_id: str,
        *,
        context: Mapping[str, str | None] | None = None,
        level: int = logging.INFO,
        secrets: Iterable[str] = (),
        budget: float = BUDGET_SECONDS,
        capacity: int = CAPACITY,
        undelivered: str | os.PathLike[str] = UNDELIVERED_DIRECTORY,
    ) -> None:
        masking.add_secrets(*secrets)
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.handler = SignedHTTPHandler(
            url, key, deploy_id, budget=budget, capacity=capacity, undelivered=undelivered
        )
        self._context = dict(context or {})
        self._level = level
        self._restored_level: int | None = None
        self._began = time.monotonic()
        self._process = os.getpid()
        self._started = False
        self._ended = False

    # -- the run ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.started()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.completed()
        else:
            self.failed(describe(error))

    def started(self, **context: str | None) -> None:
        """Open the stream and report ``started``. Only the first call does."""
        if self._started or self._ended:
            return
        self._started = True
        self._began = time.monotonic()
        self._open()
        self.handler.put_status(wire.build_started(_mask({**self._context, **context})))

    def completed(
        self,
        tunnels: Iterable[tuple[str, str]] = (),
        duration_seconds: float | None = None,
    ) -> None:
        """Report ``completed`` and close.

        Args:
            tunnels: a service's name and its hostname, each.
            duration_seconds: how long the run took; since ``started`` where left out.
        """
        duration = time.monotonic() - self._began if duration_seconds is None else duration_seconds
        self._end(wire.build_completed(tunnels, duration))

    def failed(self, error: str, *, budget: float | None = None) -> None:
        """Report ``failed`` with the reason, masked, and close.

        ``budget`` shortens the closing budget, in seconds, where the process has little time.
        """
        if budget is not None:
            self.handler.budget = min(self.handler.budget, budget)
        mask = masking.masker
        self._end(wire.build_failed(mask.clean_text(mask.mask_text(str(error)))))

    def close(self) -> None:
        """Close; a run that has not ended by then has failed."""
        if self._started and not self._ended:
            self.failed("the run ended without saying how")

    def stats(self) -> Stats:
        """What became of the run's records so far."""
        return self.handler.stats()

    @property
    def undelivered_file(self) -> Path | None:
        """Where what could not be delivered is kept, or None."""
        return self.handler.undelivered.path

    # -- the logger ------------------------------------------------------------------------

    def _open(self) -> None:
        levels.promote(self.logger)
        levels.streamed.add(self.logger.name)
        queue_handler = self.handler.queue_handler
        queue_handler.setLevel(self._level)
        queue_handler.pinned = True
        if self.logger.getEffectiveLevel() > self._level:
            self._restored_level = self.logger.level
            self.logger.setLevel(self._level)
        self.logger.addHandler(queue_handler)
        atexit.register(self.close)

    def _end(self, payload: dict[str, Any]) -> None:
        # A forked child has this object too; the run is its parent's to end.
        if self._ended or os.getpid() != self._process:
            return
        if not self._started:
            self.started()
        self._ended = True
        queue_handler = self.handler.queue_handler
        queue_handler.pinned = False
        self.logger.removeHandler(queue_handler)
        levels.streamed.discard(self.logger.name)
        if self._restored_level is not None:
            self.logger.setLevel(self._restored_level)
        atexit.unregister(self.close)
        self.handler.put_status(payload)
        self.handler.sealed = True
        self.handler.close()
        self._summarize()

    def _summarize(self) -> None:
        stats = self.stats()
        lost = stats.dropped - stats.undelivered
        level = logging.INFO if stats.terminal_delivered and not stats.dropped else logging.WARNING
        lines, requests = _count(stats.logged, "line"), _count(stats.requests, "request")
        parts = [
            f"{stats.delivered} of {lines} delivered in {requests}",
            _count(stats.retries, "retry", "retries"),
            f"{lost} lost",
        ]
        text = f"Dashboard: {', '.join(parts)}"
        if not stats.terminal_delivered:
            text += "; it was not told how the run ended"
        if self.undelivered_file is not None:
            text += f". Send the rest later with: nvoi resend {self.undelivered_file}"
        logging.getLogger("nvoi.callback").log(level, "%s", text, extra={LOCAL_ONLY: True})


def describe(error: BaseException) -> str:
    """An exception as the reason of a ``failed``."""
    if isinstance(error, KeyboardInterrupt) and not error.args:
        return "interrupted (Ctrl-C)"
    text = rendering.render_value(error)
    if isinstance(error, SystemExit):
        return f"the process exited with {text}"
    if isinstance(error, (NvoiError, KeyboardInterrupt)) and text:
        return text
    # The text of an unforeseen error, such as a KeyError's, says little without its type.
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def set_told(error: BaseException) -> None:
    """Note on ``error`` that the log has told it."""
    error.__dict__["nvoi_told"] = True


def find_told(error: BaseException) -> bool:
    """Whether the log has told ``error``."""
    return bool(error.__dict__.get("nvoi_told"))


def _mask(context: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value and masking.masker.mask_text(value) for key, value in context.items()}


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
