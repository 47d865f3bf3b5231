"""An operation on an app: the steps of a target, run under one stream, undone when one fails."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from nvoi.config.schema import Config
from nvoi.errors import ConfigError, NvoiError, UsageError
from nvoi.log.console import ClosedOutputError, uninterrupted
from nvoi.log.levels import get_logger
from nvoi.log.stream import CallbackStream, describe, is_cancelled, set_told
from nvoi.protocol import Tunnel
from nvoi.version import __version__

log = get_logger("nvoi.operation")


@dataclass(frozen=True)
class Request:
    """What the user asked for, as every target sees it.

    ``directory`` is the checkout, ``home`` the folder that holds nvoi's own state,
    ``environ`` the caller's environment, ``key_file`` the file that the config's key was
    read from, None where it came from the environment or was not needed. ``lock_wait`` is
    how many seconds to wait for another run to end, ``dockerfile`` what to build the image
    from instead of the checkout's own, ``with_cluster`` whether ``delete`` takes the cluster
    away too, ``stamp`` the release that ``rollback`` goes to, None for the one before,
    ``accept_data_move`` whether services may go on without the data that they have now.
    """

    config: Config
    directory: Path
    home: Path
    deploy_id: str
    delete_volumes: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_file: Path | None = None
    lock_wait: float = 0.0
    dockerfile: Path | None = None
    with_cluster: bool = False
    stamp: str | None = None
    accept_data_move: bool = False

    @property
    def user(self) -> str:
        """Who runs nvoi, for those who wait: a name, or the number of a user without one."""
        try:
            return self.environ.get("USER") or pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())


@dataclass(frozen=True)
class KeptRelease:
    """A release that can be gone back to; ``images`` are those that its services run."""

    stamp: str
    deploy_id: str
    images: Sequence[str]
    is_running: bool


class Context(Protocol):
    """What the steps of one run share. A target's own context adds to it."""

    @property
    def tunnels(self) -> list[Tunnel]:
        """The services that can be reached, once the run is done."""
        ...

    @property
    def urls(self) -> list[str]:
        """The app's addresses for a person to open."""
        ...


C = TypeVar("C", bound=Context)


@dataclass(frozen=True)
class Step(Generic[C]):
    """One step of a run.

    ``plan`` says for ``--dry-run`` what ``run`` would change, a line each, and touches
    nothing. ``undo`` takes back what ``run`` did or had begun to do; it is called in
    reverse order for every step that was started when a later one fails or the run
    is interrupted. ``undoes`` is what that takes back, where it is more than the step.
    """

    name: str
    run: Callable[[C], None]
    plan: Callable[[C], Iterable[str]]
    undo: Callable[[C], None] | None = None
    undoes: str = ""


@dataclass(frozen=True)
class Target(Generic[C]):
    """A place an app can run: how its context is opened, and its two tuples of steps.

    ``check`` raises :class:`~nvoi.errors.ConfigError` where a valid config asks for what
    this target cannot do. ``open`` makes the context of a run and holds the app's lock;
    ``preview`` makes one for ``--dry-run`` that holds and touches nothing.

    ``rollback`` is empty where a target keeps no releases. What else a target may not have
    are methods, which refuse unless its own class has them. ``has_cluster`` says whether
    ``delete`` can take more away than the app.
    """

    has_cluster: ClassVar[bool] = False

    name: str
    check: Callable[[Request], None]
    open: Callable[[Request], AbstractContextManager[C]]
    preview: Callable[[Request], C]
    deploy: tuple[Step[C], ...]
    delete: tuple[Step[C], ...]
    rollback: tuple[Step[C], ...] = ()

    def list_releases(self, request: Request) -> Sequence[KeptRelease]:
        """The releases that are kept, the newest first. Changes nothing.

        Raises:
            UsageError: the target keeps none.
            NvoiError: they cannot be read.
        """
        del request
        raise UsageError(
            f"the {self.name} target has no releases to go back to",
            hint="check an earlier commit out and deploy it",
        )

    def unlock(self, request: Request) -> None:
        """Tell who holds the app's lock, and end that run's hold on it.

        Raises:
            UsageError: the lock ends with its holder.
            NvoiError: the lock cannot be had.
        """
        del request
        raise UsageError(
            f"the lock of the {self.name} target ends with the run that holds it",
            hint="end that run",
        )


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
                tell_failure(error, report)
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


def tell_failure(error: BaseException, report: Report) -> None:
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
        log.info("A real run reports to callback_url; a dry run does not")


def format_seconds(seconds: float) -> str:
    """``0.3 s``, or ``2 min 05 s`` from a minute on."""
    if round(seconds, 1) < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
