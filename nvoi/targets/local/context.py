"""What the steps of one run share, and how a run begins: one at a time, with the app's lock.

The lock says who holds it and dies with its holder.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nvoi.config.schema import Application, AppService
from nvoi.errors import LockError, NvoiError
from nvoi.folders import check_way, make_own
from nvoi.operation import Request
from nvoi.protocol import Tunnel
from nvoi.targets.local.state import (
    PRIVATE_FILE,
    Record,
    State,
    build_state,
    list_names,
    storage_errors,
)
from nvoi.targets.local.supervisor import Program

#: The modules of the extra `local`.
NEEDED = ("supervisor", "psutil")


@dataclass
class LocalContext:
    """One run on this machine.

    Attributes:
        request: what the user asked for.
        state: where the app is kept.
        was_empty: nothing of the app was here when the run began.
        previous: the release that served when the run began, None where none did.
        release: the one this run makes, empty until it has a name.
        has_switched: the run has begun to take the old release's ports.
        tunnels: the services that can be reached, once the run is done.
        urls: where a person can open them.
    """

    request: Request
    state: State
    was_empty: bool
    previous: str | None
    release: str = ""
    has_switched: bool = False
    tunnels: list[Tunnel] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    @property
    def application(self) -> Application:
        return self.request.config.application

    @property
    def services(self) -> tuple[AppService, ...]:
        """The app's services, in the order of the config."""
        return tuple(self.application.app.values())

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
        """What supervisord runs of the new release."""
        return [Program(name, self.release) for name in self.record]

    @property
    def previous_programs(self) -> list[Program]:
        """What supervisord ran when the run began."""
        return [Program(name, self.previous or "") for name in self.previous_record]


def preview(request: Request) -> LocalContext:
    """The context of a run that only says what it would do: it holds and touches nothing."""
    require_extra()
    state = build_state(request)
    return LocalContext(
        request=request,
        state=state,
        was_empty=not state.root.is_dir(),
        previous=state.find_current(),
    )


@contextmanager
def open_context(request: Request) -> Iterator[LocalContext]:
    """The context of a run, with the app's lock held.

    Raises:
        LockError: another run of the app is at work.
        UsageError: others could put something of theirs into the state folder.
        NvoiError: it cannot be used, or the extra `local` is not installed.
    """
    require_extra()
    state = build_state(request)
    check_way(state.root)
    was_empty = not list_names(state.root)
    with hold_lock(state, request.deploy_id, request.user):
        yield LocalContext(
            request=request, state=state, was_empty=was_empty, previous=state.find_current()
        )


def require_extra() -> None:
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise NvoiError(
                f"the local target needs {name}, which is not installed",
                hint="pip install 'nvoi[local]'",
            )


@contextmanager
def hold_lock(state: State, deploy_id: str, user: str) -> Iterator[None]:
    """Hold the app's lock for as long as the block runs; makes the state folder.

    The kernel gives the lock back when the holder ends in any way. Python opens files so
    that no child inherits them (PEP 446), so supervisord never holds it.
    """
    descriptor = acquire(state)
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holder = {"user": user, "host": socket.gethostname(), "pid": os.getpid(), "since": since}
    try:
        with storage_errors(state):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder | {"deploy": deploy_id}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def acquire(state: State) -> int:
    """The descriptor of the lock file, locked.

    One that ``nvoi delete`` removed between open and lock keeps nobody out, so a file that is
    no longer at its path is opened again.
    """
    while True:
        with storage_errors(state):
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


def is_same_file(descriptor: int, state: State) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), state.lock.stat())
    except FileNotFoundError:
        return False


def read_holder(descriptor: int) -> str:
    """Who wrote the lock file, as a person reads it."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return (
            f"{holder['user']} on {holder['host']}, pid {holder['pid']}, "
            f"since {holder['since']}, deploy {holder['deploy']}"
        )
    except (ValueError, KeyError, TypeError):
        # The holder has the lock but has not written yet.
        return "it has only just begun"
