"""What a service of a Compose file says of its variables, ports, check, volumes and limits."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, replace

from nvoi.config.fields import CAPABILITY
from nvoi.config.nodes import Entry, Mapping, Node, Scalar, Sequence, find_child, join_path
from nvoi.config.schema import Healthcheck, Resources, Security
from nvoi.onboarding.commands import (
    UNPRIVILEGED_PORT,
    build_check,
    find_count,
    find_port,
    read_amount,
    read_cpus,
    read_times,
    read_words,
)
from nvoi.onboarding.proposals.images import FILE_SUFFIX
from nvoi.onboarding.proposals.proposal import MARKED, Reading, add_mount
from nvoi.onboarding.proposals.tree import (
    ONE_PORT,
    RESTARTS,
    STARTS,
    Note,
    Stanza,
    find_node,
    find_text,
    list_entries,
    list_items,
    list_texts,
)
from nvoi.onboarding.sources import holds_files, is_file
from nvoi.onboarding.variables import read_dotenv

SHORT_PORT = re.compile(
    r"(?:(?:\[[^\]]*\]|\d+\.[\d.]+):)?(?:(?P<outside>[\d-]*):)?(?P<inside>[\d-]+)(?:/(?P<protocol>\w+))?"
)
SHOWN_PORT = re.compile(r"[\d.:\[\]-]+(?:/\w{1,4})?")
SECRET_FOLDER = "/run/secrets/"  # noqa: S105 - a folder
#: Folders of this machine whose content no server has.
SYSTEM = re.compile(r"/(?:var/run|run|etc|dev|proc|sys|tmp|usr|lib|boot)(?:/|$)")
#: Where an image's settings go, or what begins with a database: files, and no data.
SETTINGS = re.compile(r"/(?:etc|docker-entrypoint[\w.-]*|usr|opt/[\w-]+/(?:conf|etc)\w*)(?:/|$)")


@dataclass
class Stack:
    """An app's files put together, and what was found of its services.

    Attributes:
        folder: that of the file, from the checkout on.
        hosts: how services call each other, with the name in the config.
        variables: the variables of each app service.
        context: the folder that the app's image is built from, from the checkout on.
    """

    reading: Reading
    folder: str
    root: Stanza
    services: AnyMapping[str, Mapping]
    hosts: dict[str, str] = field(default_factory=dict)
    variables: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    context: str = ""


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


def join(folder: str, path: str) -> str:
    """A folder from the checkout on; "" is the checkout itself."""
    joined = posixpath.normpath(posixpath.join(folder, path))
    return "" if joined == "." else joined


def read_environment(stack: Stack, stanza: Stanza) -> dict[str, Scalar]:
    """All variables of a service: those of its files, over which go its own."""
    found: dict[str, Scalar] = {}
    for item in list_items(stanza.take("env_file")):
        path = find_child(item, "path") if isinstance(item, Mapping) else item
        if not isinstance(path, Scalar) or path.is_null:
            continue
        is_needed = find_text(item, "required").lower() != "false"
        name = join(stack.folder, path.text)
        text = stack.reading.gain(stack.reading.read_text(name), path.place)
        if not text and is_needed and not is_file(stack.reading.folder / name):
            asked = Note(path.place, f"{stanza.path}.env_file", "")
            stack.reading.faults[name] = f"{asked}the file with its variables is not here"
        variables = {
            key: Scalar(value, plain=False, place=path.place) for key, value in read_dotenv(text)
        }
        found |= variables
    node = stanza.take("environment", Mapping, Sequence)
    for key, given in list_entries(pair(node) if node else None):
        if not isinstance(given, Scalar):
            stanza.add_note(given, f"environment: {join_path('', key)} is no text")
            continue
        found[key] = given
        if given.is_null:
            where = f"{stanza.path}.environment"
            text = stack.reading.get_value_or_mark(key, given.place, where)
            found[key] = Scalar(text, plain=False, place=given.place)
    return read_secret_files(stack, stanza, found)


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


def read_secret_files(stack: Stack, stanza: Stanza, found: dict[str, Scalar]) -> dict[str, Scalar]:
    """Variables that name a file in /run/secrets, as variables that hold what is in it."""
    told: set[str] = set()
    for name, scalar in list(found.items()):
        if not (name.endswith(FILE_SUFFIX) and scalar.text.startswith(SECRET_FOLDER)):
            continue
        secret, plain = scalar.text.removeprefix(SECRET_FOLDER), name.removesuffix(FILE_SUFFIX)
        told.add(secret)
        del found[name]
        found.setdefault(plain, read_secret(stack, secret, plain, scalar))
        stanza.add_note(scalar, f"{name}: nvoi gives secrets as variables: {plain} holds it")
    for item in stanza.items("secrets"):
        source = find_child(item, "source") if isinstance(item, Mapping) else item
        if isinstance(source, Scalar) and not source.is_null and source.text not in told:
            plain = re.sub(r"\W", "_", source.text).upper()
            found.setdefault(plain, read_secret(stack, source.text, plain, source))
            reason = f"there is no {SECRET_FOLDER}; the variable {plain} has it"
            stanza.add_note(source, f"secret {source.text}: {reason}")
    return found


def read_secret(stack: Stack, secret: str, name: str, at: Scalar) -> Scalar:
    """The value of a secret: of its file or variable, else of the variable ``name``."""
    stack.reading.secrets.add(name)
    node = find_node(stack.root.node, "secrets", secret)
    text = ""
    if file := find_text(node, "file"):
        text = stack.reading.read_text(join(stack.folder, file)).strip()
        stack.reading.gain(text, at.place)
    if not text:
        wanted = find_text(node, "environment") or name
        text = stack.reading.get_value_or_mark(wanted, at.place, f"secrets.{name}")
    return Scalar(text, plain=False, place=at.place)


def read_port(stanza: Stanza, env: AnyMapping[str, Scalar], usual: int | None = None) -> Ports:
    """The first TCP port that a service publishes or exposes, or that its variable names.

    Where it has several, its image's ``usual`` one is meant.
    """
    found: list[tuple[Ports, Node]] = []
    for item in stanza.items("ports"):
        ports = read_one_port(item)
        if ports is None:
            # Whatever else stands there may be a value of something else.
            told = find_text(item)
            shown = told if SHOWN_PORT.fullmatch(told) else "this"
            stanza.add_note(item, f"port {shown} is no TCP port that can be told")
        else:
            found.append((ports, item))
    inside = {ports.inside for ports, _ in found}
    for text in list_texts(stanza.take("expose", Sequence)):
        port = find_port(text.text)
        if port and port not in inside:
            inside.add(port)
            found.append((Ports(port), text))
    found.sort(key=lambda one: one[0].inside != usual)
    for ports, item in found[1:]:
        stanza.add_note(item, f"port {ports.inside}: {ONE_PORT}")
    if found:
        return found[0][0]
    return Ports((find_port(env["PORT"].text) if "PORT" in env else None) or usual)


def read_one_port(node: Node) -> Ports | None:
    """A port of the short or the long form; None for one that is not of TCP."""
    if isinstance(node, Mapping):
        keys = ("target", "published", "protocol")
        inside, outside, protocol = (find_text(node, key) for key in keys)
    else:
        match = SHORT_PORT.fullmatch(MARKED.sub("", find_text(node)))
        if match is None:
            return None
        inside, outside, protocol = match.group("inside", "outside", "protocol")
    port = find_port(inside)
    if port is None or (protocol or "tcp").lower() != "tcp":
        return None
    return Ports(port, find_port(outside or ""))


def read_check(stack: Stack, stanza: Stanza, port: int | None) -> Healthcheck | None:
    """The check that is asked of an app; on this machine programs of its image are not there."""
    check = stanza.stanza("healthcheck")
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
            "start_period": STARTS,
            "start_interval": "a service is asked each second until it has started",
        }
    )
    return replace(found, retries=retries)


def read_resources(stanza: Stanza) -> Resources:
    """Limits in the newer form, below `deploy`, or in the older one."""
    deploy = stanza.stanza("deploy")
    deploy.take("replicas")
    whole = deploy.stanza("resources")
    limits, requests = whole.stanza("limits"), whole.stanza("reservations")
    found = Resources(
        requested_memory=read_amount(requests, "memory") or read_amount(stanza, "mem_reservation"),
        requested_cpu=read_amount(requests, "cpus", read_cpus),
        memory_limit=read_amount(limits, "memory") or read_amount(stanza, "mem_limit"),
        cpu_limit=read_amount(limits, "cpus", read_cpus) or read_amount(stanza, "cpus", read_cpus),
    )
    for part in (limits, requests, whole):
        part.tell_all({})
    deploy.tell_all(
        {
            "restart_policy": RESTARTS,
            "update_config": "nvoi replaces one release by the next once that is well",
            "mode": "how many run is `replicas`",
            "labels": "nvoi reads no labels",
            "placement": "where a service runs is its `servers`",
        }
    )
    return found


def read_security(stanza: Stanza) -> Security:
    """The rights that a service is given beside those that it has anyway."""
    names: list[str] = []
    for text in stanza.texts("cap_add"):
        name = text.text.upper().removeprefix("CAP_")
        if CAPABILITY.fullmatch(name):
            names.append(name)
        else:
            stanza.add_note(text, "cap_add: this is no capability")
    return Security(tuple(dict.fromkeys(names)))


def read_volumes(stack: Stack, stanza: Stanza, *, is_app: bool) -> dict[str, str]:
    """The paths of a service's volumes by their names; folders of this machine are told of."""
    mounts: dict[str, str] = {}
    for item in stanza.items("volumes"):
        kind, source, target = read_volume(item)
        target = target.rstrip("/") or target
        if not target.startswith("/") or kind not in {"volume", "bind"}:
            stanza.add_note(item, f"volume {source or target or '?'}: {kind} is not kept")
        elif kind == "bind":
            message, name = judge_bind(stack, source, target, is_app=is_app)
            stanza.add_note(item, message)
            if name:
                add_mount(stanza, item, mounts, name, target)
        elif not source:
            reason = "what is there goes with a release"
            stanza.add_note(item, f"volume at {target} has no name: {reason}")
        else:
            add_mount(stanza, item, mounts, stack.reading.name_volume(source, source), target)
    stanza.tell("tmpfs", "what is kept in memory is not mounted")
    return mounts


def read_volume(node: Node) -> tuple[str, str, str]:
    """The kind, source and target of a volume, of the short or the long form."""
    if isinstance(node, Mapping):
        source, target = (
            find_text(node, key) or find_text(node, short)
            for key, short in (("source", "src"), ("target", "dst"))
        )
        return find_text(node, "type") or "volume", source, target
    parts = find_text(node).split(":")
    if len(parts) == 1:
        return "volume", "", parts[0]
    source, target = parts[:2]
    is_folder = source.startswith((".", "/", "~")) or target.startswith("\\")
    return "bind" if is_folder else "volume", source, target


def judge_bind(stack: Stack, source: str, target: str, *, is_app: bool) -> tuple[str, str]:
    """What becomes of a folder of this machine in a service, and its volume's name or nothing."""
    shown = f"{source} at {target}"
    if is_app:
        reason = "a release has the checkout's files, and data needs a volume (`mounts`)"
        return f"{shown}: is not mounted: {reason}", ""
    path = join(stack.folder, source)
    has_suffix = bool(re.search(r"\.\w{1,5}$", posixpath.basename(target)))
    is_outside = path.startswith("..") or source.startswith(("/", "~"))
    is_file = bool(has_suffix or SYSTEM.match(source) or SETTINGS.match(target))
    if is_file or (not is_outside and holds_files(stack.reading.folder / path)):
        return f"{shown}: files of this machine cannot be put into an image here", ""
    place = posixpath.normpath(source) if is_outside else f"./{path}"
    names = (posixpath.basename(place), place) if is_outside else (path,)
    name = stack.reading.name_volume(place, *names)
    return f"{shown}: is volume {name}, which begins empty", name
