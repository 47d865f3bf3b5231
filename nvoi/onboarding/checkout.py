"""What a checkout says of how its app is run: its Dockerfile, its Procfile, its recipe.

A file that is missing says nothing, and one that is broken only that it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nvoi.ci import ask_git
from nvoi.config.fields import SERVICE_NAME
from nvoi.config.nodes import Position
from nvoi.config.schema import AppService, Healthcheck
from nvoi.images.context import find_instructions
from nvoi.onboarding.commands import find_port, read_command, use_port
from nvoi.onboarding.proposals.tree import NO_NAME, Note, list_parse_notes, list_unreadable
from nvoi.onboarding.recipes import Recipe, find_recipe, find_start, prepare_app, read_package
from nvoi.onboarding.recipes.python import find_project_name
from nvoi.onboarding.sources import MOST_SERVICES, check_count, find_health, read_text

ENTRY = re.compile(r"^\s*([A-Za-z0-9_-]+):\s*(\S.*)$")
#: Procfile entries: the one that serves, and the one that is run before a release.
SERVING, RELEASING = "web", "release"
DEFAULT_PORT = 8000
STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+as\s+(\S+))?")
# Programs of images alone, which end with running what they are given.
WRAPPERS = ("entrypoint", "tini", "dumb-init")


@dataclass(frozen=True)
class Checkout:
    """Good first answers: services on servers and on this machine, the one that serves first.

    ``dotenv`` is the text of the file with its variables, ``notes`` say what became of no service.
    """

    name: str
    services: tuple[AppService, ...]
    local: tuple[AppService, ...] = ()
    recipe: Recipe | None = None
    health: str = ""
    dotenv: str = ""
    notes: tuple[Note, ...] = ()


def read_checkout(directory: Path, environ: Mapping[str, str]) -> Checkout:
    """Raises ConfigError where the Procfile has more processes than an app can have."""
    package = read_package(directory)
    names = (
        find_remote(directory, environ),
        str(package.get("name") or "").rpartition("/")[2],
        find_project_name(directory),
        directory.resolve().name,
    )
    slugs = (build_slug(name) for name in names if name)
    recipe = find_recipe(directory)
    dotenv = read_text(directory / ".env")
    notes = list_unreadable(dotenv, ".env")
    for name in ("package.json", "pyproject.toml"):
        notes += list_parse_notes(read_text(directory / name), name)
    processes = read_procfile(read_text(directory / "Procfile"), "Procfile", notes)
    image = read_dockerfile(read_text(directory / "Dockerfile")) or ImageConfig()
    command = image.command or find_start(package)
    health = recipe.health if recipe else find_health(directory)
    return Checkout(
        name=next((slug for slug in slugs if slug), "app"),
        services=build_services(processes, command, image.port),
        local=build_local_services(processes, image, recipe or Recipe("", health=health)),
        recipe=recipe,
        health=health,
        dotenv=dotenv,
        notes=tuple(notes),
    )


def build_services(
    processes: Mapping[str, str], command: str, port: int | None
) -> tuple[AppService, ...]:
    """The services of a Procfile, else the one that ``command`` is; ``port`` is the first one's."""
    release = processes.get(RELEASING)
    serving = processes.get(SERVING)
    others = tuple(
        AppService(name, command=text)
        for name, text in processes.items()
        if name not in {SERVING, RELEASING}
    )
    if others and not serving:
        return (replace(others[0], pre_run_command=release), *others[1:])
    first = AppService(
        SERVING, command=serving or command or None, port=port, pre_run_command=release
    )
    return (first, *others)


def complete_services(services: tuple[AppService, ...], health: str = "") -> tuple[AppService, ...]:
    """The services on servers, with what is offered for the one that serves."""
    first, *others = services
    if first.name == SERVING:
        check = Healthcheck(path=health) if health else None
        first = replace(first, port=first.port or DEFAULT_PORT, healthcheck=check)
    return (first, *others)


def build_local_services(
    processes: Mapping[str, str], image: ImageConfig, recipe: Recipe
) -> tuple[AppService, ...]:
    """The services on this machine: what a recipe knows of a framework goes before an image's."""
    command = "" if recipe.command else use_port(image.local_command, image.port)
    first, *others = build_services(processes, command, image.port)
    serves = first.name == SERVING and (bool(first.command) or recipe.serves)
    if first.command is None and not recipe.serves:
        first = replace(first, name="worker")
    first = replace(first, port=(first.port or DEFAULT_PORT) if serves else None)
    return tuple(
        prepare_app(app, recipe, is_first=index == 0) for index, app in enumerate([first, *others])
    )


def read_procfile(text: str, file: str, notes: list[Note]) -> dict[str, str]:
    """The commands of a Procfile by their names, as service names are spelled; others are noted."""
    named: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match, place = ENTRY.match(line), Position(number, 1, file)
        name = match[1].lower().strip("-_") if match else ""
        if match is None and line.strip() and not line.lstrip().startswith("#"):
            notes.append(Note(place, "", "is no process: NAME: COMMAND"))
        elif match and (name in named or not SERVICE_NAME.fullmatch(name)):
            notes.append(Note(place, match[1], NO_NAME))
        elif match:
            named[name] = match[2].strip()
    check_count(file, len(named), MOST_SERVICES, "processes")
    return named


@dataclass(frozen=True)
class ImageConfig:
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

    def find_local(self, path: str, folder: str = ".") -> str:
        """A path in the image from the release's folder on, where the image's own is ``folder``."""
        if not path.startswith(f"{self.workdir}/") or not self.workdir:
            return path
        return posixpath.normpath(posixpath.join(folder, path.removeprefix(f"{self.workdir}/")))

    @property
    def command(self) -> str:
        """What runs: ``CMD``, as the arguments of ``ENTRYPOINT`` where that is a program."""
        program = self.entrypoint.partition(" ")[0].rpartition("/")[2]
        if self.arguments and any(wrapper in program for wrapper in WRAPPERS):
            return self.arguments
        return f"{self.entrypoint} {self.arguments}".strip()


def read_dockerfile(text: str, target: str = "") -> ImageConfig | None:
    """The last stage, or the one of that name; None where there is none.

    It begins with what the stage has that it is built from, and of several ``CMD`` the last one
    counts (Dockerfile reference).
    """
    image: ImageConfig | None = None
    stages: dict[str, ImageConfig] = {}
    stage = ""
    for _, name, rest in find_instructions(text):
        if name == "FROM":
            if target and stage == target.lower():
                break
            source, stage = find_stage(rest)
            image = stages.get(source, ImageConfig())
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
