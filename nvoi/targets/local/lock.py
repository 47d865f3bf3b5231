"""One run of an app at a time: a lock that says who holds it and dies with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from nvoi.errors import LockError
from nvoi.folders import make_own
from nvoi.targets.local.state import PRIVATE_FILE, State, guard_storage


@contextmanager
def hold_lock(state: State, deploy_id: str, user: str) -> Iterator[None]:
    """Hold the app's lock for as long as the block runs; makes the state folder.

    The kernel gives the lock back when the holder ends in any way. Python opens files so
    that no child inherits them (PEP 446), so supervisord never holds it.

    Raises:
        LockError: another run has it; the message says who.
        UsageError: others could change what is in the state folder.
        NvoiError: it cannot be written.
    """
    descriptor = acquire(state)
    try:
        with guard_storage(state):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, describe_holder(deploy_id, user).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def acquire(state: State) -> int:
    """The descriptor of the lock file, locked.

    A lock file that ``nvoi delete`` removed between open and lock guards nothing, so one
    that is no longer at its path is opened again.
    """
    while True:
        with guard_storage(state):
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
    """Whether the lock file at its path is the one that ``descriptor`` is open on."""
    try:
        return os.path.samestat(os.fstat(descriptor), state.lock.stat())
    except FileNotFoundError:
        return False


def describe_holder(deploy_id: str, user: str) -> str:
    """What the lock file says about this process, as JSON."""
    return json.dumps(
        {
            "user": user,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "deploy": deploy_id,
        }
    )


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
