"""A YAML document as a tree of nodes that know their places.

Scalars stay the text that was written, since whoever reads a value knows best what it
should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
NAME = re.compile(r"[A-Za-z0-9_@*][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Place:
    """A position in the text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Scalar:
    """A value as it was written; ``plain`` where neither quotes nor a tag made it a string."""

    text: str
    plain: bool
    place: Place
    size: int = 1

    @property
    def is_null(self) -> bool:
        """Whether YAML takes the value for null."""
        return self.plain and self.text in NULLS


@dataclass
class Entry:
    """A key of a mapping and its value."""

    key: Scalar
    value: Node


@dataclass
class Mapping:
    """Keys and values in the order of the text; merged ones follow. ``size`` counts nodes."""

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1


@dataclass
class Sequence:
    """Values in the order of the text. ``size`` counts nodes."""

    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 1


Node = Scalar | Mapping | Sequence


def join_path(path: str, key: str) -> str:
    """``path.key``; a key that is no name might be a misplaced value, and shows as ``?``."""
    shown = key if NAME.fullmatch(key) else "?"
    return f"{path}.{shown}" if path else shown


def find_child(node: Node | None, key: str) -> Node | None:
    """What ``node`` holds under ``key``, if anything."""
    if isinstance(node, Mapping):
        entry = node.entries.get(key)
        return entry.value if entry else None
    if isinstance(node, Sequence) and key.isascii() and key.isdigit():
        return node.items[int(key)] if int(key) < len(node.items) else None
    return None


def find_paths(node: Node, path: str) -> Iterator[str]:
    """Every path below ``node``."""
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            child = join_path(path, key)
            yield child
            yield from find_paths(entry.value, child)


def find_entries(node: Node) -> Iterator[Entry]:
    """Every key of the tree and its value, in the order of the text."""
    if isinstance(node, Mapping):
        for entry in node.entries.values():
            yield entry
            yield from find_entries(entry.value)


def to_data(node: Node) -> Any:
    """``node`` as dicts, lists and texts; null is empty text."""
    if isinstance(node, Mapping):
        return {key: to_data(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    return "" if node.is_null else node.text
