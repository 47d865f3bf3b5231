"""How questions are put, whatever the terminal can do, and asked until the answer will do."""

from __future__ import annotations

import getpass
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prompt_toolkit.utils import get_cwidth

from nvoi.config.fields import RejectedError
from nvoi.config.schema import EMPTY
from nvoi.log import masking
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import Checkout
from nvoi.secret import Secret

T = TypeVar("T")

#: What stands for a secret, however long it is.
DOTS = "••••"
#: What is typed for no answer where a blank one takes the default, and to go back.
NONE, BACK = "-", "<"
# Narrower than this and nothing is folded any more; wider, and lines are tiring to read.
NARROWEST, WIDEST = 20, 100
NEEDED = "an answer is needed here"
# What a value in a config cannot have, or has by accident: line ends, control characters, byte
# order marks, halves of surrogate pairs.
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


class BackError(Exception):
    """The user wants the question before this one."""


@dataclass(frozen=True)
class Choice(Generic[T]):
    title: str
    value: T


def find_index(choices: Sequence[Choice[T]], value: T | None) -> int:
    """Where ``value`` is among the choices; the first where it is not."""
    return next(
        (index for index, one in enumerate(choices) if value is not None and one.value == value), 0
    )


class Prompts:
    """Questions a line each, which a terminal takes that can do no more than print: ``TERM=dumb``.

    A blank line takes what is in brackets, ``-`` is no answer, ``<`` goes back. Each question
    raises KeyboardInterrupt on Ctrl-C and Ctrl-D, and BackError where the user goes back.
    """

    @property
    def width(self) -> int:
        return clamp_width(shutil.get_terminal_size().columns)

    def text(self, message: str, default: str) -> str:
        """A line that the user types; ``default`` is there to be taken or changed."""
        answer = read_line(f"? {message} [{default}] " if default else f"? {message} ")
        if default and answer.strip() == NONE:
            return ""
        return answer if answer.strip() else default

    def secret(self, message: str) -> str:
        return read_line(f"? {message} ", getpass.getpass)

    def confirm(self, message: str, *, default: bool) -> bool:
        while True:
            answer = read_line(f"? {message} {'(Y/n)' if default else '(y/N)'} ").strip().lower()
            if answer in {"y", "yes", "n", "no", ""}:
                return answer.startswith("y") if answer else default
            self.say("! must be y or n")

    def choose(self, message: str, choices: Sequence[Choice[T]], default: T | None) -> T:
        first = find_index(choices, default) + 1
        self.say(f"? {message}")
        for number, choice in enumerate(choices, 1):
            self.say(f"  {number}) {choice.title}")
        while True:
            answer = read_line(f"  Number [{first}]: ").strip() or str(first)
            if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(choices):
                return choices[int(answer) - 1].value
            self.say(f"! must be a number, 1 to {len(choices)}")

    def refuse(self, reason: str) -> None:
        """Say why the last answer will not do; its question is asked again."""
        self.say(f"! {reason}")

    def once(self, act: Callable[[], T]) -> T:
        """What ``act`` returns, which is done once, also where the user goes back behind it."""
        return act()

    def say(self, text: str = "") -> None:
        """Lines that ask nothing, folded to the width; indented ones stay indented."""
        write(fold_lines(text, self.width))

    def show(self, text: str) -> None:
        """Lines as they are."""
        write(text)


def read_line(prompt: str, read: Callable[[str], str] = input) -> str:
    """A line that ``read`` gives; asked again where it is not in the terminal's encoding."""
    while True:
        try:
            line = read(prompt)
        except EOFError:
            raise KeyboardInterrupt from None
        except UnicodeDecodeError as error:
            write(f"! must be {error.encoding}, as the terminal is said to be")
        else:
            if line.strip() == BACK:
                raise BackError
            return line


def clamp_width(columns: int) -> int:
    return max(NARROWEST, min(columns, WIDEST))


def fold_lines(text: str, width: int) -> str:
    """``text`` with its long lines in several, each indented as the line was; words stay whole."""
    return "\n".join(part for line in text.split("\n") for part in fold(line, width))


def fold(line: str, width: int, hang: str = "", *, cut: bool = False) -> list[str]:
    """``line`` in as many as it needs; those that follow are indented as it is, and by ``hang``.

    ``cut`` is whether words that are wider than that are cut, or stick out.
    """
    indent = line[: len(line) - len(line.lstrip())] + hang
    parts: list[str] = []
    current = ""
    for word in re.findall(r"\s*\S+", line):
        if get_cwidth(current + word) <= width:
            current += word
            continue
        if current:
            parts.append(current)
            word = indent + word.lstrip()  # noqa: PLW2901 - now it begins a line
        while cut and get_cwidth(word) > width:
            head = find_head(word, width)
            parts.append(head)
            word = indent + word[len(head) :]  # noqa: PLW2901 - what is left of it
        current = word
    return [*parts, current]


def find_head(text: str, width: int) -> str:
    columns = 0
    for index, letter in enumerate(text):
        columns += get_cwidth(letter)
        if columns > width:
            return text[:index]
    return text


def write(text: str) -> None:
    """Prints ``text``; a character that the terminal's encoding lacks shows as ``?``."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


@dataclass(frozen=True)
class Verdict:
    ok: bool
    text: str


@dataclass(frozen=True)
class StartedDashboard:
    """The callback URL of a dashboard that was started, "" where that failed; and a word on it."""

    url: str
    text: str


@dataclass(frozen=True)
class Interview:
    """The terminal, and what is known beside the answers.

    Args:
        original: the answers of the config that is being edited; None where there is none.
        call_dashboard: makes a signed test call to a callback URL.
        start_dashboard: has a dashboard of this machine take the deploys of the app of this name;
            None where none can be started.
        environ: the caller's environment, which names proxies, CAs and stand-ins for accounts.
    """

    prompts: Prompts
    checkout: Checkout
    original: Answers | None
    call_dashboard: Callable[[str], Verdict]
    start_dashboard: Callable[[str], StartedDashboard] | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: EMPTY)


def ask(prompts: Prompts, message: str, parse: Callable[[str], T], default: str = "") -> T:
    """What ``parse`` makes of the answer; asked again, with the reason, while it is refused."""
    while True:
        answer = ask_blank(prompts, message, parse, default)
        if answer is not None:
            return answer
        prompts.refuse(NEEDED)


def ask_blank(
    prompts: Prompts, message: str, parse: Callable[[str], T], default: str = ""
) -> T | None:
    """As :func:`ask`, None for a blank answer; the message says what that means."""
    answer = default
    while True:
        answer = prompts.text(message, answer).strip()
        try:
            return parse(check_line(answer)) if answer else None
        except RejectedError as error:
            prompts.refuse(str(error))
            answer = make_line(answer)


def ask_value(prompts: Prompts, message: str, before: str) -> str:
    """A value as it is typed, perhaps empty, with the spaces around it."""
    value = before
    while True:
        value = make_line(value)
        value = prompts.text(message, value).rstrip("\r\n")
        try:
            return check_value(value)
        except RejectedError as error:
            prompts.refuse(str(error))


def ask_command(prompts: Prompts, message: str, before: str, *, needed: bool) -> str | None:
    """A command line; one of several lines, which cannot be typed here, may stay as it is."""
    if before and not before.isprintable():
        if prompts.confirm(f"{message} keep the lines that it has?", default=True):
            return before
        before = ""
    put = ask if needed else ask_blank
    return put(prompts, message, str, before)


def ask_secret(
    prompts: Prompts,
    message: str,
    parse: Callable[[str], object] = lambda _: None,
    kept: Secret | None = None,
) -> Secret:
    """A secret, masked from now on in all that nvoi prints; a blank answer is ``kept``."""
    shown = f"{message} (blank: the one there is):" if kept else f"{message}:"
    while True:
        answer = ask_secret_value(prompts, shown, blank=kept is not None).strip()
        if not answer and kept:
            return kept
        try:
            parse(check_line(answer))
        except RejectedError as error:
            prompts.refuse(str(error))
        else:
            return Secret(answer)


def ask_secret_value(prompts: Prompts, message: str, *, blank: bool = False) -> str:
    """A secret as it is typed, with the spaces around it; ``blank`` is whether it may be that."""
    while True:
        answer = prompts.secret(message).rstrip("\r\n")
        masking.add_secrets(answer, answer.strip())
        try:
            check_value(answer)
        except RejectedError as error:
            prompts.refuse(str(error))
        else:
            if blank or answer.strip():
                return answer
            prompts.refuse(NEEDED)


def check_line(text: str) -> str:
    """``text`` itself, where all of it can be seen."""
    if not text.isprintable():
        raise RejectedError(
            "must be one line, without tabs, control characters and spaces of other kinds"
        )
    return text


def check_value(text: str) -> str:
    """``text`` itself, where it is one line that a config can hold."""
    if UNFIT.search(text):
        raise RejectedError(
            "must be one line, without tabs and control characters; what has several is set by "
            "`nvoi credentials set PATH - < FILE`"
        )
    return text


def make_line(text: str) -> str:
    """``text`` so that it can be offered for changing: spaces stand for what is unfit."""
    return UNFIT.sub(" ", text)
