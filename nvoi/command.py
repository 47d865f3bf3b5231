"""Text for a remote shell that quotes and masks itself. All functions are pure.

A :class:`Command` is built from words: a ``str``, a number or a path is quoted as one word of the
shell (POSIX.1-2017, Shell Command Language, 2.2.2), a :class:`Hidden` is quoted and never shown.
Syntax of the shell, such as a pipe, is typed as it is: as the text of :func:`build_script` or
:func:`script`.

A secret should go over a command's standard input, or in a file of mode 0600: words are
seen by everyone who may list the host's processes. So a bare ``Secret`` is refused.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import PurePath

from nvoi.secret import REDACTED, Secret


@dataclass(frozen=True)
class Hidden:
    """A secret as a word: quoted, and ``[REDACTED]`` wherever the command is shown."""

    secret: Secret


Word = str | int | PurePath | Hidden


class Command:
    """One command of a shell. ``str()`` and ``repr()`` show it without secrets.

    Args:
        words: the program and its arguments; at least one.

    Attributes:
        secrets: the secrets that are words of it.
        is_plain: whether it is one program with its arguments, without syntax of the shell.

    Raises:
        TypeError: a word is a bare ``Secret``, or nothing a command can be made of.
        ValueError: there is no word, or one holds a NUL character.
    """

    __slots__ = ("_shown", "_text", "is_plain", "secrets")

    def __init__(self, *words: Word) -> None:
        if not words:
            raise ValueError("a command needs a program")
        text = " ".join(map(_quote, words))
        shown = " ".join(REDACTED if isinstance(word, Hidden) else _quote(word) for word in words)
        secrets = tuple(word.secret for word in words if isinstance(word, Hidden))
        self._fill(text, shown, secrets, is_plain=True)

    def _fill(self, text: str, shown: str, secrets: tuple[Secret, ...], *, is_plain: bool) -> None:
        if "\0" in text:
            raise ValueError("a command cannot hold a NUL character")
        self._text = text
        self._shown = shown
        self.secrets = secrets
        self.is_plain = is_plain

    def reveal(self) -> str:
        """The text that the shell is given, secrets and all."""
        return self._text

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"<Command {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Command) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())


@dataclass(frozen=True)
class Result:
    """What came of a command.

    Attributes:
        exit_code: as the shell gave it; -1 where a signal ended it.
        stdout: all that it printed, not masked: it is data.
        stderr: the lines of its standard error, not masked.
        seconds: how long it took, as seen from here.
    """

    exit_code: int
    stdout: str = field(repr=False)
    stderr: tuple[str, ...] = field(repr=False)
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of ``stdout``, without their ends."""
        return tuple(self.stdout.splitlines())


def _quote(word: Word) -> str:
    if isinstance(word, Hidden):
        return shlex.quote(word.secret.reveal())
    if isinstance(word, Secret):
        raise TypeError("a secret goes over stdin, or is a Hidden word where nothing else works")
    if isinstance(word, bool) or not isinstance(word, (str, int, PurePath)):
        raise TypeError(f"a command has no words of type {type(word).__name__}")
    return shlex.quote(str(word))


def _build(text: str, shown: str, secrets: tuple[Secret, ...], *, is_plain: bool) -> Command:
    command = Command.__new__(Command)
    command._fill(text, shown, secrets, is_plain=is_plain)  # noqa: SLF001 - made by this module
    return command


def script(text: str) -> Command:
    """Literal shell text of any length; nothing in it is quoted or hidden."""
    return _build(text, text, (), is_plain=False)


def build_script(name: str, text: str, *words: Word) -> Command:
    """``sh -c text name words…``, shown without the text.

    Args:
        name: what the script is called, by itself and wherever it is shown.
        text: what a POSIX shell runs; ``$1`` is the first of the words.
        words: its arguments.
    """
    command = Command("sh", "-c", text, name, *words)
    return _build(command.reveal(), str(Command(name, *words)), command.secrets, is_plain=True)


def in_shell(command: Command) -> Command:
    """``sh -c '…'``: read by a POSIX shell, whatever the user's login shell is."""
    text, shown = (Command("sh", "-c", one).reveal() for one in (command.reveal(), str(command)))
    return _build(text, shown, command.secrets, is_plain=True)


def sudo(command: Command) -> Command:
    """``command`` as root; it fails rather than asks where a password would be needed."""
    inner = command if command.is_plain else in_shell(command)
    text, shown = (f"sudo -n -- {one}" for one in (inner.reveal(), str(inner)))
    return _build(text, shown, inner.secrets, is_plain=True)
