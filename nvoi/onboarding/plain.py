"""Questions at a terminal that can do no more than print: ``TERM=dumb``."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Sequence
from typing import TypeVar

from nvoi.onboarding.layout import clamp_width, fold_lines, write
from nvoi.onboarding.prompts import NONE, Choice

T = TypeVar("T")


class PlainPrompts:
    """Questions a line each. A blank line takes what is in brackets, ``-`` is no answer."""

    @property
    def width(self) -> int:
        """The terminal's columns, up to what reads well."""
        return clamp_width(shutil.get_terminal_size().columns)

    def text(self, message: str, default: str) -> str:
        """A line that the user types."""
        answer = read_line(f"? {message} [{default}] " if default else f"? {message} ")
        if default and answer.strip() == NONE:
            return ""
        return answer if answer.strip() else default

    def secret(self, message: str) -> str:
        """A line that is not shown at all."""
        return read_line(f"? {message} ", getpass.getpass)

    def confirm(self, message: str, *, default: bool) -> bool:
        """Yes or no."""
        while True:
            answer = read_line(f"? {message} {'(Y/n)' if default else '(y/N)'} ").strip().lower()
            if answer in {"y", "yes", "n", "no", ""}:
                return answer.startswith("y") if answer else default
            self.say("! must be y or n")

    def choose(self, message: str, choices: Sequence[Choice[T]], default: T | None) -> T:
        """One of ``choices``, by its number."""
        values = [choice.value for choice in choices]
        first = values.index(default) + 1 if default in values and default is not None else 1
        self.say(f"? {message}")
        for number, choice in enumerate(choices, 1):
            self.say(f"  {number}) {choice.title}")
        while True:
            answer = read_line(f"  Number [{first}]: ").strip() or str(first)
            if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(choices):
                return values[int(answer) - 1]
            self.say(f"! must be a number, 1 to {len(choices)}")

    def say(self, text: str = "") -> None:
        """Lines that ask nothing."""
        write(fold_lines(text, self.width))

    def show(self, text: str) -> None:
        """Lines as they are."""
        write(text)


def read_line(prompt: str, read: Callable[[str], str] = input) -> str:
    """A line that ``read`` gives; asked again where it is not in the terminal's encoding."""
    while True:
        try:
            return read(prompt)
        except EOFError:
            raise KeyboardInterrupt from None
        except UnicodeDecodeError as error:
            write(f"! must be {error.encoding}, as the terminal is said to be")
