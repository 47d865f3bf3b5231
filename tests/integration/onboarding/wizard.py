"""``nvoi onboard`` in a real pseudo-terminal, and a user who types."""

from __future__ import annotations

import os
import re
import termios
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pexpect  # type: ignore[import-untyped]  # it has none
from pexpect.fdpexpect import fdspawn  # type: ignore[import-untyped]

from tests.integration.commands import build_environment
from tests.integration.forkserver import COMMAND, PACKAGES, ForkedProcess

#: What runs of this in place of the command are forked from.
QUESTIONS = ("nvoi.cli", "tests.integration.onboarding.questions")
#: Seconds that any one answer of the wizard may take on a loaded machine.
PATIENCE = 30
#: The terminal's height.
LINES = 50
#: What a terminal may be sent between two letters: colours, cursor movements, a fold.
GAP = r"(?:\s|\x1b\[[0-9;?]*[A-Za-z])*"
#: Takes what is offered.
ENTER = ""
CTRL_C, CTRL_D, ERASE_LINE, ESCAPE = "\x03", "\x04", "\x15", "\x1b"

Step = tuple[str, str]
#: The command on a checkout of :func:`write_small`.
SMALL = ("onboard", "--from", "compose.yaml", "--host", "a.example", "--name", "shop")


class ForkedTerminal(fdspawn):  # type: ignore[misc]  # pexpect has no types
    """The terminal of a command that is forked from the process that has imported nvoi."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        columns: int,
        act: Callable[[], int] | None,
    ) -> None:
        self.exitstatus: int | None = None
        self.signalstatus: int | None = None
        own, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (LINES, columns))
        super().__init__(own, encoding="utf-8", timeout=PATIENCE)
        target = (act.__module__, act.__name__) if act else COMMAND
        packages = QUESTIONS if act else PACKAGES
        with os.fdopen(theirs, "wb", buffering=0) as terminal:
            self.command = ForkedProcess(
                *(words, terminal, terminal, environ, folder), target=target, packages=packages
            )

    def kill(self, number: int) -> None:
        self.command.send_signal(number)

    def close(self, force: bool = True) -> None:
        """Close the terminal, which ends whoever is there still."""
        if not self.flag_eof:
            super().close()
        try:
            code = self.command.wait(PATIENCE)
        except TimeoutError:
            self.command.kill()
            code = self.command.wait()
        super().close()
        self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)


class Wizard:
    """One run, from its start to its end.

    Args:
        folder: the app's checkout, and the home of whoever types.
        words: the command's arguments.
        columns: the terminal's width.
        program: what is run: the installed command, or what runs it. Without one it is a fork,
            which spares the imports.
        act: the function, of :mod:`tests.integration.onboarding.questions`, that a fork calls
            instead of the command; it returns the exit code.
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
        if program:
            self.process = pexpect.spawn(
                *(str(program), list(words or ("onboard",))),
                cwd=str(folder),
                env=whole,
                dimensions=(LINES, columns),
                encoding="utf-8",
                timeout=PATIENCE,
            )
        else:
            words = () if act else words or ("onboard",)
            self.process = ForkedTerminal(words, folder, whole, columns, act)
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
