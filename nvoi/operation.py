"""An operation on an app: the steps of a target, run under one stream, undone when one fails."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from nvoi.config.schema import Config
from nvoi.errors import NvoiError, UsageError
from nvoi.log.ending import describe, is_cancelled, set_told
from nvoi.log.levels import get_logger
from nvoi.outcome import (
    Outcome,
    Serving,
    Timing,
    format_seconds,
    tell_failure,
    tell_success,
)
from nvoi.protocol import Tunnel
from nvoi.version import __version__

if TYPE_CHECKING:
    from nvoi.log.stream import CallbackStream

log = get_logger("nvoi.operation")

#: Told once in a deploy behind the name of a service that has a port and no healthcheck.
PORT_ALONE = "; only its port was looked at, as it has no healthcheck"


@dataclass(frozen=True)
class Request:
    """What the user asked for, as every target sees it.

    ``directory`` is the checkout, ``home`` the folder that holds nvoi's own state,
    ``environ`` the caller's environment, ``key_file`` the file that the config's key was
    read from, None where it came from the environment or was not needed. ``lock_wait`` is
    how many seconds to wait for another run to end, ``dockerfile`` what to build the image
    from instead of the checkout's own, ``require_all_servers`` whether a deploy ends where one
    is away, ``with_cluster`` whether ``delete`` takes the cluster
    away too, ``stamp`` the release that ``rollback`` goes to, None for the one before,
    ``accept_data_move`` whether services may go on without the data that they have now, ``adopt``
    whether a deploy takes over what the Ruby gem has made, and ``confirm`` asks whoever is there
    whether what was shown is meant; where nobody is, the options are taken for that.
    """

    config: Config
    directory: Path
    home: Path
    deploy_id: str
    delete_volumes: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_file: Path | None = None
    config_file: Path | None = None
    commit: str = ""
    lock_wait: float = 0.0
    dockerfile: Path | None = None
    require_all_servers: bool = False
    with_cluster: bool = False
    stamp: str | None = None
    accept_data_move: bool = False
    adopt: bool = False
    confirm: Callable[[str], bool] = lambda _: True

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

    @property
    def stamp(self) -> str:
        """The release that the run has put in place, once it is done; empty where none is."""
        ...

    @property
    def remark(self) -> str:
        """The last line of a run, once it is done; empty where all is said."""
        ...

    def find_serving(self) -> Serving | None:
        """What serves after a failure, all being undone; None where that is not known."""
        ...

    def find_log(self) -> str:
        """Where a person finds what the app printed; empty where there is nothing."""
        ...


C = TypeVar("C", bound=Context)


@dataclass(frozen=True)
class Step(Generic[C]):
    """One step of a run.

    ``plan`` says for ``--dry-run`` what ``run`` would change, a line each, and touches
    nothing; it raises what ``run`` would find wrong, as far as that can be seen. A step whose
    plan is empty has nothing to do: it is run, and not told. A run asks no further than for the
    first line. ``undo`` takes back what ``run`` did or had begun to do; it is called in
    reverse order for every step that was started when a later one fails or the run
    is interrupted. ``undoes`` says what that takes back, where it is more than the step; where it
    says nothing there is nothing to take back, and that is not told.
    """

    name: str
    run: Callable[[C], None]
    plan: Callable[[C], Iterable[str]]
    undo: Callable[[C], None] | None = None
    undoes: Callable[[C], str] | None = None


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
    #: How the run ended, once it has.
    outcome: Outcome | None = None


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
    timings: list[Timing] = []
    outcome = Outcome(title, app, 0.0, timings)
    began = time.monotonic()
    # Entering it reports `started`; leaving it by an exception that nobody told, `failed`.
    stream: AbstractContextManager[object] = report.stream or nullcontext()
    with stream:
        try:
            log.info("nvoi %s: %s %s (%s target)", __version__, title.lower(), app, target.name)
            operation.check(request)
            with target.open(request) as context:
                try:
                    run_steps(context, operation.steps, timings, report.settle)
                except BaseException:
                    outcome = find_rest(outcome, context)
                    raise
        except BaseException as error:
            report.settle()
            seconds = time.monotonic() - began
            end_badly(replace(outcome, seconds=seconds, error=error), error, report)
            raise
        report.settle()
        report.outcome = replace(
            outcome,
            seconds=time.monotonic() - began,
            release=context.stamp,
            commit=request.commit,
            urls=context.urls,
            remark=context.remark,
        )
        tell_success(report.outcome)
        if report.stream is not None:
            report.stream.completed(context.tunnels, report.outcome.seconds)
    return context


def end_badly(outcome: Outcome, error: BaseException, report: Report) -> None:
    """Log what ended the run, and give it to the stream as the reason of ``failed``."""
    set_told(error)
    report.outcome = outcome
    tell_failure(outcome, verbose=report.verbose)
    if report.stream is not None:
        reason = "\n".join([describe(error), *outcome.output])
        report.stream.failed(reason, cancelled=is_cancelled(error))


def run_steps(
    context: C, steps: Sequence[Step[C]], timings: list[Timing], settle: Callable[[], None]
) -> None:
    """Run the steps; when one fails, undo it and those before it, the last first."""
    told: set[str] = set()
    for index, step in enumerate(steps):
        began = time.monotonic()
        try:
            if has_work(context, step):
                told.add(step.name)
                log.step("%s", step.name)
            step.run(context)
        except BaseException:
            settle()
            seconds = time.monotonic() - began
            timings.append(Timing(step.name, seconds, failed=True))
            log.warning("%s: failed after %s", step.name, format_seconds(seconds))
            undo(context, steps[: index + 1], told)
            raise
        seconds = time.monotonic() - began
        timings.append(Timing(step.name, seconds, told=step.name in told))


def has_work(context: C, step: Step[C]) -> bool:
    """Whether a step's plan has a line. One that fails is told as a step that does."""
    try:
        return next(iter(step.plan(context)), None) is not None
    except NvoiError:
        return True


def undo(context: C, steps: Sequence[Step[C]], told: Collection[str]) -> None:
    """Take back what ``steps`` did. What cannot be taken back is told, and the rest goes on."""
    for step in reversed(steps):
        if step.undo is None:
            continue
        what = step.undoes(context) if step.undoes else step.name
        if what and step.name in told:
            log.info("Undoing: %s", what)
        try:
            step.undo(context)
        except Exception as error:  # noqa: BLE001 - the first error is the one to report
            log.error("Could not undo %s: %s", what or step.name, error)  # noqa: TRY400 - told in a line


def find_rest(outcome: Outcome, context: Context) -> Outcome:
    """What is left of the app after a failure; where that cannot be found, nothing is said."""
    try:
        return replace(outcome, serving=context.find_serving(), app_log=context.find_log())
    except Exception as error:  # noqa: BLE001 - the first error is the one to report
        log.debug("What serves now cannot be found: %s", error)
        return outcome


def tell_plan(operation: Operation[C], request: Request) -> None:
    """Log what a run would do. Touches nothing, and asks who rents servers out, reading alone.

    Raises:
        NvoiError: the run would fail with it, as far as that can be seen.
    """
    app = request.config.application.name
    log.info("nvoi %s: what %s of %s would do", __version__, operation.title.lower(), app)
    operation.check(request)
    tell_steps(operation, request)
    if request.config.callback_url:
        log.info("A real run reports to callback_url; a dry run does not")


def tell_steps(operation: Operation[C], request: Request) -> None:
    context = operation.target.preview(request)
    for step in operation.steps:
        for number, line in enumerate(step.plan(context)):
            if number == 0:
                log.step("%s", step.name)
            log.info("  %s", line)
