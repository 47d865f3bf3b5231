"""Folders that nobody but their owner may change, on the whole way to them.

Whoever may rename a folder on the way can put another one in its place, with files of their own.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nvoi.errors import UsageError

PRIVATE = 0o700
#: Links on a way, as Linux has it (path_resolution(7)).
MOST_LINKS = 40
#: What is in nvoi's own folder beside the apps.
KEPT = frozenset({"dashboard.d", "known_hosts", "known_hosts.lock", "undelivered.d"})


def make_home(home: Path) -> None:
    """Make nvoi's own folder, ``$NVOI_HOME``: 0700, for all in it is its owner's alone.

    One that holds other things as well is left readable to whom it is.

    Raises:
        UsageError: others could put something of theirs in its place, or in it.
        OSError: it cannot be made.
    """
    check_way(home)
    is_own = not home.is_dir() or all(map(is_kept, home.iterdir()))
    make_missing(home)
    if home.stat().st_mode & stat.S_IWOTH:
        # Sticky, or it would have been refused already.
        raise build_shared_error(home)
    if is_own:
        home.chmod(PRIVATE)


def is_kept(path: Path) -> bool:
    """Whether nvoi keeps something of this name in its own folder: an app's has a lock."""
    return path.name in KEPT or (path / "lock").is_file()


def make_own(folder: Path) -> None:
    """Make a folder in nvoi's own; it is 0700 also if it existed."""
    make_home(folder.parent)
    check_way(folder)
    make_missing(folder)
    folder.chmod(PRIVATE)


def make_missing(folder: Path) -> None:
    """Make ``folder`` and those above it that are missing, for their owner alone."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    # `parents=True` would make those above it with the mode that the umask happens to give.
    for each in reversed(missing):
        each.mkdir(mode=PRIVATE, exist_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds, also folders in it that are read-only.

    What is not there is no error.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            path.chmod(mode | stat.S_IRWXU)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(Path(entry.path))
                else:
                    Path(entry.path).unlink(missing_ok=True)
        path.rmdir()


def check_way(folder: Path) -> None:
    """Make sure that no other user but root can change where ``folder`` leads to.

    Raises:
        UsageError: one can; the text names the place and what to do.
    """
    for place in list_way(folder):
        check_place(place)


def check_place(place: Path) -> None:
    status = place.lstat()
    if status.st_uid not in {0, os.getuid()}:
        raise UsageError(
            f"{place} belongs to {name_user(status.st_uid)}, "
            "who could change what nvoi keeps there",
            hint="set NVOI_HOME to a folder of your own",
        )
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        # A link has no mode, and what is in a sticky folder only its owner can rename.
        return
    if is_writable_by_others(status):
        raise build_shared_error(place)


def is_writable_by_others(status: os.stat_result) -> bool:
    shared = status.st_mode & stat.S_IWGRP and not is_own_group(status.st_gid)
    return bool(shared or status.st_mode & stat.S_IWOTH)


def build_shared_error(place: Path) -> UsageError:
    return UsageError(
        f"others may write to {place}, and so could change what nvoi keeps there",
        hint=f"chmod go-w {place}, or set NVOI_HOME to a folder of your own",
    )


def list_way(folder: Path) -> Iterator[Path]:
    """Every folder and link from the root to ``folder``, as far as they are there."""
    place, links = Path("/"), 0
    left = [*reversed(folder.absolute().parts)]
    while left:
        step = place / left.pop()
        if not os.path.lexists(step):
            return
        yield step
        if not step.is_symlink():
            # The way to `place` has no links: that of `..` is its parent.
            place = Path(os.path.normpath(step))
            continue
        links += 1
        if links > MOST_LINKS:
            raise UsageError(f"{folder} leads through too many links")
        left += reversed(step.readlink().parts)


def is_own_group(group: int) -> bool:
    """Whether a group is the user's alone: of the same name, with no other member.

    Where each user has such a group, the usual umask lets it write (Debian, "UserPrivateGroups").
    """
    try:
        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user.pw_name and not {*found.gr_mem} - {user.pw_name}


def name_user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user {number}"
