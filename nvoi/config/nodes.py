"""A YAML document as a tree of nodes that know their places.

Scalars stay the text that was written, since whoever reads a value knows best what it should be.
Only what a config needs of YAML is let through: one document of mappings, sequences and
scalars, with anchors, aliases and merge keys. Nothing of the text but names of keys gets into
a fault: any other word may be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from nvoi.errors import ConfigError, Fault

# A config that people write has some hundreds of nodes, eight levels deep. The limits are
# counted with aliases expanded, though they never are: a few lines can stand for billions.
MAX_NODES = 10_000
MAX_DEPTH = 50

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
NAME = re.compile(r"[A-Za-z0-9_@*][A-Za-z0-9_.-]{0,62}")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

YAML_TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = frozenset(f"{YAML_TAG}{name}" for name in ("null", "bool", "int", "float"))
SCALAR_TAGS = PLAIN_TAGS | {"!", f"{YAML_TAG}str"}
COLLECTION_TAGS = frozenset({"!", f"{YAML_TAG}map", f"{YAML_TAG}seq"})

# The scanner meets some broken texts with an error of Python's own.
BARE_ERRORS = (
    YAMLError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

# What the parser calls a problem, by its first words, and what a reader can do about it.
PROBLEMS = (
    ("found character '\\t'", "a tab cannot indent here: use spaces"),
    ("mapping values are not allowed", "a second `: ` in one value: put the value in quotes"),
    ("could not find expected ':'", "a key with no `:` after it, or a line indented too little"),
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("found unexpected document separator", "a quote is opened and never closed"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or", "a `,` or the closing bracket is missing"),
    ("found unknown escape", "an unknown `\\` escape: use single quotes, or `\\\\`"),
    ("expected the node content", "a value is missing here"),
    ("", "this cannot be read; text with special characters needs quotes"),
)
EMPTY = "the document is empty; a config begins with `application:`"


@dataclass(frozen=True)
class Position:
    """Where something stands in a file; line and column count from 1."""

    line: int
    column: int
    file: str = ""


@dataclass(frozen=True)
class Scalar:
    """A value as it was written; ``plain`` where neither quotes nor a tag made it a string."""

    text: str
    plain: bool
    place: Position
    size: int = 1

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in NULLS


@dataclass
class Entry:
    key: Scalar
    value: Node


@dataclass
class Mapping:
    """Keys and values in the order of the text; merged ones follow. ``size`` counts nodes."""

    place: Position
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1


@dataclass
class Sequence:
    """Values in the order of the text. ``size`` counts nodes."""

    place: Position
    items: list[Node] = field(default_factory=list)
    size: int = 1


Node = Scalar | Mapping | Sequence


def join_path(path: str, key: str) -> str:
    """``path.key``; a key that is no name might be a misplaced value, and shows as ``?``."""
    shown = key if NAME.fullmatch(key) else "?"
    return f"{path}.{shown}" if path else shown


def find_child(node: Node | None, key: str) -> Node | None:
    if isinstance(node, Mapping):
        entry = node.entries.get(key)
        return entry.value if entry else None
    if isinstance(node, Sequence) and key.isascii() and key.isdigit():
        return node.items[int(key)] if int(key) < len(node.items) else None
    return None


def to_data(node: Node) -> Any:
    """``node`` as dicts, lists and texts; null is empty text."""
    if isinstance(node, Mapping):
        return {key: to_data(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    return "" if node.is_null else node.text


def suggest(word: str, known: Collection[str]) -> str:
    """``; did you mean X?``, or the known words where none is near, or nothing."""
    known = [name for name in known if NAME.fullmatch(name)]
    nearest = difflib.get_close_matches(word.lower(), known, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known here: {', '.join(known)}" if known else "; none is known here"


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


def decode(content: bytes, filename: str) -> str:
    """The text of a config file.

    Raises:
        ConfigError: it is not UTF-8; the fault names the first such place.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        fault = Fault(line, column, "", "not UTF-8: save the file in that encoding")
    raise ConfigError(filename, [fault])


def compose(text: str, filename: str) -> tuple[Mapping, tuple[Fault, ...]]:
    """The tree of a YAML document, and the faults that still left one.

    Raises:
        ConfigError: the text is no single YAML mapping within the limits.
    """
    composer = Composer(text, filename)
    return composer.compose(), tuple(composer.faults)


class Composer:
    """Turns the parser's events into nodes. One use.

    It stands in for the YAML library's own composer because that one calls itself without a
    limit and knows nothing of an expanded size, and because positions of aliases and of keys
    given twice are lost in its results; events are made as they are asked for, so a limit is
    met before the rest of the text is read.
    """

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node] = {}
        self.open: set[int] = set()
        if found := UNPRINTABLE.search(text):
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            self.stop(Position(line, column), "a control character; text and line ends are allowed")
        self.events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)

    def compose(self) -> Mapping:
        self.next_event()
        if isinstance(self.next_event(), StreamEndEvent):
            self.stop(Position(1, 1), EMPTY)
        root = self.compose_node(self.next_event(), "", 1)
        self.next_event()
        following = self.next_event()
        if isinstance(following, DocumentStartEvent):
            self.stop(
                self.find_place(following.start_mark), "a second document begins; one is allowed"
            )
        if isinstance(root, Scalar) and root.is_null:
            self.stop(Position(1, 1), EMPTY)
        if not isinstance(root, Mapping):
            self.stop(root.place, "a mapping is needed; a config begins with `application:`")
        return root

    def compose_node(self, event: Any, path: str, depth: int) -> Node:
        place = self.find_place(event.start_mark)
        if depth > MAX_DEPTH:
            self.stop(place, f"nested too deep: {MAX_DEPTH} levels are allowed")
        if isinstance(event, AliasEvent):
            return self.resolve_alias(event, place, path)
        allowed = SCALAR_TAGS if isinstance(event, ScalarEvent) else COLLECTION_TAGS
        tag = None if event.ctag is None else str(event.ctag)
        if tag is not None and tag not in allowed:
            self.report(place, path, "a tag (`!`) is not allowed; text that begins so needs quotes")
        if isinstance(event, ScalarEvent):
            quoted = event.style in {"'", '"', "|", ">"}
            plain = tag in PLAIN_TAGS or (tag is None and not quoted)
            node: Node = self.anchor(event, Scalar(event.value, plain, place))
        elif isinstance(event, MappingStartEvent):
            node = self.fill_mapping(self.anchor(event, Mapping(place)), path, depth)
        else:
            node = self.fill_sequence(self.anchor(event, Sequence(place)), path, depth)
        self.open.discard(id(node))
        return node

    def anchor(self, event: Any, node: Any) -> Any:
        """``node``, known by its anchor; it is open until it is filled."""
        self.open.add(id(node))
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def resolve_alias(self, event: Any, place: Position, path: str) -> Node:
        """The node that an alias stands for: the same object, not a copy."""
        node = self.anchors.get(event.anchor)
        if node is None:
            self.stop(place, "an alias (`*`) without its anchor (`&`); text needs quotes", path)
        if id(node) in self.open:
            self.stop(place, "an alias inside what it stands for", path)
        return node

    def fill_mapping(self, node: Mapping, path: str, depth: int) -> Mapping:
        """Keys of its own win over merged ones, the first of two equal ones stays."""
        merges: list[Entry] = []
        while not isinstance(event := self.next_event(), MappingEndEvent):
            key = self.compose_node(event, path, depth + 1)
            child = join_path(path, key.text) if isinstance(key, Scalar) else path
            value = self.compose_node(self.next_event(), child, depth + 1)
            self.grow(node, key.size + value.size, path)
            if not isinstance(key, Scalar):
                self.report(key.place, path, "a key must be a name")
            elif key.plain and key.text == "<<":
                merges.append(Entry(key, value))
            elif key.text in node.entries:
                first = node.entries[key.text].key.place.line
                self.report(key.place, child, f"is given twice, first on line {first}")
            else:
                node.entries[key.text] = Entry(key, at_key(key, value))
        for merge in merges:
            self.merge(node, merge, path)
        return node

    def fill_sequence(self, node: Sequence, path: str, depth: int) -> Sequence:
        while not isinstance(event := self.next_event(), SequenceEndEvent):
            item = self.compose_node(event, join_path(path, str(len(node.items))), depth + 1)
            self.grow(node, item.size, path)
            node.items.append(item)
        return node

    def grow(self, node: Mapping | Sequence, size: int, path: str) -> None:
        """Counts what ``node`` gained, aliases as often as they stand there."""
        node.size += size
        if node.size > MAX_NODES:
            self.stop(node.place, f"too many values: {MAX_NODES:,} are allowed", path)

    def merge(self, node: Mapping, merge: Entry, path: str) -> None:
        sources = merge.value.items if isinstance(merge.value, Sequence) else [merge.value]
        for source in sources:
            if not isinstance(source, Mapping):
                self.report(merge.key.place, path, "`<<` merges mappings only")
                continue
            for key, entry in source.entries.items():
                node.entries.setdefault(key, entry)

    def next_event(self) -> Any:
        """The parser's next event, its errors turned into faults."""
        place, problem = Position(1, 1), ""
        try:
            return next(self.events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place, problem = self.find_place(mark) if mark else place, error.problem or ""
        except BARE_ERRORS:
            pass
        meaning = next(text for beginning, text in PROBLEMS if problem.startswith(beginning))
        return self.stop(place, f"not YAML: {meaning}")

    def find_place(self, mark: Any) -> Position:
        return Position(mark.line + 1, mark.column + 1, self.filename)

    def report(self, place: Position, path: str, message: str) -> None:
        self.faults.append(Fault(place.line, place.column, path, message))

    def stop(self, place: Position, message: str, path: str = "") -> NoReturn:
        self.report(place, path, message)
        # The library's error quotes the line it stopped at, which may hold a secret.
        raise ConfigError(self.filename, self.faults) from None


def at_key(key: Scalar, value: Node) -> Node:
    """``value``; an empty one has no text to point at, so it stands where its key does."""
    if isinstance(value, Scalar) and value.plain and not value.text:
        return Scalar("", plain=True, place=key.place)
    return value
