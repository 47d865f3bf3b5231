"""Command lines and ports that were written elsewhere, for ``/bin/sh`` and nvoi. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

from nvoi.config.fields import LARGEST_PORT

SHELLS = (["/bin/sh", "-c"], ["sh", "-c"], ["/bin/bash", "-c"], ["bash", "-c"])
#: Characters of a command: the kernel takes no longer word (execve(2), MAX_ARG_STRLEN), and a
#: word of n characters costs shlex n² steps.
LONGEST = 128 << 10
# What more than a program and its arguments has: a shell's own signs and words.
SIGNS = re.compile(r"[;&|<>()`\n]|^\s*(?:\w+=|(?:exec|cd|\.|source|export|if|for|while)\s)")
#: As EXPOSE, `ports` and others have it; what is not TCP is none.
PORT = re.compile(r"(\d{1,5})(?:-\d{1,5})?(?:/tcp)?", re.IGNORECASE)
TOLD_PORT = re.compile(
    r"(?:--?(?:port|p|http-port)[= ]|--?(?:bind|b|listen)[= ]\S{0,255}:|\s[\d.]{1,15}:)"
    r"(\d{2,5})(?![\w.:])"
)


def join_words(words: Sequence[str]) -> str:
    """The command line of a program and its arguments; a shell that is given a text is that."""
    if list(words[:2]) in SHELLS and len(words) == 3:  # noqa: PLR2004 - a shell, -c, and its text
        return words[2].strip()
    return shlex.join(words)


def read_command(text: str) -> str:
    """A command line of the exec form (a JSON list) or the shell form, as Dockerfiles have both."""
    if not text.startswith("["):
        return text
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    return join_words(words)


def read_line(text: str) -> str:
    """A command that no shell reads there: several lines are one, and a shell in it is left out."""
    text = text.strip()
    if len(text) > LONGEST:
        return text
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    is_shell = words[:2] in SHELLS and len(words) == 3  # noqa: PLR2004 - as above
    return join_words(words) if is_shell or "\n" in text else text


def is_simple(command: str) -> bool:
    """Whether a command is a program and its arguments, which may take the shell's place."""
    return not SIGNS.search(command)


def find_port(text: str) -> int | None:
    """The TCP port of a text, the first of a range."""
    match = PORT.fullmatch(text.strip())
    port = int(match[1]) if match else 0
    return port if 1 <= port <= LARGEST_PORT else None


def find_told_port(command: str) -> int | None:
    """The port that a command is told to listen on, where that can be seen."""
    match = TOLD_PORT.search(command)
    return find_port(match[1]) if match else None


def use_port(command: str, port: int | None) -> str:
    """``command`` with ``$PORT`` in the place of the port that it is told to listen on."""
    if port is None or "'" in command:
        return command
    told = r"((?:^|\s)(?:--?(?:port|p|listen|bind|b|http-port|server\.port)[= ]|-p)|:)"
    return re.sub(rf"{told}{port}(?![\w.:/])", r"\1$PORT", command)
