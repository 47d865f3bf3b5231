"""What an app's checkout says of how it is run. A file that is missing or broken says nothing.

Of a Dockerfile the last stage counts; it begins with what the stage has that it is built from, and
of several ``CMD`` the last one counts (Dockerfile reference).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvoi.ci import ask_git
from nvoi.config.fields import LARGEST_PORT, SERVICE_NAME
from nvoi.config.schema import AppService
from nvoi.images.context import find_instructions

# Whatever is larger than this was not written by hand.
SIZE_LIMIT = 1 << 20
ENTRY = re.compile(r"^\s*([A-Za-z0-9_-]+):\s*(\S.*)$")
#: Procfile entries: the one that serves, and the one that is run before a release.
SERVING, RELEASING = "web", "release"
EXPOSED = re.compile(r"(\d{1,5})(?:/tcp)?", re.IGNORECASE)
STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+as\s+(\S+))?")
SHELLS = (["/bin/sh", "-c"], ["sh", "-c"], ["/bin/bash", "-c"], ["bash", "-c"])
# Programs of images alone, which end with running what they are given.
WRAPPERS = ("entrypoint", "tini", "dumb-init")


@dataclass(frozen=True)
class Checkout:
    """Good first answers: the app's name and its services, the one that serves first."""

    name: str
    services: tuple[AppService, ...]


@dataclass(frozen=True)
class Image:
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


def read_checkout(directory: Path, environ: Mapping[str, str]) -> Checkout:
    package = read_package(directory)
    names = (
        find_remote(directory, environ),
        str(package.get("name") or "").rpartition("/")[2],
        directory.resolve().name,
    )
    slugs = (build_slug(name) for name in names if name)
    return Checkout(
        name=next((slug for slug in slugs if slug), "app"),
        services=find_services(directory, package),
    )


def find_services(directory: Path, package: dict[str, Any]) -> tuple[AppService, ...]:
    """The services: a Procfile's, else the one of the Dockerfile, else that of package.json."""
    image = read_dockerfile(read_text(directory / "Dockerfile")) or Image()
    processes = read_procfile(read_text(directory / "Procfile"))
    release = processes.pop(RELEASING, None)
    serving = processes.pop(SERVING, None)
    others = tuple(AppService(name, command=text) for name, text in processes.items())
    if others and not serving:
        return (replace(others[0], pre_run_command=release), *others[1:])
    command = serving or image.command or find_start(package) or None
    first = AppService(SERVING, command=command, port=image.port, pre_run_command=release)
    return (first, *others)


def read_procfile(text: str) -> dict[str, str]:
    """The commands of a Procfile by their names, as service names are spelled."""
    found = (ENTRY.match(line) for line in text.splitlines())
    named = {match[1].lower().strip("-_"): match[2].strip() for match in found if match}
    return {name: command for name, command in named.items() if SERVICE_NAME.fullmatch(name)}


def read_package(directory: Path) -> dict[str, Any]:
    """``package.json``, if it is an object."""
    try:
        content = json.loads(read_text(directory / "package.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def find_start(package: dict[str, Any]) -> str:
    """How npm starts the package; by way of npm, which finds the programs it installed."""
    scripts = package.get("scripts")
    start = scripts.get("start") if isinstance(scripts, dict) else None
    return "npm start" if isinstance(start, str) and start.strip() else ""


def find_remote(directory: Path, environ: Mapping[str, str]) -> str:
    if not (directory / ".git").exists():
        return ""
    return find_repository(ask_git(directory, environ, "remote", "get-url", "origin") or "")


def find_repository(url: str) -> str:
    """The repository's name in its address, which may hold credentials before and after it. Pure.

    Both https://host/owner/name.git and host:owner/name.git are addresses.
    """
    path = re.split(r"[?#]", url.strip())[0].rstrip("/")
    _, scheme, rest = path.partition("://")
    *before, name = re.split(r"/" if scheme else r"[/:\\]", rest or path)
    # With nothing before it, it is a host, perhaps after whoever logs in there.
    return name.removesuffix(".git") if before and "@" not in name else ""


def build_slug(name: str) -> str:
    """``name`` as an application may be called, perhaps empty."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63]


def read_text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > SIZE_LIMIT:
            return ""
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        return text.replace("\0", "").replace("\t", " ")
    except OSError:
        return ""


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
    found = (EXPOSED.fullmatch(word) for word in text.split())
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
