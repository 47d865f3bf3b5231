"""What a service of a Compose file says of its build, variables, ports, volumes and limits."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nvoi.config.fields import ENV_NAME
from nvoi.config.nodes import Entry, Mapping, Node, Scalar, Sequence, find_child, join_path
from nvoi.config.schema import Healthcheck, Resources
from nvoi.onboarding.proposals.commands import (
    build_check,
    find_count,
    read_cpus,
    read_memory,
    read_times,
    read_words,
)
from nvoi.onboarding.proposals.images import FILE_SUFFIX
from nvoi.onboarding.proposals.proposal import MARKED
from nvoi.onboarding.proposals.tree import (
    Note,
    Section,
    find_node,
    find_text,
    list_entries,
    list_items,
    list_texts,
)
from nvoi.onboarding.proposals.variables import is_secret, read_dotenv
from nvoi.onboarding.shell import find_port
from nvoi.onboarding.sources import is_file

if TYPE_CHECKING:
    from nvoi.onboarding.proposals.compose_services import Stack

# Below it only root may listen on this machine (ip(7)).
UNPRIVILEGED_PORT = 1024
SHORT_PORT = re.compile(
    r"(?:(?:\[[^\]]*\]|\d+\.[\d.]+):)?(?:(?P<outside>[\d-]*):)?(?P<inside>[\d-]+)(?:/(?P<protocol>\w+))?"
)
SHOWN_PORT = re.compile(r"[\d.:\[\]-]+(?:/\w{1,4})?")
SECRET_FOLDER = "/run/secrets/"  # noqa: S105 - a folder


@dataclass(frozen=True)
class Build:
    """Where an image is built: the folder and the file, from the checkout on, and the stage."""

    context: str
    file: str
    target: str = ""


@dataclass(frozen=True)
class Ports:
    """The port in the container, and the one that this machine has for it."""

    inside: int | None = None
    outside: int | None = None

    def choose(self, *, is_local: bool) -> int | None:
        """On one machine the outer one is what nobody else has."""
        found = [self.outside, self.inside] if is_local else [self.inside]
        allowed = [p for p in found if p and (not is_local or p >= UNPRIVILEGED_PORT)]
        # Without any that it may listen on, the one it has stands for having one.
        return next(iter(allowed), self.inside)


def find_context(stack: Stack, section: Section) -> str:
    """The folder that a service is built from, which is left to be read."""
    build = find_node(section.node, "build")
    return join(stack.folder, find_text(build) or find_text(build, "context") or ".")


def read_build(stack: Stack, section: Section) -> Build:
    node = section.take("build", Scalar, Mapping)
    if isinstance(node, Scalar):
        context = join(stack.folder, node.text)
        return Build(context, posixpath.join(context, "Dockerfile"))
    build = Section(section.notes, f"{section.path}.build", node)
    context = join(stack.folder, build.text("context") or ".")
    file = build.text("dockerfile")
    target = build.text("target")
    whole = posixpath.normpath(posixpath.join(context, file or "Dockerfile"))
    if file and whole != "Dockerfile" and not stack.reading.is_local:
        build.add_note(
            node, f"is deployed with: nvoi deploy --dockerfile-path {shlex.quote(whole)}"
        )
    if target and not stack.reading.is_local:
        build.add_note(node, f"stage {target}: nvoi builds the last stage of a Dockerfile")
    build.tell_all(
        {
            "args": "nvoi gives a build no arguments: defaults belong into the Dockerfile",
            **dict.fromkeys(("cache_from", "cache_to", "pull"), "caches are the builder's own"),
            "platforms": "an image is built for the servers' architecture",
            "tags": "nvoi names the image itself",
        }
    )
    return Build(context, whole, target)


def join(folder: str, path: str) -> str:
    """A folder from the checkout on; "" is the checkout itself."""
    joined = posixpath.normpath(posixpath.join(folder, path))
    return "" if joined == "." else joined


def read_environment(stack: Stack, section: Section) -> dict[str, Scalar]:
    """All variables of a service: those of its files, over which go its own."""
    found: dict[str, Scalar] = {}
    for item in list_items(section.take("env_file")):
        path = find_child(item, "path") if isinstance(item, Mapping) else item
        if not isinstance(path, Scalar) or path.is_null:
            continue
        is_needed = find_text(item, "required").lower() != "false"
        name = posixpath.normpath(posixpath.join(stack.folder, path.text))
        text = stack.reading.read_text(name)
        if not text and is_needed and not is_file(stack.reading.folder / name):
            asked = Note(path.place, f"{section.path}.env_file", "")
            stack.reading.faults[name] = f"{asked}the file with its variables is not here"
        for key, value in read_dotenv(text):
            found[key] = Scalar(value, plain=False, place=path.place)
    node = section.take("environment", Mapping, Sequence)
    for key, given in list_entries(pair(node) if node else None):
        if isinstance(given, Scalar):
            found[key] = given
            if given.is_null:
                where = f"{section.path}.environment"
                text = stack.reading.find_variable(key, given.place, where)
                found[key] = Scalar(text, plain=False, place=given.place)
    return read_secret_files(stack, section, found)


def pair(node: Node) -> Node:
    """``[NAME=value, NAME]`` as a mapping; a name without a value has none there either."""
    if not isinstance(node, Sequence):
        return node
    mapping = Mapping(node.place)
    for item in node.items:
        # `- NAME: value`, which is met though Compose refuses it.
        mapping.entries |= item.entries if isinstance(item, Mapping) else {}
    for text in list_texts(node):
        name, equals, value = text.text.partition("=")
        key = Scalar(name.strip(), plain=False, place=text.place)
        mapping.entries[key.text] = Entry(key, Scalar(value, plain=not equals, place=text.place))
    return mapping


def read_secret_files(
    stack: Stack, section: Section, found: dict[str, Scalar]
) -> dict[str, Scalar]:
    """Variables that name a file in /run/secrets, as variables that hold what is in it."""
    told: set[str] = set()
    for name, scalar in list(found.items()):
        if not (name.endswith(FILE_SUFFIX) and scalar.text.startswith(SECRET_FOLDER)):
            continue
        secret, plain = scalar.text.removeprefix(SECRET_FOLDER), name.removesuffix(FILE_SUFFIX)
        told.add(secret)
        del found[name]
        found.setdefault(plain, read_secret(stack, secret, plain, scalar))
        section.add_note(scalar, f"{name}: nvoi gives secrets as variables: {plain} holds it")
    for item in section.items("secrets"):
        source = find_child(item, "source") if isinstance(item, Mapping) else item
        if isinstance(source, Scalar) and not source.is_null and source.text not in told:
            plain = re.sub(r"\W", "_", source.text).upper()
            found.setdefault(plain, read_secret(stack, source.text, plain, source))
            reason = f"there is no {SECRET_FOLDER}; the variable {plain} has it"
            section.add_note(source, f"secret {source.text}: {reason}")
    return found


def read_secret(stack: Stack, secret: str, name: str, at: Scalar) -> Scalar:
    """The value of a secret: of its file or variable, else of the variable ``name``."""
    node = find_node(stack.root.node, "secrets", secret)
    text = ""
    if file := find_text(node, "file"):
        text = stack.reading.read_text(posixpath.normpath(join(stack.folder, file))).strip()
    if not text:
        wanted = find_text(node, "environment") or name
        text = stack.reading.find_variable(wanted, at.place, f"secrets.{name}")
    return Scalar(text, plain=False, place=at.place)


def settle_variables(section: Section, env: AnyMapping[str, Scalar]) -> dict[str, str]:
    """The variables of what runs beside the app: only the app's own secrets are masked."""
    for name, scalar in env.items():
        if not ENV_NAME.fullmatch(name):
            section.add_note(scalar, f"{join_path('', name)} is no name that a variable can have")
    names = [
        name
        for name, scalar in env.items()
        if ENV_NAME.fullmatch(name) and is_secret(name, scalar.text)
    ]
    if names:
        section.add_note(
            None,
            f"{', '.join(names)}: encrypted in the config as all of it is, but not masked in logs",
        )
    return {name: scalar.text for name, scalar in env.items() if ENV_NAME.fullmatch(name)}


def read_port(section: Section, env: AnyMapping[str, Scalar], usual: int | None = None) -> Ports:
    """The first TCP port that a service publishes or exposes, or that its variable names.

    Where it has several, its image's ``usual`` one is meant.
    """
    found: list[tuple[Ports, Node]] = []
    for item in section.items("ports"):
        ports = read_long_port(item) if isinstance(item, Mapping) else read_short_port(item)
        if ports is None:
            # Whatever else stands there may be a value of something else.
            told = find_text(item)
            shown = told if SHOWN_PORT.fullmatch(told) else "this"
            section.add_note(item, f"port {shown} is no TCP port that can be told")
        else:
            found.append((ports, item))
    for text in list_texts(section.take("expose", Sequence)):
        port = find_port(text.text)
        if port and port not in {ports.inside for ports, _ in found}:
            found.append((Ports(port), text))
    found.sort(key=lambda one: one[0].inside != usual)
    for ports, item in found[1:]:
        section.add_note(
            item, f"port {ports.inside}: a service has one port here, and it is the first"
        )
    if found:
        return found[0][0]
    return Ports((find_port(env["PORT"].text) if "PORT" in env else None) or usual)


def read_short_port(node: Node) -> Ports | None:
    match = SHORT_PORT.fullmatch(MARKED.sub("", find_text(node)))
    if match is None or (match["protocol"] or "tcp").lower() != "tcp":
        return None
    inside = find_port(match["inside"])
    return Ports(inside, find_port(match["outside"] or "")) if inside else None


def read_long_port(node: Mapping) -> Ports | None:
    inside = find_port(find_text(node, "target"))
    if inside is None or (find_text(node, "protocol") or "tcp").lower() != "tcp":
        return None
    return Ports(inside, find_port(find_text(node, "published")))


def read_check(stack: Stack, section: Section, port: int | None) -> Healthcheck | None:
    """The check that is asked of an app; on this machine programs of its image are not there."""
    check = section.section("healthcheck")
    if check.text("disable").lower() == "true":
        check.tell_all({"test": "is disabled there"})
        return None
    test = check.take("test")
    words = [item.text for item in list_texts(test)]
    if not words or words[0] == "NONE":
        check.tell_all({})
        return None
    if isinstance(test, Sequence) and words[0] in {"CMD", "CMD-SHELL"}:
        rest: Node = Sequence(test.place, test.items[1:])
        command = read_words(rest) if words[0] == "CMD" else " ".join(words[1:])
    else:
        command = read_words(test)
    found = build_check(command, port)
    if found.type == "http" and port is None and found.port is None:
        found = Healthcheck(type="exec", command=command)
    if found.type == "exec" and stack.reading.is_local:
        check.add_note(test, "its command is one of the image: on this machine it may be missing")
    found = read_times(found, check)
    retries = find_count(check.text("retries")) or found.retries
    check.tell_all(
        {
            "start_period": "a service has 60 s to start",
            "start_interval": "a service is asked each second until it has started",
        }
    )
    return replace(found, retries=retries)


def read_replicas(section: Section) -> int | None:
    scale = section.text("scale")
    return find_count(find_text(section.node, "deploy", "replicas") or scale) or None


def read_resources(section: Section) -> Resources:
    """Limits in the newer form, below `deploy`, or in the older one."""
    deploy = section.section("deploy")
    deploy.take("replicas")
    whole = deploy.section("resources")
    limits, requests = whole.section("limits"), whole.section("reservations")
    found = Resources(
        requested_memory=read_memory(requests.text("memory") or section.text("mem_reservation")),
        requested_cpu=read_cpus(requests.text("cpus")),
        memory_limit=read_memory(limits.text("memory") or section.text("mem_limit")),
        cpu_limit=read_cpus(limits.text("cpus") or section.text("cpus")),
    )
    for part in (limits, requests, whole):
        part.tell_all({})
    deploy.tell_all(
        {
            "restart_policy": "nvoi starts what ends again",
            "update_config": "nvoi replaces one release by the next once that is well",
            "mode": "how many run is `replicas`",
            "labels": "nvoi reads no labels",
            "placement": "where a service runs is its `servers`",
        }
    )
    return found
