"""Step: copy the checkout into a release of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nvoi.log.levels import get_logger
from nvoi.source import copy_entry
from nvoi.targets.checkout import read_checkout
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.programs import stop_leftovers
from nvoi.targets.local.record import remove_release
from nvoi.targets.local.state import (
    PRIVATE,
    State,
    build_storage_error,
    guard_storage,
    make_private,
)
from nvoi.targets.step import Step

log = get_logger(__name__)

#: How a release is named: the time of its making, UTC.
NAME_FORMAT = "%Y%m%d%H%M%S"


def run(context: LocalContext) -> None:
    """Make the release's folder and fill it."""
    names = read_checkout(context.request).names
    with guard_storage(context.state):
        make_private(context.state.releases)
    # Set before the folder is made, so that an interruption from here on removes it.
    context.release = build_name(context.state, datetime.now(UTC))
    release = context.state.releases / context.release
    with guard_storage(context.state):
        release.mkdir(mode=PRIVATE)
    copied = sum(copy(context, name, release) for name in names)
    log.info("release %s: %d files from %s", context.release, copied, context.request.directory)


def undo(context: LocalContext) -> None:
    """Remove the release, and end what its commands have left running in it."""
    if context.release:
        stop_leftovers(context.state, context.release)
        remove_release(context.state, context.release)


def plan(context: LocalContext) -> Iterator[str]:
    """Say how many files would be copied, and where to."""
    names = read_checkout(context.request).names
    yield f"would copy {len(names)} files of {context.request.directory} to a new release in " + (
        str(context.state.releases)
    )


def build_name(state: State, now: datetime) -> str:
    """A name that is later than every release's, also in the same second or with the clock back."""
    name = now.strftime(NAME_FORMAT)
    latest = max((name for name in state.list_releases() if name.isdigit()), default="")
    if name > latest:
        return name
    after = datetime.strptime(latest, NAME_FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
    return after.strftime(NAME_FORMAT)


def copy(context: LocalContext, name: str, release: Path) -> bool:
    """Copy one file, link or empty folder; whether there was one.

    Raises:
        NvoiError: it cannot be read, or the disk refuses.
    """
    try:
        return copy_entry(context.request.directory / name, release / name)
    except OSError as error:
        raise build_storage_error(context.state, error) from error


SNAPSHOT = Step("Copy the release", run=run, plan=plan, undo=undo)
