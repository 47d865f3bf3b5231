"""Step: copy the checkout into a release of its own."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.log.levels import get_logger
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.files import is_special, list_files
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
    names = list_source(context)
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
    names = list_source(context)
    yield f"would copy {len(names)} files of {context.request.directory} to a new release in " + (
        str(context.state.releases)
    )


def list_source(context: LocalContext) -> list[str]:
    """The names to copy.

    Raises:
        NvoiError: the folder cannot be read, or holds nothing.
    """
    request, root = context.request, context.state.root
    directory, home, key = request.directory, root.parent, request.key_file
    # By their real paths: each may be named through a link.
    is_inside = directory.resolve() in home.resolve().parents
    try:
        names = list_files(
            directory,
            request.environ,
            skip=[home if is_inside else root],
            keys=[] if key is None else [key],
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise NvoiError(f"{error.filename or directory} cannot be read: {reason}") from error
    if not names:
        raise NvoiError(f"{directory} holds no files", hint="name the app's folder with --dir")
    return names


def build_name(state: State, now: datetime) -> str:
    """A name that is later than every release's, also in the same second or with the clock back."""
    name = now.strftime(NAME_FORMAT)
    latest = max((name for name in state.list_releases() if name.isdigit()), default="")
    if name > latest:
        return name
    after = datetime.strptime(latest, NAME_FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
    return after.strftime(NAME_FORMAT)


def copy(context: LocalContext, name: str, release: Path) -> bool:
    """Copy one file, link or empty folder with its mode and times; whether there was one.

    Raises:
        NvoiError: it cannot be read, or the disk refuses.
    """
    source, target = context.request.directory / name, release / name
    try:
        mode = source.lstat().st_mode
        if is_special(mode):
            log.debug("%s is no file: passed over", name)
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(mode):
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    except FileNotFoundError:
        # Editors and builds come and go with files of their own.
        log.debug("%s has gone meanwhile: passed over", name)
        return False
    except OSError as error:
        if isinstance(error, PermissionError) and not os.access(source, os.R_OK):
            raise NvoiError(
                f"{source} cannot be read", hint="let this user read it, or have git ignore it"
            ) from error
        raise build_storage_error(context.state, error) from error
    return True


SNAPSHOT = Step("Copy the release", run=run, plan=plan, undo=undo)
