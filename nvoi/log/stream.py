"""One run, told to a dashboard: ``started``, its log, then ``completed`` or ``failed``."""

from __future__ import annotations

import logging
import os
import threading
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from nvoi import protocol
from nvoi.errors import UsageError
from nvoi.log import levels, masking, rendering
from nvoi.log.buffer import CAPACITY
from nvoi.log.clock import read_seconds
from nvoi.log.counts import Stats, tell
from nvoi.log.ending import describe, is_cancelled
from nvoi.log.handler import BUDGET_SECONDS, UNDELIVERED_DIRECTORY, SignedHTTPHandler
from nvoi.log.lifecycle import this_process
from nvoi.protocol import StatusEvent

#: The closing budget of a run that a signal has ended. A CI that cancels a job kills it soon:
#: GitHub Actions 10 s after SIGINT ("Workflow cancellation reference"), undoing included.
INTERRUPTED_SECONDS = 5.0


class CallbackStream:
    """Streams a logger's records to a dashboard for as long as a run lasts.

    As a context manager it reports ``started``, then ``completed`` or, where an exception
    ends the block, ``failed``::

        with CallbackStream(logging.getLogger("nvoi"), url, key, deploy_id) as stream:
            deploy()

    ``async with`` does the same and does not stall the event loop while it closes. Each of
    these may be called by hand as well, in any order and more than once: what comes first
    counts, exactly one terminal status is sent, and a run that nobody ended is reported as
    failed when the interpreter exits. Nothing here raises or blocks because of the dashboard;
    closing takes ``budget`` seconds at most. A stream is for one run: it is entered once.

    Args:
        logger: whose records are sent, and those of the loggers below it.
        url: the callback URL.
        key: the deploy key's text, 64 hex characters.
        deploy_id: names the run.
        context: ``git_sha``, ``git_ref``, ``ci_provider``, ``ci_run_url``, ``commit_title``,
            ``commit_author`` and ``dirty``, as far as known.
        level: records below it are not sent. The logger is opened down to it.
        secrets: values to mask, beside those registered elsewhere.
        budget, capacity, undelivered, app, command: as of a :class:`SignedHTTPHandler`.

    Raises:
        UsageError: one of them cannot be used.
    """

    def __init__(
        self,
        logger: logging.Logger | str,
        url: str,
        key: str,
        deploy_id: str,
        *,
        context: Mapping[str, object] | None = None,
        level: int | str = logging.INFO,
        secrets: str | Iterable[str] | None = None,
        budget: float = BUDGET_SECONDS,
        capacity: int = CAPACITY,
        undelivered: str | os.PathLike[str] = UNDELIVERED_DIRECTORY,
        app: str | None = None,
        command: str | None = None,
    ) -> None:
        self._level = levels.get_level(level)
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger)
        masking.masker.add(secrets or ())
        self.handler = SignedHTTPHandler(
            url,
            key,
            deploy_id,
            self._level,
            budget=budget,
            capacity=capacity,
            undelivered=undelivered,
            app=app,
            command=command,
        )
        self._context = dict(context or {})
        self._began = read_seconds()
        self._process = os.getpid()
        # Whichever thread comes first; and a signal handler may end what its thread is starting.
        self._changing = threading.RLock()
        self._started = False
        self._ended = False

    # -- the run ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._started:
            raise UsageError("this stream has been used", hint="make one for each run")
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
            self.failed(describe(error), cancelled=is_cancelled(error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        # Whoever gets here has it; every other command would wait for it in vain.
        import asyncio  # noqa: PLC0415

        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def started(self, **context: object) -> None:
        """Open the stream and report ``started``. Only the first call does.

        Raises:
            UsageError: the run has ended.
        """
        with self._changing:
            if self._ended:
                raise UsageError("this stream's run has ended", hint="make one for each run")
            if not self._started:
                self._start({**self._context, **context})

    def _start(self, context: Mapping[str, object]) -> None:
        cleaned = {key: masking.clean(value) for key, value in context.items() if value}
        event = protocol.build_started(cleaned)
        self._started = True
        # First of all: whatever interrupts the rest, the run has an end.
        this_process.close_at_end(self.close)
        self._began = read_seconds()
        self.handler.is_streaming = True
        self.handler.put_status(event)
        levels.attach(self.logger, self.handler, self._level)

    def completed(
        self,
        tunnels: Iterable[tuple[str, str]] | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        """Report ``completed`` and close.

        Args:
            tunnels: a service's name and its hostname, each.
            duration_seconds: how long the run took; since ``started`` where left out.
        """
        duration = read_seconds() - self._began if duration_seconds is None else duration_seconds
        cleaned = [(masking.clean(name), masking.clean(host)) for name, host in tunnels or ()]
        self._end(protocol.build_completed(cleaned, duration))

    def failed(self, error: str, *, cancelled: bool = False) -> None:
        """Report ``failed`` with the reason, masked, and close.

        Args:
            error: the reason.
            cancelled: whether a signal ended the run; closing then takes 5 s at most.
        """
        if cancelled:
            self.handler.budget = min(self.handler.budget, INTERRUPTED_SECONDS)
        reason = protocol.CANCELLED if cancelled else None
        self._end(protocol.build_failed(masking.clean(error), reason=reason))

    def close(self) -> None:
        """Close; a run that has not ended by then has failed."""
        if self._started and not self._ended:
            self.failed("the run ended without saying how")

    def stats(self) -> Stats:
        return self.handler.stats()

    @property
    def undelivered_file(self) -> Path | None:
        """Where what could not be delivered is kept, or None."""
        return self.handler.undelivered_file

    def _end(self, event: StatusEvent) -> None:
        # A forked child has this object too; the run is its parent's to end.
        if os.getpid() != self._process:
            return
        handler = self.handler
        with self._changing:
            if self._ended:
                return
            self.started()
            handler.put_status(event)
            self._ended = True
        levels.detach(self.logger, handler)
        this_process.forget(self.close)
        handler.close()
        self._summarize()

    def _summarize(self) -> None:
        stats = self.stats()
        lost = stats.dropped - stats.undelivered
        level = logging.INFO if stats.terminal_delivered and not stats.dropped else logging.WARNING
        lines = rendering.format_count(stats.logged, "line")
        requests = rendering.format_count(stats.requests, "request")
        retries = rendering.format_count(stats.retries, "retry", "retries")
        told = f"{stats.delivered} of {lines} delivered in {requests}"
        text = f"Dashboard: {told}, {retries}, {lost} lost"
        if not stats.terminal_delivered:
            text += "; it was not told how the run ended"
        if self.undelivered_file is not None:
            text += f". Send the rest later with: nvoi resend {self.undelivered_file}"
        tell(level, "%s", text)
