"""Reads the sections of a config, and gathers every fault on the way.

A reader asks a :class:`Section` for each key it knows. What it asked for is what the section
may hold, so a key that nobody asked for is unknown, and the names asked for are what can be
suggested instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from nvoi.config import nodes
from nvoi.config.fields import ENV_NAME, RejectedError, parse_secret, parse_text
from nvoi.config.interpolation import interpolate
from nvoi.config.nodes import NAME, Entry, Node, Place, Scalar, join_path
from nvoi.errors import Fault

T = TypeVar("T")
D = TypeVar("D")
Kind = Literal["text", "integer", "boolean", "list", "section"]

OWN_PREFIX = "x-"


@dataclass
class Reading:
    """One pass over a document.

    Args:
        environ: what variables are read from; None leaves all strings as they are.
        faults: what was found to be wrong so far.
        places: where each path that was given stands.
        kinds: what each path that was asked for holds.
    """

    environ: Mapping[str, str] | None
    faults: list[Fault] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def report(self, path: str, message: str, place: Place | None = None) -> None:
        """Adds a fault, at ``place`` or where the path, or else its nearest parent, stands."""
        place = place or self.find_place(path)
        self.faults.append(Fault(place.line, place.column, path, message))

    def find_place(self, path: str) -> Place:
        """Where ``path`` stands, or the nearest section above it that is there."""
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return self.places.get(path, Place(1, 1))

    def is_faulty(self, path: str) -> bool:
        """Whether a fault was found at ``path`` itself."""
        return any(fault.path == path for fault in self.faults)

    def report_unknown_keys(self) -> None:
        """Adds a fault for each key that no reader asked for."""
        for section in self.sections:
            section.report_unknown_keys()


class Section:
    """A mapping of the document, or its absence: then every key is absent too."""

    def __init__(self, reading: Reading, path: str, node: Node | None) -> None:
        self.reading = reading
        self.path = path
        self.name = path.rpartition(".")[2]
        self.entries: Mapping[str, Entry] = {}
        self.asked: dict[str, None] = {}
        self.given = isinstance(node, nodes.Mapping)
        self.broken = not (self.given or node is None or is_null(node))
        if isinstance(node, nodes.Mapping):
            self.entries = node.entries
        elif self.broken:
            reading.report(path, "must be a section of keys and values")
        reading.sections.append(self)

    def optional(self, key: str, parse: Callable[[str], T], *, raw: bool = False) -> T | None:
        """The value of ``key``; None where it is absent, null, blank or faulty.

        ``raw`` is for text that a shell reads, where variables are the shell's own.
        """
        path = join_path(self.path, key)
        self.reading.kinds.setdefault(path, "text")
        node = self.ask(key)
        if node is None:
            return None
        try:
            text = self.resolve(node, raw=raw, secret=parse is parse_secret)
            value = parse(text) if text.strip() else None
        except RejectedError as rejected:
            self.reading.report(path, str(rejected), node.place)
            return None
        if isinstance(value, bool):
            self.reading.kinds[path] = "boolean"
        elif isinstance(value, int):
            self.reading.kinds[path] = "integer"
        return value

    def default(self, key: str, parse: Callable[[str], T], default: T) -> T:
        """As :meth:`optional`, with ``default`` in place of None."""
        value = self.optional(key, parse)
        return default if value is None else value

    def required(self, key: str, parse: Callable[[str], T], fallback: T) -> T:
        """The value of ``key``, with a fault and ``fallback`` where there is none."""
        value = self.optional(key, parse)
        if value is not None:
            return value
        path = join_path(self.path, key)
        if not self.broken and not self.reading.is_faulty(path):
            self.reading.report(path, "is required")
        return fallback

    def texts(self, key: str, *, secret: bool = False) -> dict[str, str]:
        """A mapping of environment names to strings, which may be empty but not null."""
        section = self.section(key)
        section.asked.update(dict.fromkeys(section.entries))
        texts: dict[str, str] = {}
        for name, entry in section.entries.items():
            # What is no name may be a secret in the wrong place.
            named = ENV_NAME.fullmatch(name)
            path = join_path(section.path, name if named else "")
            self.reading.places[path] = entry.key.place
            self.reading.kinds[path] = "text"
            if not named:
                message = "a name must be letters, digits and `_`, and begin with no digit"
                self.reading.report(path, message, entry.key.place)
            elif is_null(entry.value):
                self.reading.report(path, 'has no value; write "" for an empty one')
            else:
                try:
                    texts[name] = self.resolve(entry.value, secret=secret)
                except RejectedError as rejected:
                    self.reading.report(path, str(rejected), entry.value.place)
        return texts

    def sequence(self, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """The values of a list; empty where it is absent, null or no list."""
        path = join_path(self.path, key)
        self.reading.kinds[path] = "list"
        node = self.ask(key)
        if node is None:
            return ()
        if not isinstance(node, nodes.Sequence):
            self.reading.report(path, "must be a list, such as [one, two]", node.place)
            return ()
        values = []
        for index, item in enumerate(node.items):
            self.reading.places[f"{path}.{index}"] = item.place
            try:
                values.append(parse(self.resolve(item)))
            except RejectedError as rejected:
                self.reading.report(f"{path}.{index}", str(rejected), item.place)
        return tuple(dict.fromkeys(values))

    def section(self, key: str) -> Section:
        """The section under ``key``; one that is absent has no keys."""
        path = join_path(self.path, key)
        self.reading.kinds[path] = "section"
        self.ask(key)
        entry = self.entries.get(key)
        return Section(self.reading, path, entry.value if entry else None)

    def children(self, key: str, pattern: re.Pattern[str], allowed: str) -> dict[str, Section]:
        """The sections under ``key``, by names that the user chose."""
        parent = self.section(key)
        children = {}
        for name, entry in parent.entries.items():
            child = parent.section(name)
            if not pattern.fullmatch(name):
                message = f"a name must be {allowed}"
                self.reading.report(child.path, message, entry.key.place)
            children[name] = child
        return children

    def mounts(self, key: str) -> dict[str, str]:
        """A mapping of volumes' names to paths."""
        section = self.section(key)
        found = {name: section.required(name, parse_text, "") for name in section.entries}
        return {name: path for name, path in found.items() if path}

    def ask(self, key: str) -> Node | None:
        """Notes that ``key`` is known; its value where it has one."""
        self.asked[key] = None
        entry = self.entries.get(key)
        if entry is None:
            return None
        self.reading.places[join_path(self.path, key)] = entry.key.place
        return None if is_null(entry.value) else entry.value

    def resolve(self, node: Node, *, raw: bool = False, secret: bool = False) -> str:
        """The text of a scalar, its variables replaced unless it is for a shell.

        Raises:
            RejectedError: it is no scalar, holds what no environment can, or names a variable
                that is not set.
        """
        if not isinstance(node, Scalar):
            raise RejectedError("must be a single value, not a section or a list")
        text = node.text
        if not raw and self.reading.environ is not None:
            text = interpolate(text, self.reading.environ, secret=secret)
        if "\0" in text or not is_unicode(text):
            raise RejectedError("must be text that UTF-8 can carry, without NUL")
        return text

    def report_unknown_keys(self) -> None:
        """Adds a fault for each key here that no reader asked for."""
        for key, entry in self.entries.items():
            if key in self.asked or key.startswith(OWN_PREFIX):
                continue
            suggestion = suggest(key, self.asked)
            # A key without a value that is like no other may be a secret in the wrong place.
            shown = "" if is_null(entry.value) and "mean" not in suggestion else key
            path = join_path(self.path, shown)
            self.reading.report(path, f"unknown key{suggestion}", entry.key.place)


def is_null(node: Node) -> bool:
    """Whether a value was given as null."""
    return isinstance(node, Scalar) and node.is_null


def is_unicode(text: str) -> bool:
    """Whether ``text`` is free of lone surrogates, which no UTF-8 can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def suggest(word: str, known: Collection[str]) -> str:
    """``; did you mean X?``, or the known words where none is near, or nothing."""
    known = [name for name in known if NAME.fullmatch(name)]
    nearest = difflib.get_close_matches(word.lower(), known, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known here: {', '.join(known)}" if known else "; none is known here"
