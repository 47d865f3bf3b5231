"""How a run ended: as a value for whoever shows it, and as the lines that end its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nvoi.errors import NvoiError
from nvoi.log.ending import describe
from nvoi.log.levels import get_logger
from nvoi.log.rendering import format_count

#: Whose records are the end of a run's log, and belong to none of its steps.
LOGGER = "nvoi.outcome"

log = get_logger(LOGGER)

#: Seconds from which on a step's time is worth a line.
LONG_SECONDS = 1.0

#: How releases are named, each newer than all before: by the time of their making, UTC.
STAMP_FORMAT = "%Y%m%d%H%M%S"

REPORT_HINT = "run again with --verbose for the traceback, and report it"

#: Seconds of each unit in which an age is told, the longest first.
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class Timing:
    """The ``seconds`` that a step took; whether it failed, and whether it had work to tell of."""

    name: str
    seconds: float
    failed: bool = False
    told: bool = True


@dataclass(frozen=True)
class Serving:
    """What of an app serves when a run has failed and all is undone.

    ``release`` is empty where nothing does; ``lacking`` are those of its services that should
    run and do not.
    """

    release: str = ""
    urls: Sequence[str] = ()
    lacking: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``error`` is what it failed with, None where it did not.

    ``release`` is the one that serves now by this run, with its ``commit`` and ``urls``, as far as
    there is one; ``remark`` is the last line, where there is one more. Of a run that failed:
    ``serving``, None where that is not known, and ``app_log``, where the app's own log is.
    """

    title: str
    app: str
    seconds: float
    timings: Sequence[Timing]
    release: str = ""
    commit: str = ""
    urls: Sequence[str] = ()
    remark: str = ""
    error: BaseException | None = None
    serving: Serving | None = None
    app_log: str = ""

    @property
    def reason(self) -> str:
        """What it failed with, a line or several; empty where it did not."""
        if self.error is None:
            return ""
        return self.error.message if isinstance(self.error, NvoiError) else describe(self.error)

    @property
    def hint(self) -> str:
        """What to do about it; empty where there is nothing to say."""
        if isinstance(self.error, NvoiError):
            return self.error.hint
        return REPORT_HINT if isinstance(self.error, Exception) else ""

    @property
    def output(self) -> Sequence[str]:
        """The last lines that the failing part printed, oldest first."""
        return self.error.output if isinstance(self.error, NvoiError) else ()


def tell_success(outcome: Outcome) -> None:
    tell_timings(outcome)
    for url in outcome.urls:
        log.info("Running at %s", url)
    named = {"release": outcome.release, "commit": outcome.commit}
    parts = [f"{noun} {name}, " for noun, name in named.items() if name]
    what = f"{outcome.title} of {outcome.app} done{':' if parts else ''}"
    log.success("%s %sin %s", what, "".join(parts), format_seconds(outcome.seconds))
    if outcome.remark:
        log.info("%s", outcome.remark)


def tell_failure(outcome: Outcome, *, verbose: bool) -> None:
    """Log why, what to do, what serves all the same, and where the app's log is."""
    tell_timings(outcome)
    for line in outcome.output:
        log.error("| %s", line)
    *lines, last = outcome.reason.splitlines() or [""]
    for line in lines:
        log.error("%s", line)
    log.error("%s", last, exc_info=outcome.error if verbose else None)
    if outcome.hint:
        log.error("%s", outcome.hint)
    if outcome.serving is not None:
        log.warning("%s", describe_serving(outcome.app, outcome.serving, datetime.now(UTC)))
    if outcome.app_log:
        log.warning("the app's log: %s", outcome.app_log)


def tell_timings(outcome: Outcome) -> None:
    """Log which steps took long, where that says more than the line of the one that failed."""
    long = [one for one in outcome.timings if one.seconds > LONG_SECONDS]
    if all(one.failed for one in long):
        return
    width = max(len(one.name) for one in long)
    log.info("Where the time went:")
    for one in long:
        share = round(100 * one.seconds / outcome.seconds)
        time, end = format_seconds(one.seconds), ", failed" if one.failed else ""
        log.info("  %-*s  %8s  %3d %%%s", width, one.name, time, share, end)


def describe_serving(app: str, serving: Serving, now: datetime) -> str:
    """``the release of 12 minutes ago still serves at http://localhost:8000``."""
    if not serving.release:
        return f"nothing of {app} serves"
    release = describe_release(serving.release, now)
    if serving.lacking:
        verb = "does" if len(serving.lacking) == 1 else "do"
        return f"{' and '.join(serving.lacking)} of {release} {verb} not run: deploy again"
    place = f" at {', '.join(serving.urls)}" if serving.urls else ""
    return f"{release} still serves{place}"


def describe_release(stamp: str, now: datetime) -> str:
    """``the release of 12 minutes ago``. A clock may have been set back since."""
    then = find_moment(stamp)
    if then is None:
        return f"release {stamp}"
    seconds = max(1, int((now - then).total_seconds()))
    size, unit = next(each for each in UNITS if seconds >= each[0])
    return f"the release of {format_count(seconds // size, unit)} ago"


def find_moment(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, STAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def format_seconds(seconds: float) -> str:
    """``0.3 s``, or ``2 min 05 s`` from a minute on."""
    if round(seconds, 1) < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
