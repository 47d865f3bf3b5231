"""Running a command whose output is told line by line as it comes."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from nvoi.log.lines import LineCutter
from nvoi.targets.local.processes import is_group_running
from nvoi.targets.local.tail import LAST_LINES
from nvoi.waiting import Reminder

#: Bytes that are read at once.
READ_BYTES = 64 * 1024

#: Seconds between SIGTERM and SIGKILL when the run is interrupted.
GRACE_SECONDS = 5.0

#: How often, in seconds, to see whether a command has ended that has left its output open.
LOOK_SECONDS = 0.1

#: Seconds to read on when a command has ended: what it has left running may print for ever.
READ_ON_SECONDS = 1.0


class Lines:
    """Tells each line of a stream of bytes, remembering the last 20.

    Args:
        tell: what is done with a line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._cutter = LineCutter()
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._emit(self._cutter.feed(data))

    def finish(self) -> None:
        """Tell a last line that has no end."""
        self._emit(self._cutter.finish())

    def _emit(self, lines: list[str]) -> None:
        self.last.extend(lines)
        for line in lines:
            self._tell(line)


def run_told(
    words: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    lines: Lines,
    reminder: Reminder,
) -> int:
    """Run a command in a process group of its own, without input, and tell what it prints.

    When this is interrupted, by Ctrl-C or by anything else that is raised in it, the whole
    group is ended: SIGTERM, and SIGKILL after 5 s. A process that has left the group and
    keeps the output open is not waited for.

    Returns:
        The exit status; ``-N`` for a command that signal N has ended.
    """
    with subprocess.Popen(  # noqa: S603 - the user's own command, as configured
        words,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            follow(process, process.stdout, lines, reminder)
        except BaseException:
            end_group(process)
            raise
        finally:
            lines.finish()
        return process.wait()


def follow(
    process: subprocess.Popen[bytes], stream: IO[bytes], lines: Lines, reminder: Reminder
) -> None:
    """Tell what comes until the command has ended and all that it printed is told."""
    os.set_blocking(stream.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while process.poll() is None:
            data = read_now(stream, selector, LOOK_SECONDS)
            if data:
                reminder.restart()
                lines.feed(data)
            elif data == b"":
                break
            else:
                reminder.tell()
        else:
            read_on(stream, selector, lines)
    while process.poll() is None:
        # It has closed its output but goes on.
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
        reminder.tell()


def read_on(stream: IO[bytes], selector: selectors.BaseSelector, lines: Lines) -> None:
    """Tell what a command that has ended has printed, and for 1 s what others still do."""
    left = count_waiting(stream)
    deadline = time.monotonic() + READ_ON_SECONDS
    while left > 0 or time.monotonic() < deadline:
        data = read_now(stream, selector, 0.0)
        if not data:
            break
        lines.feed(data)
        left -= len(data)


def count_waiting(stream: IO[bytes]) -> int:
    """The bytes that stand in a pipe (FIONREAD, pipe(7))."""
    found: int = struct.unpack("i", fcntl.ioctl(stream, termios.FIONREAD, bytes(4)))[0]
    return found


def read_now(stream: IO[bytes], selector: selectors.BaseSelector, seconds: float) -> bytes | None:
    """What can be read within ``seconds``: empty at the end, None where nothing came."""
    if not selector.select(seconds):
        return None
    return stream.read(READ_BYTES)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and all it has started that is still in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        # Reaped only by poll: without it the group would seem to live on.
        if process.poll() is not None and not is_group_running(process.pid):
            return
        time.sleep(0.02)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
