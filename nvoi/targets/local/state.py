"""Where the local target keeps an app: its paths, records and private files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nvoi.errors import NvoiError
from nvoi.files import write_whole
from nvoi.folders import remove_tree
from nvoi.log import masking
from nvoi.operation import Request

PRIVATE = 0o700
PRIVATE_FILE = 0o600

#: ENOSPC: the disk is full; EDQUOT: the user's share of it; EFBIG: a file size limit (errno(3)).
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: What this machine, and not its disk, has no more of: arguments, processes, files that are open,
#: memory (errno(3)).
OF_MACHINE = frozenset({errno.E2BIG, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

#: Bytes of a Unix socket's path: 108 on Linux, 104 on BSD and macOS (unix(7), unix(4)), with
#: its NUL; supervisord binds a name with its pid behind it first, hence the room.
LONGEST_SOCKET_PATH = 104 - 1 - len(".4194304")

#: Lines of a log that an error carries.
LAST_LINES = 20
#: Bytes that are read for them, and before them where a line may have begun: it may be long.
LAST_BYTES = 64 * 1024

#: The services of a release that has served, each with its port, or None without one.
Record = Mapping[str, int | None]


class StateFolder:
    """The folder of one app below nvoi's home, mode 0700, and what is in it.

    ::

        <home>/<app>/
          releases/<YYYYMMDDHHMMSS>  one snapshot each
          current                    a link to the release that serves
          volumes/<volume>           data that outlives releases
          run/<release>/             its launchers, and services.json once it has served
          run/trial/                 the launchers of a release on trial
          logs/<service>.log         what a service printed
          supervisor/                supervisord's config, socket, pid and log
          lock                       who is at work here
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases = root / "releases"
        self.current = root / "current"
        self.volumes = root / "volumes"
        self.run = root / "run"
        self.logs = root / "logs"
        self.supervisor = root / "supervisor"
        self.lock = root / "lock"

    @property
    def socket(self) -> Path:
        """Where the app's supervisord listens.

        In this folder; where that path is too long for a socket, in a private folder below
        ``/tmp``, the one place that is the same whatever the caller's environment.
        """
        path = self.supervisor / "supervisor.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path("/tmp") / f"nvoi-{os.getuid()}-{digest}" / "supervisor.sock"  # noqa: S108 - 0700, the way to it is checked

    def remove_socket(self) -> None:
        folder = self.socket.parent
        if folder == self.supervisor or not folder.is_dir() or folder.is_symlink():
            return
        if folder.lstat().st_uid == os.getuid():
            remove_tree(folder)

    def find_current(self) -> str | None:
        """The name of the release that serves, None where none does or its folder is gone."""
        try:
            name = self.current.readlink().name
        except OSError:
            return None
        return name if (self.releases / name).is_dir() else None

    def set_current(self, release: str | None) -> None:
        if release is None:
            self.current.unlink(missing_ok=True)
        else:
            replace_link(self.current, Path("releases") / release)

    def list_releases(self) -> list[str]:
        return list_names(self.releases)

    def list_unfinished(self) -> list[str]:
        """Releases that never served: what a run that was killed has left."""
        launched = [name for name in list_names(self.run) if name.isdigit()]
        return sorted(
            name
            for name in {*self.list_releases(), *launched} - {self.find_current()}
            if self.find_record(name) is None or not (self.releases / name).is_dir()
        )

    def remove_release(self, release: str) -> None:
        remove_tree(self.releases / release)
        remove_tree(self.run / release)

    def save_record(self, release: str, record: Record) -> None:
        path = self.run / release / "services.json"
        # A release without services has no launchers, and so no folder for them yet.
        make_private(path.parent)
        write_text(path, json.dumps(record))

    def find_record(self, release: str | None) -> Record | None:
        """The record of ``release``, None where it never served or the record cannot be read."""
        if release is None:
            return None
        try:
            record = json.loads((self.run / release / "services.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def build_marks(self, release: str | None = None, program: str | None = None) -> dict[str, str]:
        """Variables by which every process of the app is known, also without supervisord.

        Or those of one release, or those that supervisord's program of this name has started.
        """
        marks = {"NVOI_STATE": str(self.root), "NVOI_RELEASE": release, "NVOI_PROGRAM": program}
        return {name: value for name, value in marks.items() if value is not None}


def build_state(request: Request) -> StateFolder:
    return StateFolder(request.home.absolute() / request.config.application.name)


@contextmanager
def storage_errors(state: StateFolder) -> Iterator[None]:
    """Turn a refusal of the disk into an NvoiError that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in OF_MACHINE:
            raise
        if error.errno in NO_ROOM:
            raise NvoiError(
                f"no room left for the state folder {state.root}: {error.strerror}",
                hint="free some space, or set NVOI_HOME to a folder on another disk",
            ) from error
        place = f" ({error.filename})" if error.filename else ""
        raise NvoiError(
            f"the state folder {state.root} cannot be used: {error.strerror or error}{place}",
            hint="make it writable for this user, or set NVOI_HOME to another folder",
        ) from error


def make_private(folder: Path) -> None:
    """Make ``folder`` and its parents; the folder itself is 0700 also if it existed."""
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE)


def write_text(path: Path, text: str) -> None:
    """Replace a private file, in UTF-8 whatever the locale is; bytes of names stay as they were."""
    write_whole(path, text.encode("utf-8", "surrogateescape"))


def replace_link(link: Path, target: Path) -> None:
    """Point ``link`` at ``target`` in one move, whatever it pointed at before."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def list_names(folder: Path) -> list[str]:
    """The names in ``folder``, sorted; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - only the names, as plain text
    except (FileNotFoundError, NotADirectoryError):
        return []


def find_size(path: Path) -> int:
    """The bytes of a file, 0 where there is none: what follows those of a log is new."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def read_tail(path: Path, since: int = 0, lines: int = LAST_LINES) -> tuple[str, ...]:
    """The last ``lines`` lines of a log, oldest first; none where it cannot be read.

    What stands before ``since`` bytes is left out, unless the log was rotated: it is shorter.
    """
    # Nothing masks the half of a secret that the reading begins in, so that is passed over.
    passed = max(LAST_BYTES, masking.masker.reach)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            since = since if since <= size else 0
            begin = max(since, size - LAST_BYTES - passed)
            file.seek(begin)
            text = file.read(LAST_BYTES + passed).decode("utf-8", "replace")
    except OSError:
        return ()
    if begin > since:
        end = text.find("\n", 0, passed)
        _, text = masking.masker.split_text(text, passed if end < 0 else end + 1)
    return tuple(masking.masker.mask_text(text).splitlines()[-lines:])
