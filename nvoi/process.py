"""Child processes of this machine: asked, followed line by line, ended with all below them."""

from __future__ import annotations

import fcntl
import math
import os
import selectors
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from nvoi import parallel
from nvoi.errors import CommandError
from nvoi.lines import LineCutter
from nvoi.log.levels import get_logger
from nvoi.signals import LOOK_SECONDS, Shield
from nvoi.waiting import Reminder

log = get_logger("nvoi.process")

#: A program and its arguments.
Words = tuple[str, ...]
Process = subprocess.Popen[bytes]
T = TypeVar("T")

#: Bytes that are read at once.
CHUNK = 1 << 16
#: Seconds to read on when a command has ended: what it has left running may print for ever.
READ_ON_SECONDS = 1.0
#: Seconds between SIGTERM and SIGKILL.
GRACE_SECONDS = 5.0
#: Seconds until the log says that something has not ended yet.
NOTICE_SECONDS = 2.0
PAUSE_SECONDS = 0.02
PROC = Path("/proc")
# /proc/PID/stat behind the name in parentheses, from its third field on: proc_pid_stat(5).
STATE, SESSION, STARTED = 3 - 3, 6 - 3, 22 - 3


def start(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    output: IO[bytes] | int | None = subprocess.PIPE,
    errors: int | None = subprocess.STDOUT,
) -> Process:
    """Start a command in a session of its own, without input.

    Call it inside a :class:`nvoi.signals.Shield`: an interruption before the process is noted would
    leave it running.

    Args:
        environ: the command's whole environment.
        output: where it prints, as ``errors``, which usually goes there as well.

    Raises:
        CommandError: it cannot be started.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - the caller's words, no shell
            words,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        name = Path(words[0]).name
        raise CommandError(f"{name} cannot be started: {error.strerror}") from error


def join(process: Process, seconds: float = math.inf) -> int:
    """The exit code of a command, which may take ``seconds``.

    Its own wait would not hear of a signal that comes just before it begins.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
        CancelledError: the task that waits was cancelled.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() >= deadline:
            raise subprocess.TimeoutExpired(process.args, seconds)
        parallel.check()
        _pause(process, LOOK_SECONDS)
    return process.returncode


def end_tree(process: Process, what: str = "a command") -> None:
    """End a command and all below it: SIGTERM to its group, after 5 s SIGKILL to what is left."""
    below = list_descendants(process.pid)
    signal_group(process.pid, signal.SIGTERM)
    if not wait_for_end(process, below, NOTICE_SECONDS):
        log.info("waiting for %s to end: it has been sent SIGTERM", what)
        if not wait_for_end(process, below, GRACE_SECONDS - NOTICE_SECONDS):
            log.warning("%s was killed: it did not end in %.0f s", what, GRACE_SECONDS)
    kill_tree(process, below)


def kill_tree(process: Process, below: Sequence[Descendant] = ()) -> None:
    """Send SIGKILL to a command's group and to all below it, and wait for their end.

    ``below`` is who was below it when it was first signalled: they may have started others.
    """
    parents = [process.pid] if process.poll() is None else []
    parents += [one.pid for one in below if one.is_running]
    left = [*below, *(one for pid in parents for one in list_descendants(pid))]
    if signal_group(process.pid, signal.SIGKILL):
        # Some of the group may be below nobody who is known; their end takes a moment as well.
        left += _list_session(process.pid)
    signal_each(left, signal.SIGKILL)
    wait_for_end(process, left, GRACE_SECONDS)
    process.wait()


def work_with(
    words: Sequence[str],
    environ: Mapping[str, str],
    work: Callable[[Process], T],
    *,
    folder: Path | None = None,
    output: IO[bytes] | int = subprocess.PIPE,
    errors: int = subprocess.STDOUT,
    end: Callable[[Process], None] = kill_tree,
) -> T:
    """:func:`start` a command, and return what ``work`` makes of it.

    Args:
        end: ends the command where ``work`` raises: :func:`kill_tree` at once, :func:`end_tree`
            with 5 s of grace.
    """
    process: Process | None = None
    try:
        with Shield():
            process = start(words, environ, folder=folder, output=output, errors=errors)
        return work(process)
    except BaseException:
        if process is not None:
            end(process)
        raise
    finally:
        for stream in (process.stdout, process.stderr) if process is not None else ():
            if stream is not None:
                stream.close()


def capture(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    seconds: float = 60.0,
) -> bytes:
    """Run a short command to its end, and return what it has printed.

    One that begins once the task is cancelled cleans up, and is not cancelled.

    Raises:
        CommandError: it cannot be started, failed, or took longer than ``seconds`` and was ended.
        CancelledError: the task was cancelled meanwhile.
        ValueError: a NUL is in an argument.
    """
    is_cleaning = parallel.is_cancelled()
    deadline = time.monotonic() + seconds

    def read(process: Process) -> tuple[int, bytes, bytes]:
        while True:
            with suppress(subprocess.TimeoutExpired):
                printed, errors = process.communicate(timeout=LOOK_SECONDS)
                return process.returncode, printed, errors
            if not is_cleaning:
                parallel.check()
            if time.monotonic() >= deadline:
                raise CommandError(f"{words[0]} did not end within {seconds:g} s")

    status, printed, errors = work_with(words, environ, read, folder=folder, errors=subprocess.PIPE)
    if status != 0:
        reason = errors.decode(errors="replace").strip().partition("\n")[0]
        raise CommandError(reason or f"{words[0]} ended with {status}")
    return printed


def ask(words: Sequence[str], environ: Mapping[str, str], *, seconds: float = 60.0) -> str | None:
    """What a short command prints; None where it fails, cannot be run, or takes too long."""
    try:
        return capture(words, environ, seconds=seconds).decode(errors="replace")
    except (CommandError, ValueError):
        return None


def follow(
    words: Sequence[str],
    environ: Mapping[str, str],
    on_line: Callable[[str], None],
    *,
    folder: Path | None = None,
    reminder: Reminder | None = None,
    end: Callable[[Process], None] = end_tree,
) -> int:
    """Run a command in a session of its own, without input, and tell what it prints.

    When this is interrupted, by Ctrl-C, by the task's cancellation or by anything else that is
    raised in it, the command and all below it are ended before it returns. What the command
    itself has left running when it ended is not waited for.

    Args:
        environ: the command's whole environment.
        on_line: called with each line as it comes, of stdout and stderr alike.
        reminder: says now and then that the command still runs.
        end: ends the command where this is interrupted, as in :func:`work_with`.

    Returns:
        The exit status; ``-N`` for a command that signal N has ended.

    Raises:
        CommandError: it cannot be started.
        CancelledError: the task was cancelled.
    """
    parallel.check()

    def read(process: Process) -> int:
        _read(process, on_line, reminder)
        return process.wait()

    return work_with(words, environ, read, folder=folder, end=end)


def _read(process: Process, on_line: Callable[[str], None], reminder: Reminder | None) -> None:
    stream = _get_output(process)
    cutter = LineCutter()

    def tell(lines: Iterable[str]) -> None:
        for line in lines:
            on_line(line)

    try:
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while process.poll() is None:
                parallel.check()
                if reminder is not None:
                    reminder.tell()
                data = _read_within(stream, selector, LOOK_SECONDS)
                tell(cutter.feed(data or b""))
                if data == b"":
                    # It has closed its output but goes on.
                    _pause(process, LOOK_SECONDS)
            # All that the command itself has printed, and for 1 s what others still print.
            left = _count_waiting(stream)
            deadline = time.monotonic() + READ_ON_SECONDS
            while (left > 0 or time.monotonic() < deadline) and (
                data := _read_within(stream, selector, 0.0)
            ):
                tell(cutter.feed(data))
                left -= len(data)
    finally:
        tell(cutter.finish())


def _get_output(process: Process) -> IO[bytes]:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    os.set_blocking(process.stdout.fileno(), False)
    return process.stdout


def _read_within(
    stream: IO[bytes], selector: selectors.BaseSelector, seconds: float
) -> bytes | None:
    """What can be read within ``seconds``: empty at the end, None where nothing came."""
    return stream.read(CHUNK) if selector.select(seconds) else None


def _count_waiting(stream: IO[bytes]) -> int:
    """The bytes that stand in a pipe (FIONREAD, pipe(7))."""
    found: int = struct.unpack("i", fcntl.ioctl(stream, termios.FIONREAD, bytes(4)))[0]
    return found


def _pause(process: Process, seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


@dataclass(frozen=True)
class Descendant:
    """A process, which a later one with the same number is not taken for."""

    pid: int
    session: int
    started: int

    @property
    def is_running(self) -> bool:
        found = find_process(self.pid)
        return found is not None and found.started == self.started


def find_process(pid: int) -> Descendant | None:
    """The process of this number as it is now; None where none runs, or there is no ``/proc``."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name may itself hold brackets.
    fields = text.rpartition(")")[2].split()
    if fields[STATE] in "ZX":
        return None
    return Descendant(pid, int(fields[SESSION]), int(fields[STARTED]))


def list_descendants(pid: int) -> list[Descendant]:
    """All below a process, parents first; none where there is no ``/proc``, as on macOS."""
    found: list[Descendant] = []
    for child in _list_children(pid):
        one = find_process(child)
        found += [one] if one else []
        found += list_descendants(child)
    return found


def _list_children(pid: int) -> Iterator[int]:
    """Whom the threads of a process have started, as far as they still run."""
    with suppress(OSError):
        for thread in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())


def _list_session(pid: int) -> Iterator[Descendant]:
    """Who runs in the session that ``pid`` leads, or has led."""
    with suppress(OSError):
        for path in PROC.iterdir():
            one = find_process(int(path.name)) if path.name.isdigit() else None
            if one and one.session == pid:
                yield one


def wait_for_end(process: Process, below: Sequence[Descendant], seconds: float) -> bool:
    """Wait ``seconds`` at most for a command and ``below`` to end; whether they have.

    The output is read away, as a full pipe would hold the command up.
    """
    stream = None if process.stdout is None or process.stdout.closed else _get_output(process)
    deadline = time.monotonic() + seconds
    while is_left := process.poll() is None or any(one.is_running for one in below):
        if time.monotonic() >= deadline:
            break
        while stream and stream.read(CHUNK):
            pass
        if process.poll() is None:
            _pause(process, PAUSE_SECONDS)
        else:
            time.sleep(PAUSE_SECONDS)
    return not is_left


def signal_each(processes: Iterable[Descendant], number: signal.Signals) -> None:
    for one in processes:
        if one.is_running:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, number)


def signal_group(pid: int, number: signal.Signals) -> bool:
    """Send a signal to all in the process group that ``pid`` leads; whether there is anyone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return True
    return False
