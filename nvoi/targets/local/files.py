"""Which files of the checkout belong to a release."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from nvoi.log.levels import get_logger

log = get_logger(__name__)

#: Folders of version control systems, and Git's file of that name in worktrees and submodules.
VCS = frozenset({".git", ".hg", ".svn", ".bzr", "_darcs", "CVS", ".jj", ".pijul", ".fslckout"})

#: Never part of a release, in any folder and whatever its case: it opens the config.
KEY_FILE = "deploy.key"

#: Seconds git may take to list a checkout.
GIT_SECONDS = 120.0


def list_files(
    directory: Path,
    environ: Mapping[str, str],
    *,
    skip: Iterable[Path],
    keys: Iterable[Path] = (),
) -> list[str]:
    """The files, links and empty folders that make up a release, relative to ``directory``.

    In a git checkout what git tracks or does not ignore, submodules included; elsewhere, and
    where git cannot tell, all but VCS folders.

    Args:
        directory: the checkout, or a folder in one.
        environ: the caller's environment, for git.
        skip: paths that are left out with all they hold: nvoi's own state.
        keys: files that are left out under each of their names, as every ``deploy.key`` is.
    """
    skipped = [os.path.realpath(path) for path in skip]
    names = list_tracked(directory, environ) if find_checkout(directory) else None
    if names is None:
        names = list(walk(directory, skipped))
    named = [directory / name for name in names if is_key_name(name)]
    usual = [directory / KEY_FILE, directory / "config" / KEY_FILE]
    secret = {identity for path in (*keys, *usual, *named) if (identity := find_identity(path))}
    real = os.path.realpath(directory)
    return [
        name
        for name in names
        if not is_key_name(name)
        and not any(is_within(os.path.join(real, name), path) for path in skipped)  # noqa: PTH118 - once a file
        and not (secret and find_identity(directory / name) in secret)
    ]


def is_key_name(name: str) -> bool:
    """Whether a path is that of a ``deploy.key``, also where the disk knows no case.

    A rotation of the key that was killed may have left ``deploy.key.new`` and ``.deploy.key.*``.
    """
    base = name.rpartition("/")[2].casefold()
    return base in {KEY_FILE, f"{KEY_FILE}.new"} or base.startswith(f".{KEY_FILE}.")


def find_identity(path: Path) -> tuple[int, int] | None:
    """The disk and number of a file, the same under each of its names and through links."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def find_checkout(directory: Path) -> Path | None:
    """The git checkout that ``directory`` is in, None where there is none."""
    absolute = directory.resolve()
    return next((path for path in (absolute, *absolute.parents) if (path / ".git").exists()), None)


def list_tracked(directory: Path, environ: Mapping[str, str]) -> list[str] | None:
    """What git tracks or does not ignore; None where git cannot tell.

    None also where git lists nothing: a folder that the checkout around it ignores is not
    part of it.
    """
    try:
        listed = run_git(directory, environ)
    except FileNotFoundError:
        log.warning("git is not installed: files that it ignores are deployed as well")
        return None
    except (OSError, subprocess.SubprocessError) as error:
        reason = describe(error)
        log.warning("git cannot list %s, so ignored files are deployed too: %s", directory, reason)
        return None
    names: list[str] = []
    is_behind_link = build_link_test(directory)
    for name in map(os.fsdecode, filter(None, dict.fromkeys(listed))):
        # A tracked folder whose place a link has taken: git lists the link and what it shows.
        if not is_behind_link((directory / name).parent):
            names.extend(expand(directory, name.rstrip("/"), environ))
    return names or None


def build_link_test(directory: Path) -> Callable[[Path], bool]:
    """A function that tells whether a folder is a link, or reached by one, below ``directory``."""

    @cache
    def is_behind_link(folder: Path) -> bool:
        if folder == directory:
            return False
        return folder.is_symlink() or is_behind_link(folder.parent)

    return is_behind_link


def expand(directory: Path, name: str, environ: Mapping[str, str]) -> Iterator[str]:
    """``name``, or what is in it where it is a submodule or a checkout of its own."""
    path = directory / name
    if path.is_symlink() or not path.is_dir():
        # Tracked but deleted: gone from the checkout, so not of the release.
        if os.path.lexists(path):
            yield name
        return
    inner = list_tracked(path, environ) if (path / ".git").exists() else None
    for below in inner if inner is not None else walk(path, ()):
        yield f"{name}/{below}"


def run_git(directory: Path, environ: Mapping[str, str]) -> list[bytes]:
    """What ``git ls-files`` prints for ``directory``.

    Raises:
        subprocess.SubprocessError: git fails or takes too long.
    """
    # A checkout of another user's is fine: the user has named it. GIT_DIR and its like,
    # which a git hook finds in its environment, would name another checkout.
    words = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "ls-files", "-z"]
    clean = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    finished = subprocess.run(  # noqa: S603 - fixed words, no shell
        [*words, "--cached", "--others", "--exclude-standard"],
        cwd=directory,
        env=clean | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=GIT_SECONDS,
        check=True,
    )
    return finished.stdout.split(b"\0")


def describe(error: Exception) -> str:
    """Git's own reason, in one line."""
    stderr = getattr(error, "stderr", None) or b""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else str(error)


def walk(directory: Path, skipped: Iterable[str], prefix: str = "") -> Iterator[str]:
    """Everything below ``directory`` but VCS folders; a folder only where it is empty."""
    with os.scandir(directory) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        if entry.name in VCS:
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield name
            continue
        if os.path.realpath(entry.path) in skipped:
            continue
        below = list(walk(Path(entry.path), skipped, name + "/"))
        yield from below or [name]


def is_special(mode: int) -> bool:
    """Whether a file is neither a file, a folder nor a link: it cannot be copied."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
