"""``nvoi onboard`` in a real pseudo-terminal, and a user who types."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

import pexpect  # type: ignore[import-untyped]  # it has none

from nvoi.cli import main
from tests.integration.commands import build_environment

#: What a fork would import otherwise, each one anew.
IMPORTED = (
    *("nvoi.cli.onboard", "nvoi.cli.projects", "nvoi.log.transport"),
    *("nvoi.targets.local", "nvoi.targets.cluster"),
)
#: Seconds that any one answer of the wizard may take on a loaded machine.
PATIENCE = 30
#: What a terminal may be sent between two letters: colours, cursor movements, a fold.
GAP = r"(?:\s|\x1b\[[0-9;?]*[A-Za-z])*"
#: Takes what is offered.
ENTER = ""
#: Takes it out, and answers with nothing.
BLANK = " "
CTRL_C, CTRL_D, ERASE_LINE, ESCAPE = "\x03", "\x04", "\x15", "\x1b"

Step = tuple[str, str]
#: The command on a checkout of :func:`write_small`.
SMALL = ("onboard", "--from", "compose.yaml", "--host", "a.example", "--name", "shop")


class Wizard:
    """One run, from its start to its end.

    Args:
        folder: the app's checkout, and the home of whoever types.
        words: the command's arguments.
        columns: the terminal's width.
        program: what is run: the installed command, or what runs it. Without one it is a fork of
            this process, which spares the imports. A dumb terminal needs the installed command:
            this process may have imported readline, which would read the lines there.
        act: what a fork does instead of the command; its exit code.
        environ: adds to the environment.
    """

    def __init__(
        self,
        folder: Path,
        *words: str,
        columns: int = 80,
        program: str | Path = "",
        act: Callable[[], int] | None = None,
        **environ: str,
    ) -> None:
        whole = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "NVOI_HOME": str(folder / "home"),
            **environ,
        }
        words = words or ("onboard",)
        self.process = pexpect.spawn(
            str(program or sys.executable),
            list(words),
            cwd=str(folder),
            env=whole,
            preexec_fn=None if program else build_run(act or partial(main, words), whole),
            dimensions=(50, columns),
            encoding="utf-8",
            timeout=PATIENCE,
        )
        self.process.delaybeforesend = None
        self.process.delayafterclose = self.process.delayafterterminate = 0.01
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.process.close(force=True)
        except pexpect.ExceptionPexpect:
            # Its last word is SIGKILL, whose effect takes a moment on a loaded machine.
            self.process.wait()

    def wait_for(self, text: str) -> None:
        """Wait until ``text`` is shown, however it is folded."""
        self.process.expect(GAP.join(re.escape(letter) for letter in text if letter != " "))
        self.seen += (self.process.before or "") + str(self.process.after)

    def answer(self, question: str, typed: str = ENTER) -> None:
        """Wait for a question, and type an answer in place of what is offered."""
        self.wait_for(question)
        self.process.send(f"{ERASE_LINE}{typed}\r" if typed else "\r")

    def pick(self, question: str, title: str) -> None:
        """Wait for a question with several answers, and choose one by its number."""
        self.wait_for(question)
        self.process.expect(rf"(\w+)\) {re.escape(title)}\b")
        self.seen += (self.process.before or "") + str(self.process.after)
        assert self.process.match
        self.process.send(f"{self.process.match[1]}\r")

    def follow(self, steps: Iterable[Step]) -> None:
        """Answer one question after the other; an answer that begins with ``>`` is a choice."""
        for question, typed in steps:
            if typed.startswith(">"):
                self.pick(question, typed[1:])
            else:
                self.answer(question, typed)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        self.process.expect(pexpect.EOF)
        self.seen += self.process.before or ""
        self.process.close()
        assert self.process.signalstatus is None, self.seen
        return int(self.process.exitstatus or 0)


def build_run(act: Callable[[], int], environ: Mapping[str, str]) -> Callable[[], None]:
    """What a new process does instead of a program, with this environment."""
    for module in IMPORTED:
        importlib.import_module(module)

    def run() -> None:
        # Whoever has forked it waits until the last of these is closed.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        code = 70
        try:
            code = act()
        finally:
            os._exit(code)

    return run


def list_files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_small(folder: Path) -> None:
    """A checkout whose file leaves few questions: see ``SMALL``."""
    (folder / "compose.yaml").write_text(
        "services: {web: {build: ., command: serve, expose: [8000]}}\n"
    )


def without_key(folder: Path) -> dict[str, str]:
    """The environment of somebody who has no key in it."""
    environ = build_environment(folder)
    del environ["DEPLOY_KEY"]
    return environ
