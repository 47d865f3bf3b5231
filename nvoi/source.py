"""What of a checkout is deployed, as a release or in an image: its files without its secrets."""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvoi.config.credentials import KEY_NAMES
from nvoi.config.sealing import KEY_FILE
from nvoi.errors import CommandError, NvoiError
from nvoi.log.levels import get_logger
from nvoi.process import capture

log = get_logger("nvoi.source")

#: Folders of version control systems, and Git's file of that name in worktrees and submodules.
VCS = frozenset({".git", ".hg", ".svn", ".bzr", "_darcs", "CVS", ".jj", ".pijul", ".fslckout"})

#: A developer's own settings, which a checkout's .gitignore usually names.
SETTINGS = re.compile(r"\.env(\.local|\..+\.local)?")

#: Encrypted configs, what a change of one that was killed leaves beside it, and what an edit does
#: that others were quicker than.
SEALED = re.compile(r"\.?deploy\.enc(\..*)?|deploy\.edited-\d+\.enc", re.IGNORECASE)

#: Bytes of a file that is searched for private keys: they and plain configs are shorter.
SEARCHED_BYTES = 1 << 16

#: Seconds git may take to list a checkout.
GIT_SECONDS = 120.0


@dataclass(frozen=True)
class Source:
    """What of a checkout is deployed.

    Attributes:
        directory: the checkout, or a folder in one.
        names: its files, links and empty folders, relative to ``directory``.
        keys: what is there as well and never leaves this machine, relative to it too.
    """

    directory: Path
    names: tuple[str, ...]
    keys: frozenset[str] = frozenset()


def read_source(
    directory: Path,
    environ: Mapping[str, str],
    *,
    skip: Iterable[Path] = (),
    key_files: Iterable[Path] = (),
    private_keys: Iterable[str] = (),
    config_file: Path | None = None,
) -> Source:
    """Find what of a checkout is deployed.

    In a git checkout that is what git tracks or does not ignore, submodules included; elsewhere,
    and where git cannot tell, all but VCS folders and ``.env`` files. Keys never are.

    Args:
        skip: paths that are left out with all they hold: nvoi's own state.
        key_files: keys of configs, left out under each of their names as every deploy.key is.
        private_keys: texts of private keys; what holds one is left out.
        config_file: an encrypted config, left out under each of its names as every deploy.enc is.

    Raises:
        OSError: a folder cannot be read.
    """
    skipped = [os.path.realpath(path) for path in skip]
    names = list_tracked(directory, environ) if find_checkout(directory) else None
    if names is None:
        names = list_untracked(directory, skipped)
    real = os.path.realpath(directory)
    names = [
        name
        for name in names
        if not any(is_within(os.path.join(real, name), path) for path in skipped)  # noqa: PTH118 - once a file
    ]
    keys = find_keys(directory, names, key_files, private_keys)
    sealed = find_sealed(directory, names, config_file)
    left_out = keys | sealed
    return Source(directory, tuple(name for name in names if name not in left_out), keys)


def find_sealed(directory: Path, names: Iterable[str], config_file: Path | None) -> frozenset[str]:
    """The encrypted configs among ``names``: an app that serves its folder would show them."""
    own = None if config_file is None else find_identity(config_file)
    return frozenset(
        name
        for name in names
        if SEALED.fullmatch(name.rpartition("/")[2])
        or (own is not None and find_identity(directory / name) == own)
    )


def find_keys(
    directory: Path, names: Sequence[str], key_files: Iterable[Path], private_keys: Iterable[str]
) -> frozenset[str]:
    """The keys in ``directory``: those among ``names``, and those that git ignores."""
    places = [directory / KEY_FILE, directory / "config" / KEY_FILE]
    for path in key_files:
        # Beside it, what a rotation that was killed leaves, and an editor.
        temporary = path.parent.glob(f".{glob.escape(path.name)}.*")
        places += [path, path.with_name(f"{path.name}.new"), *temporary]
    root = directory.absolute()
    known = {name for name in names if is_key_name(name)}
    known |= {
        str(path.relative_to(root))
        for path in map(Path.absolute, places)
        if root in path.parents and path.exists()
    }
    paths = [*places, *(directory / name for name in known)]
    identities = {identity for path in paths if (identity := find_identity(path))}
    # Word by word: a config in YAML indents its lines.
    texts = [words for text in private_keys if (words := text.encode().split())]
    holders = {name for name in names if holds_key(directory / name, identities, texts)}
    for name in sorted(holders - known):
        log.warning("%s is left out: it holds a key", name)
    return frozenset(known | holders)


def is_key_name(name: str) -> bool:
    """Whether a path's name is one of a deploy key's, also where the disk knows no case."""
    return name.rpartition("/")[2].casefold().startswith(KEY_NAMES)


def holds_key(
    path: Path, identities: set[tuple[int, int]], texts: Sequence[Sequence[bytes]]
) -> bool:
    """Whether ``path`` is one of the files, or has all words of one of the ``texts`` in it."""
    if not identities and not texts:
        return False
    try:
        status = path.stat()
        if (status.st_dev, status.st_ino) in identities:
            return True
        if not texts or not stat.S_ISREG(status.st_mode) or status.st_size > SEARCHED_BYTES:
            return False
        content = read_beginning(path)
    except OSError:
        return False
    is_whole = len(content) <= SEARCHED_BYTES
    return is_whole and any(all(word in content for word in words) for words in texts)


def read_beginning(path: Path) -> bytes:
    """As much of a file as is searched, and a byte more where there is one.

    What stands there by now may be larger than it was, or a pipe: neither is waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(SEARCHED_BYTES + 1) or b""


def find_identity(path: Path) -> tuple[int, int] | None:
    """The disk and number of a file, the same under each of its names and through links."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_within(path: str, folder: str) -> bool:
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
    except CommandError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            log.warning("git is not installed: files that it ignores are deployed as well")
            return None
        log.warning("git cannot list %s, so ignored files are deployed too: %s", directory, error)
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
    for below in inner if inner is not None else list_untracked(path, ()):
        yield f"{name}/{below}"


def run_git(directory: Path, environ: Mapping[str, str]) -> list[bytes]:
    """What ``git ls-files`` prints for ``directory``.

    Raises:
        CommandError: git cannot be started, fails or takes too long.
    """
    # A checkout of another user's is fine: the user has named it. GIT_DIR and its like,
    # which a git hook finds in its environment, would name another checkout.
    words = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "ls-files", "-z"]
    clean = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    listed = capture(
        [*words, "--cached", "--others", "--exclude-standard"],
        clean | {"LC_ALL": "C"},
        folder=directory,
        seconds=GIT_SECONDS,
    )
    return listed.split(b"\0")


def list_untracked(directory: Path, skipped: Iterable[str]) -> list[str]:
    """All that is below a folder of which git does not tell, but VCS folders and ``.env`` files."""
    names = list(walk(directory, skipped))
    settings = [name for name in names if SETTINGS.fullmatch(name.rpartition("/")[2])]
    if settings:
        log.warning(
            "git does not list %s: left out %s; environment variables belong into the config",
            directory,
            ", ".join(settings),
        )
    return [name for name in names if name not in settings]


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


def copy_entry(source: Path, target: Path, *, is_linked: bool = False) -> bool:
    """Copy a file, a link or an empty folder with its mode and times; whether there was one.

    Args:
        target: where to; folders above it are made.
        is_linked: let a file have a second name where the disk can do that, instead of a copy:
            a tenth of the time for 300 MB in 3000 files. A change of one is a change of both.

    Raises:
        NvoiError: it cannot be read.
        OSError: the target cannot be written.
    """
    try:
        mode = source.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            log.debug("%s is no file: passed over", source)
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(mode):
            target.mkdir(exist_ok=True)
        elif not (is_linked and stat.S_ISREG(mode) and link(source, target)):
            shutil.copy2(source, target, follow_symlinks=False)
    except FileNotFoundError:
        # Editors and builds come and go with files of their own.
        log.debug("%s has gone meanwhile: passed over", source)
        return False
    except PermissionError as error:
        if os.access(source, os.R_OK):
            raise
        raise NvoiError(
            f"{source} cannot be read", hint="let this user read it, or have git ignore it"
        ) from error
    return True


def link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where it has to be copied.

    So it has on another disk, and where it is somebody else's (proc_sys_fs(5),
    protected_hardlinks).
    """
    if not os.access(source, os.R_OK):
        return False
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True
