"""A command and all below it: who they are, and how they are ended.

Where there is no /proc, as on macOS, only the command's process group is known.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Seconds a command has to clean up after what it ran was ended, before it is ended itself.
CLEAN_SECONDS = 5.0
#: Seconds between SIGTERM and SIGKILL.
GRACE_SECONDS = 3.0
PAUSE_SECONDS = 0.02
CHUNK = 1 << 16
# /proc/PID/stat behind the name in parentheses, from its third field on: proc_pid_stat(5).
SESSION, STARTED = 6 - 3, 22 - 3


@dataclass(frozen=True)
class Relative:
    """A process, which a later one with the same number is not taken for."""

    pid: int
    session: int
    started: int


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all below it, so that it leaves nothing behind.

    Podman that is ended itself leaves the containers of a build in its store and, in sessions
    of their own, running. So what it runs is ended first: it then cleans up and ends as after
    an instruction that failed.
    """
    below = list_below(process.pid)
    away = [one for one in below if one.session != process.pid]
    if away:
        send(away, signal.SIGKILL)
    elif below:
        send(below, signal.SIGTERM)
    else:
        send_group(process.pid, signal.SIGTERM)
    if not has_ended_within(process, CLEAN_SECONDS):
        below = [*below, *list_below(process.pid)]
        send_group(process.pid, signal.SIGTERM)
        has_ended_within(process, GRACE_SECONDS)
    send_group(process.pid, signal.SIGKILL)
    send(below, signal.SIGKILL)
    process.wait()


def has_ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end; its output is read away, as a full pipe would hold it up."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        while process.stdout.read(CHUNK):
            pass
        with suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE_SECONDS)
    return process.poll() is not None


def list_below(pid: int) -> list[Relative]:
    """All below a process, parents first."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [one for thread in threads for one in read_children(thread)]
    except OSError:
        return []
    found: list[Relative] = []
    for child in children:
        relative = find_relative(child)
        found += [relative] if relative else []
        found += list_below(child)
    return found


def read_children(thread: Path) -> list[int]:
    """Whom a thread has started; none where it has ended meanwhile."""
    try:
        return [int(one) for one in (thread / "children").read_text().split()]
    except OSError:
        return []


def find_relative(pid: int) -> Relative | None:
    """The process of this number as it is now, None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Relative(pid, int(fields[SESSION]), int(fields[STARTED]))


def send(relatives: Iterable[Relative], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for one in relatives:
        found = find_relative(one.pid)
        if found is not None and found.started == one.started:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, number)


def send_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all in the process group that ``pid`` leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
