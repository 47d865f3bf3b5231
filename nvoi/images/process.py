"""Running an engine's commands: told line by line, and ended with all they have started."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nvoi.errors import CommandError, NvoiError
from nvoi.images.family import end
from nvoi.log.lines import LineCutter
from nvoi.waiting import Reminder

#: A program and its arguments.
Words = tuple[str, ...]

#: Bytes that are read at once.
CHUNK = 1 << 16
#: Seconds between two looks at whether the command has ended, or shall end.
LOOK_SECONDS = 0.1
#: Seconds to read on when a command has ended: what it has left running may print for ever.
READ_ON_SECONDS = 1.0


class CancelledError(NvoiError):
    """The run ended the command, as it has failed elsewhere or was interrupted."""


@dataclass(frozen=True)
class Follower:
    """Who is told of a command that runs.

    Attributes:
        on_line: called with each line as it comes.
        reminder: says now and then that it still runs.
        cancel: set from any thread to end it.
    """

    on_line: Callable[[str], None]
    reminder: Reminder | None = None
    cancel: threading.Event | None = None

    def look(self) -> None:
        """Raise if the command shall end.

        Raises:
            CancelledError: it shall.
        """
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("cancelled")
        if self.reminder is not None:
            self.reminder.tell()


def ask(words: Sequence[str], environ: Mapping[str, str], *, seconds: float = 60.0) -> str | None:
    """What a short command prints; None where it fails, cannot be run, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            words,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def follow(words: Sequence[str], environ: Mapping[str, str], follower: Follower) -> int:
    """Run a command in a session of its own, without input, and tell what it prints.

    When this is interrupted, by Ctrl-C, by ``cancel`` or by anything else that is raised in
    it, the command and all below it are ended before it returns.

    Returns:
        The exit status; ``-N`` for a command that signal N has ended.

    Raises:
        CommandError: it cannot be started.
        CancelledError: ``cancel`` was set.
    """
    follower.look()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own words, no shell
            words,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        name = Path(words[0]).name
        raise CommandError(f"{name} cannot be started: {error.strerror}") from error
    with process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            read(process, process.stdout, follower)
        except BaseException:
            end(process)
            raise
        return process.wait()


def read(process: subprocess.Popen[bytes], stream: IO[bytes], follower: Follower) -> None:
    """Tell the lines until the command has ended, and for 1 s what it has left running prints."""
    os.set_blocking(stream.fileno(), False)
    cutter = LineCutter()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while process.poll() is None:
            follower.look()
            data = read_now(stream, selector, LOOK_SECONDS)
            tell(cutter.feed(data or b""), follower)
            if data == b"":
                # It has closed its output but goes on.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
        deadline = time.monotonic() + READ_ON_SECONDS
        while (data := read_now(stream, selector, 0.0)) and time.monotonic() < deadline:
            tell(cutter.feed(data), follower)
    tell(cutter.finish(), follower)


def tell(lines: Iterable[str], follower: Follower) -> None:
    """Give lines on."""
    for line in lines:
        follower.on_line(line)


def read_now(stream: IO[bytes], selector: selectors.BaseSelector, seconds: float) -> bytes | None:
    """What can be read within ``seconds``: empty at the end, None where nothing came."""
    return stream.read(CHUNK) if selector.select(seconds) else None
