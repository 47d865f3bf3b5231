"""The build's context: what the engine sees of the checkout, and takes into an image."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from nvoi.errors import CommandError
from nvoi.images.process import CancelledError
from nvoi.source import Source, copy_entry

#: For large files that are needed for a while (FHS 3.0, 5.15): on a disk, where /tmp may be in
#: memory, and cleaned by the system, should a run be killed.
PLACE = "/var/tmp"  # noqa: S108 - what is made there has a random name and mode 0700
PRIVATE = 0o700

#: The engine reads them in the context's root, also where git ignores them.
IGNORE_FILES = (".dockerignore", ".containerignore")


@contextmanager
def stage(source: Source, environ: Mapping[str, str], cancel: Event) -> Iterator[Path]:
    """A private folder that has what is deployed of a checkout, for as long as it is needed.

    The files are the checkout's own under a second name where the disk allows that, else copies;
    ``.dockerignore`` is left to the engine.

    Args:
        source: what is deployed.
        environ: the engine's environment; ``TMPDIR`` says where the folder is made.
        cancel: set from any thread to end it.

    Raises:
        CommandError: the folder cannot be made, or a file not be copied.
        NvoiError: a file cannot be read.
        CancelledError: ``cancel`` was set.
    """
    place = environ.get("TMPDIR") or PLACE
    try:
        private = Path(tempfile.mkdtemp(prefix="nvoi-context-", dir=place))
    except OSError as error:
        raise build_error(place, error) from error
    try:
        # Inside a private one, as this one has the mode of the checkout's.
        folder = private / "context"
        try:
            fill(folder, source, cancel)
        except OSError as error:
            raise build_error(place, error) from error
        yield folder
    finally:
        remove(private)


def fill(folder: Path, source: Source, cancel: Event) -> None:
    """Make ``folder`` hold what is deployed, with the modes and times of the checkout."""
    folder.mkdir()
    ignored = [name for name in IGNORE_FILES if (source.directory / name).is_file()]
    for name in dict.fromkeys([*source.names, *ignored]):
        if cancel.is_set():
            raise CancelledError("the build was cancelled")
        copy_entry(source.directory / name, folder / name, is_linked=True)
    # From below: what is put into a folder changes its time, and its mode may forbid that.
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(FileNotFoundError):
            shutil.copystat(source.directory / os.path.relpath(path, folder), path)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, as far as that can be done.

    Folders alone get another mode: a file's is that of the checkout's own.
    """
    for path, _, _ in os.walk(folder):
        Path(path).chmod(PRIVATE)
    shutil.rmtree(folder, ignore_errors=True)


def build_error(place: str, error: OSError) -> CommandError:
    """What to tell the user where the disk refuses."""
    return CommandError(
        f"the image cannot be built: its files cannot be put into {place}: {error.strerror}",
        hint="make room there, or name another folder in $TMPDIR",
    )
