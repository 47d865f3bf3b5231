"""``compose.yaml``: its files put together into one tree, as ``docker compose`` reads them.

Sources: the Compose Specification ("Interpolation" too), and Docker's manual on merging, extending
and including.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from nvoi.config.nodes import Entry, Mapping, Node, Position, Scalar, Sequence, find_child
from nvoi.errors import ConfigError, Fault
from nvoi.onboarding.proposals.compose_services import build_answers
from nvoi.onboarding.proposals.compose_values import Stack, join, pair
from nvoi.onboarding.proposals.proposal import Proposal, Reading, build_proposal
from nvoi.onboarding.proposals.tree import (
    Note,
    Stanza,
    find_node,
    find_text,
    list_entries,
    list_items,
    list_texts,
    read_tree,
)
from nvoi.onboarding.sources import MOST_SERVICES, check_count

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
#: Lists that replace each other; others are put together.
REPLACED = frozenset({"command", "entrypoint", "test"})
#: Where both forms are met, pairs and mappings.
PAIRS = frozenset({"environment", "labels", "args", "extra_hosts", "sysctls", "annotations"})
# So many files are read of one app at most: one might include itself.
MOST_FILES = 30
#: `$$`, `$NAME`, `${NAME` with its operator, another bracket, and one that closes.
PIECE = re.compile(
    r"(?P<dollar>\$\$)|\$(?P<name>[A-Za-z_]\w*)"
    r"|\$\{(?P<braced>[A-Za-z_]\w*)(?P<operator>:?[-?+])?|\$?\{|(?P<end>\})"
)

Tree = TypeVar("Tree", Mapping, Node)
#: The value of a variable, or None where it has none.
Find = Callable[[str], str | None]
#: What stands for a variable that has none, and needs one.
Want = Callable[[str], str]


@dataclass
class Files:
    reading: Reading
    seen: list[str] = field(default_factory=list)
    trees: dict[str, Mapping] = field(default_factory=dict)

    def read(self, name: str) -> Mapping:
        self.seen.append(name)
        if len(self.seen) > MOST_FILES:
            raise ConfigError(name, [Fault(1, 1, "", "too many files include each other")])
        text = self.reading.read_text(name)
        if not text.strip():
            raise ConfigError(name or ".", [Fault(0, 0, "", "is missing or empty")])
        self.trees[name] = self.expand(read_tree(text, name, self.reading.notes), "")
        return self.trees[name]

    def expand(self, node: Tree, path: str) -> Tree:
        """``node`` with what stands for the variables in its texts."""
        if isinstance(node, Mapping):
            entries = {
                key: Entry(one.key, self.expand(one.value, f"{path}.{key}".lstrip(".")))
                for key, one in node.entries.items()
            }
            return replace(node, entries=entries)
        if isinstance(node, Sequence):
            return replace(node, items=[self.expand(item, path) for item in node.items])
        if "$" not in node.text:
            return node
        text = interpolate(
            node.text,
            lambda name: self.reading.find_value(name, node.place),
            lambda name: self.reading.get_value_or_mark(name, node.place, path),
        )
        return replace(node, text=text, plain=node.plain and text == node.text)


def read_compose(reading: Reading, file: str) -> Proposal:
    """The app that a Compose file describes, with what overrides it where it has a usual name."""
    folder = posixpath.dirname(file)
    files = Files(reading)
    root = include(files, files.read(file), folder)
    for name in find_overrides(reading, file):
        root = merge(root, include(files, files.read(name), folder))
        place = Position(0, 0, name)
        reading.notes.append(Note(place, "", f"is merged over {file}, as docker compose does"))
    services = list_entries(find_child(root, "services"))
    if not services:
        raise ConfigError(file, [Fault(0, 0, "services", "names no service")])
    check_count(file, len(services), MOST_SERVICES, "services")
    stack = Stack(
        reading,
        folder,
        Stanza(reading.notes, "", root),
        {name: extend(files, root, name, folder) for name, _ in services},
    )
    return build_proposal(reading, file, build_answers(stack), stack.variables)


def find_overrides(reading: Reading, file: str) -> list[str]:
    stem = posixpath.splitext(file)[0]
    if posixpath.basename(file) not in NAMES:
        return []
    names = (f"{stem}.override{suffix}" for suffix in (".yaml", ".yml"))
    return [name for name in names if reading.read_text(name)][:1]


def include(files: Files, root: Mapping, folder: str) -> Mapping:
    """``root`` over what it includes."""
    entry = root.entries.pop("include", None)
    whole: Mapping | None = None
    for item in list_items(entry.value if entry else None):
        for path in list_texts(find_child(item, "path") if isinstance(item, Mapping) else item):
            name = join(folder, path.text)
            other = include(files, files.read(name), posixpath.dirname(name))
            whole = other if whole is None else merge(whole, other)
    return root if whole is None else merge(whole, root)


def extend(files: Files, root: Mapping, name: str, folder: str, depth: int = 0) -> Mapping:
    """A service over the one that it extends, of this file or another."""
    service = find_node(root, "services", name)
    if not isinstance(service, Mapping):
        fault = Fault(0, 0, f"services.{name}", "is no mapping")
        raise ConfigError(files.seen[0], [fault])
    extends = find_child(service, "extends")
    if extends is None:
        return service
    other = find_text(extends) or find_text(extends, "service")
    file = find_text(extends, "file")
    if depth > MOST_FILES or not other or (other == name and not file):
        fault = Fault(extends.place.line, 1, f"services.{name}.extends", "extends itself")
        raise ConfigError(files.seen[0], [fault])
    base_root = root
    if file:
        file = join(folder, file)
        # Many services may extend those of one file.
        base_root, folder = files.trees.get(file) or files.read(file), posixpath.dirname(file)
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
    return find_text(volume, "target")


def interpolate(text: str, find: Find, want: Want) -> str:
    """``text`` with values in the place of ``$NAME``, ``${NAME:-default}`` and so on.

    However deep its brackets are, no piece of it is looked at twice.
    """
    # A match stands for a variable that has no value.
    pieces: list[str | re.Match[str]] = []
    opened: list[tuple[int, re.Match[str]]] = []
    position = 0
    for match in PIECE.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        if match["dollar"]:
            pieces.append("$")
        elif match["name"]:
            value = find(match["name"])
            pieces.append(match if value is None else value)
        elif not match["end"]:
            opened.append((len(pieces), match))
            # What is not closed is no variable.
            pieces.append(match[0])
        elif opened:
            expand(pieces, *opened.pop(), find)
        else:
            pieces.append("}")
    whole = [one if isinstance(one, str) else want(one["name"] or one["braced"]) for one in pieces]
    return "".join([*whole, text[position:]])


def expand(
    pieces: list[str | re.Match[str]], start: int, opening: re.Match[str], find: Find
) -> None:
    """Put what ``${NAME word}`` stands for into its place, which begins at ``start``.

    An operator with a colon takes an empty value for none.
    """
    name, operator = opening["braced"], opening["operator"] or ""
    if name is None:
        pieces.append("}")
        return
    value = find(name)
    if value == "" and operator.startswith(":"):
        value = None
    if operator.endswith("-" if value is None else "+"):
        # The word is there already.
        pieces[start] = ""
    elif operator.endswith("+"):
        del pieces[start:]
    else:
        pieces[start:] = [opening if value is None else value]
