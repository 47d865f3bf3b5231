"""Lets the user change a text that must not be seen by others, until it is valid."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nvoi.cli.guard import Guard, guard_signals
from nvoi.config.nodes import decode
from nvoi.errors import ConfigError, UsageError
from nvoi.files import read_file

FILENAME = "deploy.yml"
MARK = "#nvoi! "
INTRODUCTION = (
    "The config was not saved. Correct what is listed here and save again; these lines go.",
    "Leave the file as it is to give up.",
)


def find_editor(environ: Mapping[str, str]) -> list[str]:
    """The command of ``$VISUAL``, else ``$EDITOR``, else vi.

    Raises:
        UsageError: the variable is no command line.
    """
    for name in ("VISUAL", "EDITOR"):
        if text := environ.get(name, "").strip():
            try:
                return shlex.split(text)
            except ValueError as error:
                raise UsageError(f"${name} is no command line: a quote is left open") from error
    return ["vi"]


def edit_text(text: str, *, editor: Sequence[str], check: Callable[[str], None]) -> str | None:
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
    with guard_signals() as guard, open_private_file() as path:
        while True:
            header = build_header(refused)
            path.write_text(header + current, encoding="utf-8")
            run_editor(guard, [*editor, str(path)])
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


def run_editor(guard: Guard, command: Sequence[str]) -> None:
    """Waits until the editor ends well."""
    try:
        code = guard.run(command)
    except OSError as error:
        raise UsageError(
            f"cannot run the editor {command[0]}: {error.strerror}", hint="set $EDITOR"
        ) from error
    if code != 0:
        raise UsageError(f"the editor ended with {code}; nothing was changed")


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
    """``text`` without the comment lines of the header at its top."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith(MARK):
        del lines[0]
    return "".join(lines)
