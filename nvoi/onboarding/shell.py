"""Command lines and ports written elsewhere, in Dockerfiles too, for ``/bin/sh``. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nvoi.config.fields import LARGEST_PORT
from nvoi.images.context import find_instructions

SHELLS = (["/bin/sh", "-c"], ["sh", "-c"], ["/bin/bash", "-c"], ["bash", "-c"])
# What more than a program and its arguments has: a shell's own signs and words.
SIGNS = re.compile(r"[;&|<>()`\n]|^\s*(?:\w+=|(?:exec|cd|\.|source|export|if|for|while)\s)")
#: As EXPOSE, `ports` and others have it; what is not TCP is none.
PORT = re.compile(r"(\d{1,5})(?:-\d{1,5})?(?:/tcp)?", re.IGNORECASE)
TOLD_PORT = re.compile(
    r"(?:--?(?:port|p|http-port)[= ]|--?(?:bind|b|listen)[= ]\S*:|\s[\d.]+:)(\d{2,5})(?![\w.:])"
)


STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+as\s+(\S+))?")
# Programs of images alone, which end with running what they are given.
WRAPPERS = ("entrypoint", "tini", "dumb-init")


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
    told = r"((?:^|\s)(?:--?(?:port|p|listen|bind|b|http-port|server\.port)[= ]|-p)|[\w.\]*]*:)"
    return re.sub(rf"{told}{port}(?![\w.:/])", r"\1$PORT", command)


@dataclass(frozen=True)
class Image:
    """What a Dockerfile says of how the app is run."""

    entrypoint: str = ""
    arguments: str = ""
    port: int | None = None
    workdir: str = ""

    @property
    def local_command(self) -> str:
        """The command where the image's folder is that of the release."""
        if not self.workdir:
            return self.command
        return re.sub(rf"(?<![\w./-]){re.escape(self.workdir)}(?=/)", ".", self.command)

    @property
    def command(self) -> str:
        """What runs: ``CMD``, as the arguments of ``ENTRYPOINT`` where that is a program."""
        program = self.entrypoint.partition(" ")[0].rpartition("/")[2]
        if self.arguments and any(wrapper in program for wrapper in WRAPPERS):
            return self.arguments
        return f"{self.entrypoint} {self.arguments}".strip()


def read_dockerfile(text: str, target: str = "") -> Image | None:
    """The last stage, or the one of that name; None where there is none.

    It begins with what the stage has that it is built from, and of several ``CMD`` the last one
    counts (Dockerfile reference).
    """
    image: Image | None = None
    stages: dict[str, Image] = {}
    stage = ""
    for _, name, rest in find_instructions(text):
        if name == "FROM":
            if target and stage == target.lower():
                break
            source, stage = find_stage(rest)
            image = stages.get(source, Image())
        elif image is None:
            continue
        elif name == "EXPOSE" and image.port is None:
            # One that a build argument names cannot be told.
            found = (find_port(word) for word in rest.split())
            image = replace(image, port=next(filter(None, found), None))
        elif name == "CMD":
            image = replace(image, arguments=read_command(rest))
        elif name == "ENTRYPOINT":
            image = replace(image, entrypoint=read_command(rest))
        elif name == "WORKDIR" and rest.startswith("/"):
            image = replace(image, workdir=rest.rstrip("/"))
        if image and stage:
            stages[stage] = image
    return image


def find_stage(text: str) -> tuple[str, str]:
    """What a stage is built from, and its own name, in small letters; blank where unknown."""
    match = STAGE.fullmatch(text.lower())
    return (match[1], match[2] or "") if match else ("", "")
