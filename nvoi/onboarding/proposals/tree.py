"""Files of other tools as one tree, YAML, TOML and JSON alike; each part knows its file and line.

:class:`Stanza` reads a mapping key by key. What nobody took of it is told at the end: nothing
is dropped in silence.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvoi.config.nodes import (
    MAX_NODES,
    Entry,
    Mapping,
    Node,
    Position,
    Scalar,
    Sequence,
    compose,
    find_child,
    is_null,
    join_path,
)
from nvoi.errors import ConfigError, Fault
from nvoi.onboarding.sources import REPLACEMENT, load_toml

NOTHING_ALIKE = "nvoi has nothing like it"
NO_NAME = "no service can have this name, or another has it already"
#: What several tools have other words for.
STARTS, ENDS = "a service has 60 s to start", "an app has 30 s to end"
RESTARTS, LOGS = "nvoi starts what ends again", "nvoi keeps the last lines of each service itself"
ONE_PORT = "a service has one port here, and it is the first"
NO_ARGUMENTS = "nvoi gives a build no arguments: defaults belong into the Dockerfile"
LAST_STAGE = "nvoi builds the last stage of a Dockerfile"
#: What may be a key, without and with quotes: something that belongs to one follows.
KEY = re.compile(r"""(?<![\w-])(?=(?:"([^"\n]*)"|'([^'\n]*)'|([\w-]+))\s*[:=.\]])""")
NAMES: AnyMapping[type[Node], str] = {Scalar: "text", Sequence: "list", Mapping: "mapping"}


@dataclass(frozen=True)
class Note:
    """Something of a file that is not carried over, or not as it stands there, and why."""

    place: Position
    path: str
    message: str

    @property
    def file_and_line(self) -> tuple[str, int]:
        """Its file and line, to sort by."""
        return self.place.file, self.place.line

    def __str__(self) -> str:
        file = self.place.file
        where = f"{file}:{self.place.line}: " if self.place.line else f"{file}: " if file else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


def list_unreadable(text: str, file: str) -> list[Note]:
    """A note on the first bytes of a file that are no text, if there are any."""
    if REPLACEMENT not in text:
        return []
    place = Position(text.count("\n", 0, text.index(REPLACEMENT)) + 1, 1, file)
    return [Note(place, "", f"is not UTF-8: what cannot be read is {REPLACEMENT}")]


def read_tree(text: str, file: str, notes: list[Note]) -> Mapping:
    """The tree of ``text``, of the kind that the name of its file says.

    Args:
        file: its name, as notes and errors have it.
        notes: gets what of the text had to be passed over.

    Raises:
        ConfigError: it is not of its kind, or no mapping.
    """
    suffix = Path(file).suffix.lower()
    if suffix in {".toml", ".json"}:
        root = load_tree(text, file, suffix)
    else:
        try:
            root, faults = compose(text, file)
        except ConfigError as error:
            # What it says of nvoi's own config does not hold here.
            raise ConfigError(file, [clean_fault(fault) for fault in error.faults]) from None
        notes += [Note(Position(f.line, f.column, file), f.path, f.message) for f in faults]
    if not isinstance(root, Mapping):
        raise ConfigError(file, [Fault(1, 1, "", "a mapping is needed")])
    return root


def clean_fault(fault: Fault) -> Fault:
    message = re.split(r"; a (?:config|document) begins", fault.message)[0]
    return Fault(fault.line, fault.column, fault.path, message)


def load_tree(text: str, file: str, suffix: str) -> Node:
    try:
        data = load_toml(text) if suffix == ".toml" else load_json(text)
        return build_node(data, Locator(text, file), Position(1, 1, file))
    except json.JSONDecodeError as error:
        fault = Fault(error.lineno, error.colno, "", f"not JSON: {error.msg.lower()}")
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+), column (\d+)", str(error))
        line, column = (int(found[1]), int(found[2])) if found else (1, 1)
        fault = Fault(line, column, "", "not TOML")
    except OverflowError:
        fault = Fault(1, 1, "", f"too many values: {MAX_NODES:,} are allowed")
    except ValueError:
        # int() refuses numbers of thousands of digits.
        fault = Fault(1, 1, "", "has a number that is too long, or half of a character")
    except RecursionError:
        fault = Fault(1, 1, "", "is nested too deep")
    raise ConfigError(file, [fault])


def list_parse_notes(text: str, file: str) -> list[Note]:
    """A note on why a TOML or JSON file cannot be read; none where it can, or is empty."""
    try:
        if text.strip():
            load_tree(text, file, Path(file).suffix)
    except ConfigError as error:
        return [Note(Position(f.line, f.column, file), "", f.message) for f in error.faults]
    return []


def load_json(text: str) -> Any:
    data = json.loads(text)
    # Escapes may stand for halves of characters, which no file can hold.
    json.dumps(data, ensure_ascii=False).encode()
    return data


class Lines:
    """Where the lines of a text begin."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._begins = [0, *(match.end() for match in re.finditer("\n", text))]

    def find_place(self, position: int) -> Position:
        line = bisect_right(self._begins, position)
        return Position(line, position - self._begins[line - 1] + 1, self._file)


class Locator:
    """Finds keys in the text that data was read from, in their order there."""

    def __init__(self, text: str, file: str) -> None:
        self._lines = Lines(text, file)
        self._positions: dict[str, list[int]] = {}
        self._position = 0
        #: How many values were made nodes of.
        self.count = 0
        for match in KEY.finditer(text):
            self._positions.setdefault(next(filter(None, match.groups()), ""), []).append(
                match.start()
            )

    def find(self, key: str) -> Position:
        positions = self._positions.get(key, [0])
        index = bisect_left(positions, self._position)
        self._position = positions[index if index < len(positions) else 0]
        return self._lines.find_place(self._position)


def build_node(data: Any, locator: Locator, place: Position) -> Node:
    """``data`` as nodes; numbers and truths as they are written in YAML.

    Raises:
        OverflowError: there are more than a YAML file may have.
    """
    locator.count += 1
    if locator.count > MAX_NODES:
        raise OverflowError
    if isinstance(data, dict):
        mapping = Mapping(place)
        for key, value in data.items():
            found = locator.find(key)
            entry = Entry(Scalar(key, plain=False, place=found), build_node(value, locator, found))
            mapping.entries[key] = entry
        return mapping
    if isinstance(data, list):
        return Sequence(place, [build_node(item, locator, place) for item in data])
    if data is None:
        return Scalar("", plain=True, place=place)
    if isinstance(data, str):
        return Scalar(data, plain=False, place=place)
    return Scalar(
        str(data).lower() if isinstance(data, bool) else str(data), plain=True, place=place
    )


class Stanza:
    """A mapping of which each key is taken once; one that is no mapping has none.

    Args:
        notes: gets a note for each key that is told of.
        path: where it is in the file.
        node: the mapping; a list of mappings is read as its first one.
    """

    def __init__(self, notes: list[Note], path: str, node: Node | None) -> None:
        self.notes = notes
        self.path = path
        self.node = node
        self._entries: dict[str, Entry] = dict(node.entries) if isinstance(node, Mapping) else {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def take(self, key: str, *kinds: type[Node]) -> Node | None:
        """What is at ``key``; None where there is nothing, or nothing of these ``kinds``."""
        found = self._entries.get(key)
        if found and kinds and not is_null(found.value) and not isinstance(found.value, kinds):
            self.tell(key, f"is no {' and no '.join(NAMES[kind] for kind in kinds)}")
        entry = self._entries.pop(key, None)
        return None if entry is None or is_null(entry.value) else entry.value

    def text(self, key: str) -> str:
        """The text at ``key``, "" where there is none; anything else is told of."""
        return find_text(self.take(key, Scalar)).strip()

    def items(self, key: str) -> list[Node]:
        """The items of the list at ``key``; anything else is told of."""
        return list_items(self.take(key, Sequence))

    def texts(self, key: str) -> list[Scalar]:
        """The texts of the list at ``key``, or the only one."""
        return list_texts(self.take(key))

    def stanza(self, key: str) -> Stanza:
        return Stanza(self.notes, join_path(self.path, key), self.take(key, Mapping))

    def stanzas(self, key: str) -> list[Stanza]:
        """The mappings of a list, or the only one."""
        path = join_path(self.path, key)
        return [Stanza(self.notes, path, item) for item in list_items(self.take(key))]

    def list_keys(self) -> list[str]:
        """What was not taken yet."""
        return list(self._entries)

    def tell(self, key: str, message: str) -> None:
        """Note what becomes of ``key``, if it is there; it is taken by that."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.notes.append(Note(entry.key.place, join_path(self.path, key), message))

    def tell_all(self, reasons: AnyMapping[str, str]) -> None:
        """Note every key that was not taken, with its reason or that nvoi has nothing like it.

        Keys that begin with ``x-`` are their owner's, and one whose reason is empty says nothing
        that is not so anyway.
        """
        for key, entry in list(self._entries.items()):
            reason = reasons.get(key, NOTHING_ALIKE)
            if key.startswith("x-") or not reason or is_null(entry.value):
                del self._entries[key]
            else:
                self.tell(key, reason)

    def add_note(self, node: Node | None, message: str) -> None:
        """Note something of the whole stanza, at ``node`` or where the stanza begins."""
        place = (node or self.node or Scalar("", plain=True, place=Position(0, 0))).place
        self.notes.append(Note(place, self.path, message))


def find_node(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        node = find_child(node, key)
    return node


def find_text(node: Node | None, *keys: str) -> str:
    """The text at a path of keys; "" where there is none."""
    found = find_node(node, *keys)
    return found.text if isinstance(found, Scalar) and not found.is_null else ""


def list_items(node: Node | None) -> list[Node]:
    """The items of a list, or the only one."""
    if node is None:
        return []
    return node.items if isinstance(node, Sequence) else [node]


def list_texts(node: Node | None) -> list[Scalar]:
    """The texts of a list, or the only one."""
    return [item for item in list_items(node) if isinstance(item, Scalar) and not item.is_null]


def list_entries(node: Node | None) -> list[tuple[str, Node]]:
    entries = node.entries if isinstance(node, Mapping) else {}
    return [(name, entry.value) for name, entry in entries.items()]
