"""What the steps of one run share, and how a run begins: one at a time, with the app's lock.

The lock says who holds it and dies with its holder.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nvoi.config.schema import Application, AppService
from nvoi.errors import ExtraError, LockError
from nvoi.folders import check_way, make_own
from nvoi.operation import Request
from nvoi.outcome import Serving
from nvoi.protocol import Tunnel
from nvoi.targets.local.processes import is_port_free
from nvoi.targets.local.state import (
    PRIVATE_FILE,
    Record,
    StateFolder,
    build_state,
    list_names,
    storage_errors,
)
from nvoi.targets.local.supervisor import SERVICE, Program, find_supervisor


@dataclass
class LocalContext:
    """One run on this machine.

    Attributes:
        request: what the user asked for.
        state: where the app is kept.
        previous: the release that served when the run began, None where none did.
        release: the one this run makes, empty until it has a name.
        has_switched: the run has begun to take the old release's ports.
        failed_log: what the service printed that did not come up.
        tunnels: the services that can be reached, once the run is done.
        urls: where a person can open them.
        remark: the last line of a run, where there is more to say.
    """

    request: Request
    state: StateFolder
    previous: str | None = field(init=False)
    release: str = ""
    has_switched: bool = False
    failed_log: Path | None = None
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    remark: str = ""

    def __post_init__(self) -> None:
        self.previous = self.state.find_current()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the app is here but the lock of a run."""
        return {*list_names(self.state.root)} <= {"lock"}

    @property
    def stamp(self) -> str:
        return self.release

    @property
    def application(self) -> Application:
        return self.request.config.application

    @property
    def services(self) -> tuple[AppService, ...]:
        return tuple(self.application.app.values())

    @property
    def sqlite_volumes(self) -> list[str]:
        database = self.application.database
        return list(database.mount) if database and database.engine == "sqlite3" else []

    @property
    def record(self) -> Record:
        """What the new release runs."""
        return {service.name: service.port for service in self.services}

    @property
    def previous_record(self) -> Record:
        """What the release that served ran; empty where there was none."""
        return self.state.find_record(self.previous) or {}

    @property
    def programs(self) -> list[Program]:
        return [Program(name, self.release) for name in self.record]

    @property
    def previous_programs(self) -> list[Program]:
        return [Program(name, self.previous or "") for name in self.previous_record]

    def find_serving(self) -> Serving:
        """The release that is current: what of it runs, and listens on its port."""
        release = self.state.find_current()
        supervisor = find_supervisor(self.state)
        infos = supervisor.list_infos() if supervisor else {}
        record = self.state.find_record(release) or {}
        running = {
            name: port
            for name, port in record.items()
            if (info := infos.get(SERVICE + name)) is not None
            and info.is_alive
            and (port is None or not is_port_free(port))
        }
        return Serving(
            release or "",
            [build_url(port) for port in running.values() if port],
            [name for name in record if name not in running],
        )

    def find_log(self) -> str:
        """What the service printed that failed, else the folder of all."""
        path = self.failed_log or self.state.logs
        return str(path) if path.exists() else ""


def build_url(port: int) -> str:
    return f"http://localhost:{port}"


def preview(request: Request) -> LocalContext:
    """The context of a run that only says what it would do: it holds and touches nothing.

    What would keep a run from beginning is raised here too, but for another run's lock.
    """
    state = build_state(request)
    check_way(state.root)
    check_room(state)
    return LocalContext(request, state)


@contextmanager
def open_context(request: Request) -> Iterator[LocalContext]:
    """The context of a run, with the app's lock held; a LockError where another run has it."""
    state = build_state(request)
    check_way(state.root)
    # Of the run's steps too: what they write is in the state folder.
    with storage_errors(state), hold_lock(state, request):
        yield LocalContext(request, state)


def require_extra() -> None:
    for name in ("supervisor", "psutil"):
        if importlib.util.find_spec(name) is None:
            raise ExtraError(f"the local target needs {name}, which is not installed", "local")


def check_room(state: StateFolder) -> None:
    """Make sure that the state folder is one, or can be made, by what can be seen of it."""
    nearest = next(path for path in (state.root, *state.root.parents) if os.path.lexists(path))
    with storage_errors(state):
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))


@contextmanager
def hold_lock(state: StateFolder, request: Request) -> Iterator[None]:
    """Hold the app's lock for as long as the block runs; makes the state folder.

    The kernel gives the lock back when the holder ends in any way. Python opens files so
    that no child inherits them (PEP 446), so supervisord never holds it.
    """
    descriptor = acquire(state)
    holder = {
        "user": request.user,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "deploy": request.deploy_id,
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def acquire(state: StateFolder) -> int:
    """The descriptor of the lock file, locked.

    One that ``nvoi delete`` removed between open and lock keeps nobody out, so a file that is
    no longer at its path is opened again.
    """
    while True:
        make_own(state.root)
        descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_same_file(descriptor, state):
                return descriptor
        except BlockingIOError:
            holder = read_holder(descriptor)
            os.close(descriptor)
            raise LockError(
                f"another run of {state.root.name} is at work: {holder}",
                hint="wait until it has ended, or end it",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_same_file(descriptor: int, state: StateFolder) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), state.lock.stat())
    except FileNotFoundError:
        return False


def read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return (
            f"{holder['user']} on {holder['host']}, pid {holder['pid']}, "
            f"since {holder['since']}, deploy {holder['deploy']}"
        )
    except (ValueError, KeyError, TypeError):
        # The holder has the lock but has not written yet.
        return "it has only just begun"
