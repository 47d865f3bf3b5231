"""What a service of a Compose file says of its build, variables, ports, volumes and limits."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvoi.config.fields import ENV_NAME
from nvoi.config.nodes import Mapping, Node, Scalar, Sequence, is_null, join_path
from nvoi.config.schema import Healthcheck, Resources
from nvoi.onboarding.proposals.commands import (
    build_check,
    find_count,
    find_port,
    read_cpus,
    read_memory,
    read_seconds,
    read_words,
)
from nvoi.onboarding.proposals.images import FILE_SUFFIX
from nvoi.onboarding.proposals.tree import Note, Section, list_texts
from nvoi.onboarding.proposals.variables import is_secret, read_dotenv
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


def list_entries(node: Node | None, key: str) -> list[tuple[str, Node]]:
    """The names and values of the mapping at ``key``."""
    entry = node.entries.get(key) if isinstance(node, Mapping) else None
    if entry is None or not isinstance(entry.value, Mapping):
        return []
    return [(name, one.value) for name, one in entry.value.entries.items()]


def find_context(stack: Stack, section: Section) -> str:
    """The folder that a service is built from, which is left to be read."""
    entry = section.node.entries.get("build") if isinstance(section.node, Mapping) else None
    node = entry.value if entry else None
    if isinstance(node, Mapping):
        context = node.entries.get("context")
        node = context.value if context else None
    return join(stack.folder, node.text if isinstance(node, Scalar) else ".")


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
    for item in list_env_files(section.take("env_file")):
        name = posixpath.normpath(posixpath.join(stack.folder, item.path.text))
        text = stack.reading.read_text(name)
        if not text and item.required and not is_file(stack.reading.folder / name):
            where = Note(item.path.place, f"{section.path}.env_file", "")
            stack.reading.faults[name] = f"{where}the file with its variables is not here"
        for key, value in read_dotenv(text):
            found[key] = Scalar(value, plain=False, place=item.path.place)
    node = section.take("environment", Mapping, Sequence)
    for key, scalar in list_variables(node):
        found[key] = scalar
        if scalar.is_null:
            path = f"{section.path}.environment"
            value = stack.reading.find_variable(key, scalar.place, path)
            found[key] = Scalar(value, plain=False, place=scalar.place)
    return read_secret_files(stack, section, found)


@dataclass(frozen=True)
class EnvFile:
    path: Scalar
    required: bool = True


def list_env_files(node: Node | None) -> Iterator[EnvFile]:
    for item in node.items if isinstance(node, Sequence) else [node]:
        if isinstance(item, Mapping):
            entries = {key: entry.value for key, entry in item.entries.items()}
            required = entries.get("required")
            path = entries.get("path")
            if isinstance(path, Scalar):
                told = isinstance(required, Scalar) and required.text.lower() == "false"
                yield EnvFile(path, required=not told)
        elif isinstance(item, Scalar) and not item.is_null:
            yield EnvFile(item)


def list_variables(node: Node | None) -> Iterator[tuple[str, Scalar]]:
    """Both forms; a name alone has null for its value."""
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            if isinstance(entry.value, Scalar):
                yield key, entry.value
    for item in node.items if isinstance(node, Sequence) else []:
        if isinstance(item, Mapping):
            # `- NAME: value`, which is met though Compose refuses it.
            yield from list_variables(item)
        for text in list_texts(item if isinstance(item, Scalar) else None):
            name, equals, value = text.text.partition("=")
            yield name.strip(), Scalar(value, plain=not equals, place=text.place)


def read_secret_files(
    stack: Stack, section: Section, found: dict[str, Scalar]
) -> dict[str, Scalar]:
    """Variables that name a file in /run/secrets, as variables that hold what is in it."""
    known = dict(list_entries(stack.root.node, "secrets"))
    told: set[str] = set()
    for name, scalar in list(found.items()):
        if not (name.endswith(FILE_SUFFIX) and scalar.text.startswith(SECRET_FOLDER)):
            continue
        secret, plain = scalar.text.removeprefix(SECRET_FOLDER), name.removesuffix(FILE_SUFFIX)
        told.add(secret)
        del found[name]
        value = read_secret(stack, known.get(secret), plain, scalar)
        found.setdefault(plain, Scalar(value, plain=False, place=scalar.place))
        section.add_note(scalar, f"{name}: nvoi gives secrets as variables: {plain} holds it")
    for item in list_service_secrets(section.take("secrets", Sequence)):
        if item.text not in told:
            plain = re.sub(r"\W", "_", item.text).upper()
            value = read_secret(stack, known.get(item.text), plain, item)
            found.setdefault(plain, Scalar(value, plain=False, place=item.place))
            message = (
                f"secret {item.text}: there is no {SECRET_FOLDER}; the variable {plain} has it"
            )
            section.add_note(item, message)
    return found


def list_service_secrets(node: Node | None) -> Iterator[Scalar]:
    for item in node.items if isinstance(node, Sequence) else []:
        source = item.entries.get("source") if isinstance(item, Mapping) else None
        found = source.value if source else item
        if isinstance(found, Scalar) and not is_null(found):
            yield found


def read_secret(stack: Stack, node: Node | None, name: str, at: Scalar) -> str:
    """The value of a secret: of its file or variable, else of the variable ``name``."""
    entries = node.entries if isinstance(node, Mapping) else {}
    texts = {key: e.value.text for key, e in entries.items() if isinstance(e.value, Scalar)}
    if "file" in texts:
        text = stack.reading.read_text(posixpath.normpath(join(stack.folder, texts["file"])))
        if text.strip():
            return text.strip()
    wanted = texts.get("environment", name)
    return stack.reading.find_variable(wanted, at.place, f"secrets.{name}")


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
    node = section.take("ports", Sequence)
    for item in node.items if isinstance(node, Sequence) else []:
        ports = read_long_port(item) if isinstance(item, Mapping) else read_short_port(item)
        if ports is None:
            # Whatever else stands there may be a value of something else.
            told = item.text if isinstance(item, Scalar) else ""
            shown = told if SHOWN_PORT.fullmatch(told) else "this"
            section.add_note(item, f"port {shown} is no TCP port that can be told")
        else:
            found.append((ports, item))
    exposed = section.take("expose", Sequence)
    for text in list_texts(exposed):
        port = find_port(text.text.partition("/")[0])
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
    match = SHORT_PORT.fullmatch(re.sub("\ue000[^\ue000]*\ue000", "", getattr(node, "text", "")))
    if match is None or (match["protocol"] or "tcp").lower() != "tcp":
        return None
    inside = find_port(match["inside"])
    return Ports(inside, find_port(match["outside"] or "")) if inside else None


def read_long_port(node: Mapping) -> Ports | None:
    texts = {k: e.value.text for k, e in node.entries.items() if isinstance(e.value, Scalar)}
    inside = find_port(texts.get("target", ""))
    if inside is None or texts.get("protocol", "tcp").lower() != "tcp":
        return None
    return Ports(inside, find_port(texts.get("published", "")))


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
    times = {
        name: read_seconds(check.text(name)) or default
        for name, default in (("interval", found.interval), ("timeout", found.timeout))
    }
    retries = check.text("retries")
    check.tell_all(
        {
            "start_period": "a service has 60 s to start",
            "start_interval": "a service is asked each second until it has started",
        }
    )
    return Healthcheck(
        found.type,
        found.path,
        found.port,
        found.command,
        **times,
        retries=find_count(retries) or found.retries,
    )


def read_replicas(section: Section) -> int | None:
    scale = section.text("scale")
    deploy = section.node.entries.get("deploy") if isinstance(section.node, Mapping) else None
    entry = (
        deploy.value.entries.get("replicas")
        if deploy and isinstance(deploy.value, Mapping)
        else None
    )
    text = entry.value.text if entry and isinstance(entry.value, Scalar) else scale
    return find_count(text) or None


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
