"""Runs a tuple of steps under one callback stream: timing, first error, terminal status."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nvoi.errors import ConfigError, NvoiError
from nvoi.log.console import ClosedOutputError, uninterrupted
from nvoi.log.levels import get_logger
from nvoi.log.stream import CallbackStream, describe, is_cancelled, set_told
from nvoi.targets.step import Context, Request, Step, Target
from nvoi.version import __version__

log = get_logger("nvoi.operation")

C = TypeVar("C", bound=Context)


@dataclass
class Report:
    """Where a run is told: the log, and the dashboard's stream where there is one."""

    stream: CallbackStream | None = None
    verbose: bool = False
    #: Called once the outcome is known: what comes then must not be interrupted.
    settle: Callable[[], None] = lambda: None
    #: Each step's name and its seconds, in order.
    timings: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Operation(Generic[C]):
    """What a command does to an app: steps of its target.

    ``check`` raises where a request cannot be carried out, before anything is opened.
    """

    title: str
    target: Target[C]
    steps: Sequence[Step[C]]
    check: Callable[[Request], None] = lambda _: None


def run(operation: Operation[C], request: Request, report: Report) -> C:
    """Run the steps and report how they ended. Any exception is told and raised again."""
    title, target, app = operation.title, operation.target, request.config.application.name
    began = time.monotonic()
    # Entering it reports `started`; leaving it by an exception that nobody told, `failed`.
    stream: AbstractContextManager[object] = report.stream or nullcontext()
    with stream:
        try:
            log.info("nvoi %s: %s %s (%s target)", __version__, title.lower(), app, target.name)
            operation.check(request)
            with target.open(request) as context:
                run_steps(context, operation.steps, report)
        except ClosedOutputError:
            if report.stream is not None:
                report.stream.failed("standard output was closed")
            raise
        except BaseException as error:
            report.settle()
            with uninterrupted():
                tell_timings(report, time.monotonic() - began)
                tell(error, report)
            raise
        report.settle()
        with uninterrupted():
            tell_success(f"{title} of {app}", context, report, time.monotonic() - began)
    return context


def run_steps(context: C, steps: Sequence[Step[C]], report: Report) -> None:
    """Run the steps; when one fails, undo it and those before it, the last first."""
    for index, step in enumerate(steps):
        log.step("%s", step.name)
        began = time.monotonic()
        try:
            step.run(context)
        except BaseException:
            report.settle()
            seconds = time.monotonic() - began
            report.timings.append((step.name, seconds))
            with uninterrupted():
                log.warning("%s: failed after %s", step.name, format_seconds(seconds))
                undo(context, steps[: index + 1])
            raise
        seconds = time.monotonic() - began
        report.timings.append((step.name, seconds))
        log.ok("%s: %s", step.name, format_seconds(seconds))


def undo(context: C, steps: Sequence[Step[C]]) -> None:
    """Take back what ``steps`` did. What cannot be taken back is told, and the rest goes on."""
    for step in reversed(steps):
        if step.undo is None:
            continue
        what = step.undoes or step.name
        log.info("Undoing: %s", what)
        try:
            step.undo(context)
        except Exception as error:  # noqa: BLE001 - the first error is the one to report
            log.error("Could not undo %s: %s", what, error)  # noqa: TRY400 - told in a line


def tell_success(what: str, context: Context, report: Report, seconds: float) -> None:
    """Log how the run went and where the app is, and report it as ``completed``."""
    tell_timings(report, seconds)
    for url in context.urls:
        log.info("Running at %s", url)
    log.success("%s done in %s", what, format_seconds(seconds))
    if report.stream is not None:
        report.stream.completed(context.tunnels, seconds)


def tell(error: BaseException, report: Report) -> None:
    """Log what ended the run, and give it to the stream as the reason of ``failed``."""
    set_told(error)
    reason = describe(error)
    output = list(error.output) if isinstance(error, NvoiError) else []
    for line in output:
        log.error("| %s", line)
    lines = reason.splitlines() if isinstance(error, ConfigError) else [reason]
    for line in lines:
        log.error("%s", line, exc_info=error if report.verbose and line is lines[-1] else None)
    if report.stream is not None:
        report.stream.failed("\n".join([reason, *output]), cancelled=is_cancelled(error))


def tell_timings(report: Report, total: float) -> None:
    """Log where the time went, a line a step."""
    if not report.timings:
        return
    width = max(len(name) for name, _ in report.timings)
    log.info("Where the time went:")
    for name, seconds in report.timings:
        share = round(100 * seconds / total) if total else 0
        log.info("  %-*s  %8s  %3d %%", width, name, format_seconds(seconds), share)


def tell_plan(operation: Operation[C], request: Request) -> None:
    """Log what each step would change. Touches nothing, calls nobody."""
    app = request.config.application.name
    log.info("nvoi %s: what %s of %s would do", __version__, operation.title.lower(), app)
    operation.check(request)
    context = operation.target.preview(request)
    for step in operation.steps:
        log.step("%s", step.name)
        for line in step.plan(context):
            log.info("  %s", line)
    if request.config.callback_url:
        log.info("The dashboard of callback_url would be told; this dry run calls nobody")


def format_seconds(seconds: float) -> str:
    """``0.3 s``, or ``2 min 05 s`` from a minute on."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
