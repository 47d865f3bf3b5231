"""``compose.yaml``: its files put together into one tree, as ``docker compose`` reads them.

Sources: the Compose Specification, and Docker's manual on merging, extending and including.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path

from nvoi.config.nodes import Entry, Mapping, Node, Scalar, Sequence
from nvoi.errors import ConfigError, Fault
from nvoi.onboarding.proposals.compose_services import Stack, build_answers
from nvoi.onboarding.proposals.interpolation import interpolate
from nvoi.onboarding.proposals.proposal import Proposal, Reading, build_proposal
from nvoi.onboarding.proposals.tree import FilePlace, Note, Section, list_texts, read_tree
from nvoi.onboarding.proposals.variables import read_dotenv

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
#: What is merged over a file of that name.
OVERRIDES = {
    name: tuple(f"{Path(name).stem}.override{suffix}" for suffix in (".yaml", ".yml"))
    for name in NAMES
}
#: Lists that replace each other; others are put together.
REPLACED = frozenset({"command", "entrypoint", "test"})
#: Where both forms are met, pairs and mappings.
PAIRS = frozenset({"environment", "labels", "args", "extra_hosts", "sysctls", "annotations"})
# So many files are read of one app at most: one might include itself.
MOST_FILES = 30


@dataclass
class Files:
    """The files of an app that were read so far, and the variables that are looked up in them."""

    reading: Reading
    variables: AnyMapping[str, str]
    seen: list[str] = field(default_factory=list)

    def read(self, name: str) -> Mapping:
        self.seen.append(name)
        if len(self.seen) > MOST_FILES:
            raise ConfigError(name, [Fault(1, 1, "", "too many files include each other")])
        text = self.reading.read_text(name)
        if not text.strip():
            raise ConfigError(name, [Fault(0, 0, "", "is missing or empty")])
        return read_tree(text, name, self.reading.notes, self.expand)

    def expand(self, text: str, place: FilePlace, path: str) -> str:
        if "$" not in text:
            return text
        return interpolate(
            text, self.variables.get, lambda name: self.reading.find_variable(name, place, path)
        )


def read_compose(reading: Reading, file: str) -> Proposal:
    """The app that a Compose file describes, with what overrides it where it has a usual name."""
    folder = posixpath.dirname(file)
    dotenv = dict(read_dotenv(reading.read_text(posixpath.join(folder, ".env"))))
    files = Files(reading, {**dotenv, **reading.variables})
    reading.variables = files.variables
    root = include(files, files.read(file), folder)
    for name in find_overrides(reading, file):
        root = merge(root, include(files, files.read(name), folder))
        place = FilePlace(0, 0, name)
        reading.notes.append(Note(place, "", f"is merged over {file}, as docker compose does"))
    services = Section([], "services", child(root, "services"))
    if not services:
        raise ConfigError(file, [Fault(0, 0, "services", "names no service")])
    stack = Stack(
        reading,
        folder,
        Section(reading.notes, "", root),
        {name: extend(files, root, name, folder) for name in services.list_keys()},
    )
    answers = build_answers(stack)
    answered = {"Apps", "Database", "Variables"} | ({"Application"} if answers.name else set())
    return build_proposal(reading, file, answers, frozenset(answered))


def find_overrides(reading: Reading, file: str) -> list[str]:
    folder, name = posixpath.split(file)
    names = [posixpath.join(folder, other) for other in OVERRIDES.get(name, ())]
    return [other for other in names if reading.read_text(other)][:1]


def include(files: Files, root: Mapping, folder: str) -> Mapping:
    """``root`` over what it includes."""
    entry = root.entries.pop("include", None)
    items = entry.value.items if entry and isinstance(entry.value, Sequence) else []
    whole: Mapping | None = None
    for item in items:
        paths = child(item, "path") if isinstance(item, Mapping) else item
        for path in list_texts(paths):
            name = posixpath.normpath(posixpath.join(folder, path.text))
            other = include(files, files.read(name), posixpath.dirname(name))
            whole = other if whole is None else merge(whole, other)
    return root if whole is None else merge(whole, root)


def extend(files: Files, root: Mapping, name: str, folder: str, depth: int = 0) -> Mapping:
    """A service over the one that it extends, of this file or another."""
    service = child(child(root, "services"), name)
    if not isinstance(service, Mapping):
        place = FilePlace(0, 0, files.seen[-1])
        raise ConfigError(
            files.seen[0], [Fault(place.line, 0, f"services.{name}", "is no mapping")]
        )
    entry = service.entries.get("extends")
    if entry is None:
        return service
    extends = entry.value
    other = extends.text if isinstance(extends, Scalar) else get_text(extends, "service")
    file = "" if isinstance(extends, Scalar) else get_text(extends, "file")
    if depth > MOST_FILES or not other or (other == name and not file):
        fault = Fault(entry.key.place.line, 1, f"services.{name}.extends", "extends itself")
        raise ConfigError(files.seen[0], [fault])
    base_root = root
    if file:
        file = posixpath.normpath(posixpath.join(folder, file))
        base_root, folder = files.read(file), posixpath.dirname(file)
    base = extend(files, base_root, other, folder, depth + 1)
    own = Mapping(service.place, {k: v for k, v in service.entries.items() if k != "extends"})
    return merge(base, own)


def merge(base: Mapping, over: Mapping) -> Mapping:
    """``base`` with what ``over`` says: mappings and lists put together, other values replaced."""
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        before = entries.get(key)
        value = entry.value if before is None else merge_values(key, before.value, entry.value)
        entries[key] = Entry(entry.key, value)
    return Mapping(over.place, entries)


def merge_values(key: str, base: Node, over: Node) -> Node:
    if key in PAIRS:
        base, over = pair(base), pair(over)
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return merge(base, over)
    if isinstance(base, Sequence) and isinstance(over, Sequence) and key not in REPLACED:
        return Sequence(over.place, join_lists(key, base.items, over.items))
    return over


def join_lists(key: str, base: list[Node], over: list[Node]) -> list[Node]:
    """Both lists; of volumes those of ``over`` take the place of others at the same path."""
    if key != "volumes":
        return [*base, *over]
    taken = {get_target(item) for item in over}
    return [*(item for item in base if get_target(item) not in taken), *over]


def get_target(volume: Node) -> str:
    if isinstance(volume, Scalar):
        return [*volume.text.split(":"), volume.text][1]
    return get_text(volume, "target")


def pair(node: Node) -> Node:
    """``[NAME=value, NAME]`` as a mapping; a name without a value has none there either."""
    if not isinstance(node, Sequence):
        return node
    mapping = Mapping(node.place)
    for item in node.items:
        mapping.entries |= item.entries if isinstance(item, Mapping) else {}
    for item in list_texts(node):
        name, equals, value = item.text.partition("=")
        key = Scalar(name.strip(), plain=False, place=item.place)
        held = Scalar(value, plain=not equals, place=item.place)
        mapping.entries[key.text] = Entry(key, held)
    return mapping


def child(node: Node | None, key: str) -> Node | None:
    entry = node.entries.get(key) if isinstance(node, Mapping) else None
    return entry.value if entry else None


def get_text(node: Node | None, key: str) -> str:
    found = child(node, key)
    return found.text if isinstance(found, Scalar) else ""
