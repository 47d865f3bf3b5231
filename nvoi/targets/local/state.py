"""Where the local target keeps an app: every path, and what to say when the disk refuses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.targets.step import Request

PRIVATE = 0o700
PRIVATE_FILE = 0o600

#: ENOSPC: the disk is full; EDQUOT: the user's share of it; EFBIG: a file size limit (errno(3)).
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class State:
    """The folder of one app below nvoi's home, mode 0700, and what is in it.

    ::

        <home>/<app>/
          releases/<YYYYMMDDHHMMSS>  one snapshot each
          current                    a link to the release that serves
          volumes/<volume>           data that outlives releases
          run/<release>/             its launchers, and services.json once it has served
          run/<service>.sh           a link to the launcher that supervisord runs
          logs/<service>.log         what a service printed
          supervisor/                supervisord's config, socket, pid and log
          lock                       who is at work here
    """

    root: Path

    @property
    def releases(self) -> Path:
        """The folder of snapshots."""
        return self.root / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that serves."""
        return self.root / "current"

    @property
    def volumes(self) -> Path:
        """The folder of data that outlives releases."""
        return self.root / "volumes"

    @property
    def run(self) -> Path:
        """The folder of launchers."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """The folder of what the services print."""
        return self.root / "logs"

    @property
    def supervisor(self) -> Path:
        """The folder of supervisord's own files."""
        return self.root / "supervisor"

    @property
    def lock(self) -> Path:
        """The file that a run locks."""
        return self.root / "lock"

    def get_launchers(self, release: str) -> Path:
        """The folder of one release's launchers."""
        return self.run / release

    def find_current(self) -> str | None:
        """The name of the release that serves, None where none does or its folder is gone."""
        try:
            name = self.current.readlink().name
        except OSError:
            return None
        return name if (self.releases / name).is_dir() else None

    def set_current(self, release: str | None) -> None:
        """Switch ``current`` to ``release`` in one move, or take it away."""
        if release is None:
            self.current.unlink(missing_ok=True)
        else:
            replace_link(self.current, Path("releases") / release)

    def list_releases(self) -> list[str]:
        """The names of all releases, oldest first."""
        return list_names(self.releases)


def build_state(request: Request) -> State:
    """The state of the app that ``request`` is about; nothing is touched."""
    return State(request.home.absolute() / request.config.application.name)


@contextmanager
def guard_storage(state: State) -> Iterator[None]:
    """Turn a refusal of the disk into an error that names the folder.

    Raises:
        NvoiError: instead of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise build_storage_error(state, error) from error


def build_storage_error(state: State, error: OSError) -> NvoiError:
    """What to tell the user about ``error``."""
    if error.errno in NO_ROOM:
        return NvoiError(
            f"no room left for the state folder {state.root}: {error.strerror}",
            hint="free some space, or set NVOI_HOME to a folder on another disk",
        )
    place = f" ({error.filename})" if error.filename else ""
    return NvoiError(
        f"the state folder {state.root} cannot be used: {error.strerror or error}{place}",
        hint="make it writable for this user, or set NVOI_HOME to another folder",
    )


def make_private(folder: Path) -> None:
    """Make ``folder`` and its parents; the folder itself is 0700 also if it existed."""
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE)


def check_private(folder: Path) -> None:
    """Make sure that nobody but this user can have put anything into ``folder``.

    Raises:
        OSError: there is no such folder.
        NvoiError: it is somebody else's or a link, or others may write to it.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
        raise NvoiError(f"{folder} belongs to somebody else", hint="remove it, or set NVOI_HOME")
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NvoiError(f"others may write to {folder}", hint=f"chmod 700 {folder}")


def write_private(path: Path, text: str, mode: int = PRIVATE_FILE) -> None:
    """Replace the file at ``path`` in one move; others can never read it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_link(link: Path, target: Path) -> None:
    """Point ``link`` at ``target`` in one move, whatever it pointed at before."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds, also folders in it that are read-only.

    What is not there is no error.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        _empty(path)
        path.rmdir()


def _empty(folder: Path) -> None:
    mode = folder.stat().st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        folder.chmod(mode | stat.S_IRWXU)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _empty(Path(entry.path))
                Path(entry.path).rmdir()
            else:
                Path(entry.path).unlink(missing_ok=True)


def list_names(folder: Path) -> list[str]:
    """The names in ``folder``, sorted; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - only the names, as plain text
    except (FileNotFoundError, NotADirectoryError):
        return []
