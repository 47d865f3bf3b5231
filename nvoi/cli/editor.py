"""The user's editor: changes a text that must not be seen by others, until it is valid."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nvoi.config.nodes import decode
from nvoi.errors import ConfigError, UsageError
from nvoi.files import read_file
from nvoi.process import join
from nvoi.signals import Interruption

FILENAME = "deploy.yml"
MARK = "#nvoi! "
INTRODUCTION = (
    "The config was not saved. Correct what is listed here and save again; these lines go.",
    "Leave the file as it is to give up.",
)

# What a terminal sends reaches the program in front as well, which answers in its own way.
TYPED = (signal.SIGINT, signal.SIGQUIT)
SENT = (signal.SIGTERM, signal.SIGHUP)
# Seconds that a program has, from such a signal on, to restore the terminal and end.
PATIENCE = 3.0
NOT_SAVED = "; the config was not saved"


def find_editor(environ: Mapping[str, str]) -> list[str]:
    """The command of ``$VISUAL``, else ``$EDITOR``, else vi."""
    for name in ("VISUAL", "EDITOR"):
        if text := environ.get(name, "").strip():
            try:
                return shlex.split(text)
            except ValueError as error:
                raise UsageError(f"${name} is no command line: a quote is left open") from error
    return ["vi"]


def edit_text(text: str, *, command: Sequence[str], check: Callable[[str], None]) -> str | None:
    """``text`` as the user leaves it, which ``check`` accepts; None where it was left alone.

    A text that ``check`` refuses is opened again with its faults at the top. Saving the same
    refused text twice gives up. Ctrl-C is the editor's; SIGTERM and SIGHUP end it, and leave
    nothing of the text on the disk.

    Raises:
        Interruption: a signal ended the editor.
        UsageError: the user gave up, or the editor could not be run or ended with an error.
    """
    refused: ConfigError | None = None
    current = text
    editor = Editor(command)
    with forward_signals(editor), open_private_file() as path:
        while True:
            header = build_header(refused)
            path.write_text(header + current, encoding="utf-8")
            editor.run(path)
            changed = strip_header(decode(read_file(path), path.name))
            if changed == text:
                return None
            if refused and changed == current:
                raise UsageError("the config was not saved: its faults are still there")
            try:
                check(changed)
            except ConfigError as error:
                sys.stderr.write(f"{error}\n")
                refused, current = error, changed
            else:
                return changed


@contextlib.contextmanager
def open_private_file() -> Iterator[Path]:
    """An empty file, mode 0600 in a folder of its own, mode 0700, which goes whatever happens.

    The name ends in .yml so that editors know what it is.
    """
    folder = Path(tempfile.mkdtemp(prefix="nvoi-"))
    try:
        path = folder / FILENAME
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield path
    finally:
        # An editor may have left copies of its own beside the file.
        shutil.rmtree(folder, ignore_errors=True)


def build_header(refused: ConfigError | None) -> str:
    """The faults as comment lines; their line numbers count the header, as the editor does."""
    if refused is None:
        return ""
    height = len(INTRODUCTION) + len(refused.faults)
    moved = [
        replace(fault, line=fault.line + height) if fault.line else fault
        for fault in refused.faults
    ]
    lines = [*INTRODUCTION, *(fault.describe(FILENAME) for fault in moved)]
    return "".join(f"{MARK}{line}\n" for line in lines)


def strip_header(text: str) -> str:
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith(MARK):
        del lines[0]
    return "".join(lines)


class Editor:
    """The user's editor, which signals that should end nvoi are passed on to while it runs.

    Nothing is raised where a signal arrives: that could be in the middle of the clean-up.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._received: signal.Signals | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    def handle(self, number: int, _frame: types.FrameType | None) -> None:
        if number in SENT:
            self._received = self._received or signal.Signals(number)
            self._stop()

    def run(self, path: Path) -> None:
        """Open ``path``, and wait until the editor ends well.

        Raises:
            Interruption: nvoi was asked to end, or a key of the terminal ended the editor.
            UsageError: it could not be run, or ended with an error.
        """
        try:
            self._process = subprocess.Popen([*self._command, path])  # noqa: S603 - the user's own
        except OSError as error:
            raise UsageError(
                f"cannot run the editor {self._command[0]}: {error.strerror}", hint="set $EDITOR"
            ) from error
        if self._received:
            # It came while the process was started.
            self._stop()
        code = join(self._process)
        self._process = None
        if self._timer:
            self._timer.cancel()
        self.raise_received()
        if -code in TYPED:
            raise Interruption(-code, NOT_SAVED)
        if code != 0:
            raise UsageError(f"the editor ended with {code}; nothing was changed")

    def raise_received(self) -> None:
        if self._received:
            raise Interruption(self._received, NOT_SAVED)

    def _stop(self) -> None:
        if self._process is None or self._received is None:
            return
        self._process.send_signal(self._received)
        if self._timer is None:
            self._timer = threading.Timer(PATIENCE, self._process.kill)
            self._timer.daemon = True
            self._timer.start()


@contextlib.contextmanager
def forward_signals(editor: Editor) -> Iterator[None]:
    """Inside, no signal of a terminal or a supervisor ends nvoi: ``editor`` gets it."""
    previous = {number: signal.getsignal(number) for number in (*TYPED, *SENT)}
    for number, handler in previous.items():
        # What is ignored, as SIGHUP is below nohup, stays so.
        if handler is not signal.SIG_IGN:
            # A handler and not SIG_IGN, which the editor would inherit.
            signal.signal(number, editor.handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    editor.raise_received()
