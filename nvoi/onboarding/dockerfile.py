"""Reads from a Dockerfile what runs in its image, and on which port.

Dockerfile reference: a stage begins with what the one has that it is built from, and of several
``CMD`` the last one counts.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, replace

from nvoi.config.fields import LARGEST_PORT
from nvoi.images.context import find_instructions

PORT = re.compile(r"(\d{1,5})(?:/tcp)?", re.IGNORECASE)
STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+as\s+(\S+))?")
SHELLS = (["/bin/sh", "-c"], ["sh", "-c"], ["/bin/bash", "-c"], ["bash", "-c"])
# Programs of images alone, which end with running what they are given.
WRAPPERS = ("entrypoint", "tini", "dumb-init")


@dataclass(frozen=True)
class Image:
    """What the last stage of a Dockerfile ends up with."""

    entrypoint: str = ""
    arguments: str = ""
    port: int | None = None

    @property
    def command(self) -> str:
        """What runs: ``CMD``, as the arguments of ``ENTRYPOINT`` where that is a program."""
        program = self.entrypoint.partition(" ")[0].rpartition("/")[2]
        if self.arguments and any(wrapper in program for wrapper in WRAPPERS):
            return self.arguments
        return f"{self.entrypoint} {self.arguments}".strip()


def read_dockerfile(text: str) -> Image | None:
    """The last stage; None where there is none."""
    image: Image | None = None
    stages: dict[str, Image] = {}
    stage = ""
    for _, name, rest in find_instructions(text):
        if name == "FROM":
            source, stage = find_stage(rest)
            image = stages.get(source, Image())
        elif image is None:
            continue
        elif name == "EXPOSE" and image.port is None:
            image = replace(image, port=find_port(rest))
        elif name == "CMD":
            image = replace(image, arguments=read_command(rest))
        elif name == "ENTRYPOINT":
            image = replace(image, entrypoint=read_command(rest))
        if image and stage:
            stages[stage] = image
    return image


def find_stage(text: str) -> tuple[str, str]:
    """What a stage is built from, and its own name, in small letters; blank where unknown."""
    match = STAGE.fullmatch(text.lower())
    return (match[1], match[2] or "") if match else ("", "")


def find_port(text: str) -> int | None:
    """The first TCP port; one that a build argument names cannot be told."""
    found = (PORT.fullmatch(word) for word in text.split())
    ports = (int(match[1]) for match in found if match)
    return next((port for port in ports if 1 <= port <= LARGEST_PORT), None)


def read_command(text: str) -> str:
    """A command line for a shell, of the exec form (a JSON list) or the shell form."""
    if not text.startswith("["):
        return text
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    if words[:2] in SHELLS and len(words) == 3:  # noqa: PLR2004 - a shell, -c, and its text
        return str(words[2])
    return shlex.join(words)
