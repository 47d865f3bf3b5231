"""Text for a remote shell that quotes and masks itself. All functions are pure.

A :class:`Command` is built from words. What a word is decides how it is written: a plain
``str``, a number or a path is quoted as one word of the shell (POSIX.1-2017, Shell Command
Language, 2.2.2), :class:`Raw` stands as it is, :class:`Hidden` is quoted and never shown,
and a ``Command`` is one quoted word itself, as ``sh -c`` takes it.

A secret should go over a command's standard input, or in a file of mode 0600: words are
seen by everyone who may list the host's processes. So a bare ``Secret`` is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from nvoi.secret import REDACTED, Secret

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SIGNALLED = -1


@dataclass(frozen=True)
class Raw:
    """Shell syntax that stands as it is, such as ``|`` or ``2>&1``. Never built from input."""

    text: str


@dataclass(frozen=True)
class Hidden:
    """A secret as a word: quoted, and ``[REDACTED]`` wherever the command is shown."""

    secret: Secret


@dataclass(frozen=True)
class Named:
    """Shell text as a word: quoted, and its name wherever the command is shown."""

    text: str
    name: str


Word = str | int | PurePath | Raw | Hidden | Named


class Command:
    """One command of a shell, immutable. ``str()`` and ``repr()`` show it without secrets.

    Args:
        words: the program and its arguments; at least one.

    Raises:
        TypeError: a word is a bare ``Secret``, or nothing a command can be made of.
        ValueError: there is no word, or one holds a NUL character or a line break in the
            program's place.
    """

    __slots__ = ("_is_plain", "_secrets", "_shown", "_text")

    _text: str
    _shown: str
    _secrets: tuple[Secret, ...]
    _is_plain: bool

    def __init__(self, *words: Word | Command) -> None:
        if not words:
            raise ValueError("a command needs a program")
        pairs = [_write(word) for word in words]
        self._fill(
            " ".join(text for text, _ in pairs),
            " ".join(shown for _, shown in pairs),
            tuple(secret for word in words for secret in _find_secrets(word)),
            is_plain=not any(isinstance(word, Raw) for word in words),
        )

    def _fill(self, text: str, shown: str, secrets: tuple[Secret, ...], *, is_plain: bool) -> None:
        if "\0" in text:
            raise ValueError("a command cannot hold a NUL character")
        put = object.__setattr__
        put(self, "_text", text)
        put(self, "_shown", shown)
        put(self, "_secrets", secrets)
        put(self, "_is_plain", is_plain)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a command cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a command cannot be changed: {name}")

    def reveal(self) -> str:
        """The text that the shell is given, secrets and all."""
        return self._text

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that are words of it."""
        return self._secrets

    @property
    def is_plain(self) -> bool:
        """Whether it is one program with its arguments, without syntax of the shell."""
        return self._is_plain

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


def _write(word: Word | Command) -> tuple[str, str]:
    """How a word is sent, and how it is shown."""
    if isinstance(word, Raw):
        return word.text, word.text
    if isinstance(word, Hidden):
        return shlex.quote(word.secret.reveal()), REDACTED
    if isinstance(word, Named):
        return shlex.quote(word.text), word.name
    if isinstance(word, Command):
        return shlex.quote(word.reveal()), shlex.quote(str(word))
    if isinstance(word, Secret):
        raise TypeError("a secret goes over stdin, or is a Hidden word where nothing else works")
    if isinstance(word, bool) or not isinstance(word, (str, int, PurePath)):
        raise TypeError(f"a command has no words of type {type(word).__name__}")
    quoted = shlex.quote(str(word))
    return quoted, quoted


def _find_secrets(word: Word | Command) -> tuple[Secret, ...]:
    if isinstance(word, Hidden):
        return (word.secret,)
    return word.secrets if isinstance(word, Command) else ()


def _join(separator: str, commands: tuple[Command, ...]) -> Command:
    """The commands with ``separator`` between them, each kept together where it is several."""
    if len(commands) == 1:
        return commands[0]
    parts = [command if command.is_plain else group(command) for command in commands]
    return _build(
        separator.join(part.reveal() for part in parts),
        separator.join(str(part) for part in parts),
        tuple(secret for part in parts for secret in part.secrets),
    )


def _build(text: str, shown: str, secrets: tuple[Secret, ...]) -> Command:
    command = Command.__new__(Command)
    command._fill(text, shown, secrets, is_plain=False)  # noqa: SLF001 - made by this module
    return command


def script(text: str) -> Command:
    """Literal shell text of any length; nothing in it is quoted or hidden."""
    return Command(Raw(text))


def build_script(name: str, text: str, *words: Word) -> Command:
    """``sh -c text name words…``, shown without the text.

    Args:
        name: what the script is called, by itself and wherever it is shown.
        text: what a POSIX shell runs; ``$1`` is the first of the words.
        words: its arguments.
    """
    command = Command("sh", "-c", text, name, *words)
    shown = Command(name, *words)
    made = Command.__new__(Command)
    made._fill(command.reveal(), str(shown), command.secrets, is_plain=True)  # noqa: SLF001 - made by this module
    return made


def group(command: Command) -> Command:
    """``( command )``: a shell of its own, so that what surrounds it does not reach in."""
    return _build(f"( {command.reveal()} )", f"( {command} )", command.secrets)


def chain(first: Command, *others: Command) -> Command:
    """``first && …``: each runs if the one before it ended with 0."""
    return _join(" && ", (first, *others))


def either(first: Command, *others: Command) -> Command:
    """``first || …``: each runs if the one before it did not end with 0."""
    return _join(" || ", (first, *others))


def pipe(first: Command, *others: Command) -> Command:
    """``first | …``: output into input; the exit code is that of the last one."""
    return _join(" | ", (first, *others))


def in_shell(command: Command) -> Command:
    """``sh -c '…'``: read by a POSIX shell, whatever the user's login shell is."""
    return Command("sh", "-c", command)


def sudo(command: Command, user: str = "root") -> Command:
    """``command`` as ``user``; it fails rather than asks where a password would be needed."""
    words: tuple[Word, ...] = ("sudo", "-n") if user == "root" else ("sudo", "-n", "-u", user)
    return _prefix(Command(*words, "--"), command)


def with_env(command: Command, variables: Mapping[str, str]) -> Command:
    """``command`` with more environment variables, which ``ps`` shows: none may be a secret.

    Raises:
        TypeError: a value is a ``Secret``.
        ValueError: a name is none that a shell knows.
    """
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name):
            raise ValueError(f"no name of an environment variable: {name!r}")
        if isinstance(value, Secret):
            raise TypeError(f"{name} is a secret: it goes over stdin or in a file")
    if not variables:
        return command
    return _prefix(
        Command("env", *(f"{name}={value}" for name, value in variables.items())), command
    )


def in_folder(command: Command, folder: str | PurePath) -> Command:
    """``command`` with ``folder`` as its working directory."""
    return group(chain(Command("cd", "--", folder), command))


def _prefix(prefix: Command, command: Command) -> Command:
    inner = command if command.is_plain else in_shell(command)
    made = Command.__new__(Command)
    made._fill(  # noqa: SLF001 - made by this module
        f"{prefix.reveal()} {inner.reveal()}",
        f"{prefix} {inner}",
        (*prefix.secrets, *inner.secrets),
        is_plain=True,
    )
    return made
