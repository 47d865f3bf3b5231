"""Reads files that may be anything, and writes files that hold secrets."""

from __future__ import annotations

import glob
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from nvoi.errors import CredentialsError

# A config has some kilobytes; whatever is larger was given by mistake.
SIZE_LIMIT = 1 << 20
OTHERS = stat.S_IRWXG | stat.S_IRWXO
#: What the names of half-written files end with.
TEMPORARY_SUFFIX = ".tmp"


def read_file(path: Path) -> bytes:
    """All of a file, which may be a pipe.

    Raises:
        CredentialsError: it is missing, unreadable, no file, or above 1 MiB; such a file is
            refused before it is read.
    """
    content, _ = read_with_mode(path)
    return content


def read_with_mode(path: Path) -> tuple[bytes, int]:
    """As :func:`read_file`, and the mode of the very file that was read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = b"" if status.st_size > SIZE_LIMIT else file.read(SIZE_LIMIT + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CredentialsError(f"cannot read {path}: {reason}") from error
    except ValueError as error:
        raise CredentialsError("cannot read a file whose name holds a NUL character") from error
    if max(status.st_size, len(content)) > SIZE_LIMIT:
        raise CredentialsError(
            f"{path} is larger than 1 MiB", hint="this is no deploy config; name another file"
        )
    return content, status.st_mode


def is_open_to_others(mode: int) -> bool:
    """Whether a regular file of this mode can be used by others than its owner."""
    return stat.S_ISREG(mode) and bool(mode & OTHERS)


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Makes ``path`` hold ``data``, mode 0600, wholly or not at all.

    The data goes to a new file beside it, on to the disk, and takes the name at once, which is on
    the disk too before this returns. A link stays, and what it points to is replaced.

    Raises:
        CredentialsError: it cannot be written, or exists and may not be replaced.
    """
    try:
        write_whole(path, data, replace=replace)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CredentialsError(f"cannot write {path}: {reason}") from error


def write_whole(path: Path, data: bytes, *, replace: bool = True) -> None:
    """As :func:`write_private`, but that the OSError is raised as it is."""
    target = Path(os.path.realpath(path)) if replace else path
    # mkstemp opens with O_EXCL and mode 0600.
    descriptor, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=TEMPORARY_SUFFIX
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(target)
        else:
            # Unlike a rename, a link fails where the name is taken.
            try:
                target.hardlink_to(temporary)
            except PermissionError as error:
                raise OSError(error.errno, "its file system has no hard links") from error
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in ``folder`` outlive a power cut, where its file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def list_temporaries(path: Path) -> list[Path]:
    """What :func:`write_private` has left beside ``path`` where it was killed."""
    return [*path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY_SUFFIX}")]
