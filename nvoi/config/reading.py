"""Reads a document into the records of the schema, and gathers every fault on the way.

How a key is read is what its field's type says. The fields of a record are what its section may
hold, so another key is unknown, and their names are what can be suggested instead.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from nvoi.config import nodes
from nvoi.config.fields import Host, Name, RejectedError, Value
from nvoi.config.nodes import Entry, Node, Position, Scalar, is_null, join_path, suggest
from nvoi.config.schema import OWN_NAME, At, LocalProvider, OneOf, ServerGroup
from nvoi.errors import Fault
from nvoi.secret import Secret

Kind = Literal["text", "integer", "boolean", "list", "section"]

OWN_PREFIX = "x-"
VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<broken>\{))"
)


@dataclass
class Reading:
    """One pass over a document.

    Args:
        environ: what variables are read from; None leaves all strings as they are.
        places: where each path that was given stands.
        kinds: what each path that was asked for holds.
        emptied: what is to be said of paths whose variables are set and empty, and where.
    """

    environ: Mapping[str, str] | None
    faults: list[Fault] = field(default_factory=list)
    places: dict[str, Position] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    emptied: dict[str, tuple[str, Position]] = field(default_factory=dict)

    def report(self, path: str, message: str, place: Position | None = None) -> None:
        """Adds a fault, at ``place`` or where the path, or else its nearest parent, stands."""
        place = place or self.find_place(path)
        self.faults.append(Fault(place.line, place.column, path, message))

    def find_place(self, path: str) -> Position:
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return self.places.get(path, Position(1, 1))

    def report_missing(self, path: str, message: str = "is required", at: str = "") -> None:
        """Adds a fault, unless one says so of ``path`` already; ``at`` is where it shows."""
        if self.is_faulty(path):
            return
        if path in self.emptied:
            self.report(path, *self.emptied[path])
        else:
            self.report(at or path, message)

    def is_faulty(self, path: str, *, below: bool = False) -> bool:
        """Whether a fault was found at ``path`` itself, or at what begins as it does."""
        return any(
            fault.path.startswith(path) if below else fault.path == path for fault in self.faults
        )

    def report_unknown_keys(self) -> None:
        for section in self.sections:
            section.report_unknown_keys()


class Section:
    """A mapping of the document, or its absence: then every key is absent too.

    Attributes:
        name: its own key.
        given: whether it is there, and not null.
        broken: whether something else is in its place.
        asked: the keys that it may have, as far as they were read.
    """

    def __init__(self, reading: Reading, path: str, node: Node | None) -> None:
        self.reading = reading
        self.path = path
        self.name = path.rpartition(".")[2]
        self.entries: Mapping[str, Entry] = {}
        self.asked: dict[str, None] = {}
        self.children: dict[str, Section] = {}
        self.given = isinstance(node, nodes.Mapping)
        self.broken = not (self.given or node is None or is_null(node))
        if isinstance(node, nodes.Mapping):
            self.entries = node.entries
        elif self.broken:
            reading.report(path, "must be a section of keys and values")
        reading.sections.append(self)

    def section(self, key: str) -> Section:
        """The section under ``key``; one that is absent has no keys."""
        if key not in self.children:
            path = join_path(self.path, key)
            self.reading.kinds[path] = "section"
            self.ask(key)
            entry = self.entries.get(key)
            self.children[key] = Section(self.reading, path, entry.value if entry else None)
        return self.children[key]

    def read(self, key: str, type_: Any) -> Any:
        """What is under ``key``, as ``type_`` declares it; None where there is nothing of use."""
        bare, optional, markers = take_apart(type_)
        if get_origin(bare) is tuple:
            return self.read_list(key, get_args(bare)[0])
        if get_origin(bare) is Mapping:
            return self.read_mapping(key, *get_args(bare))
        if isinstance(bare, type) and dataclasses.is_dataclass(bare):
            section = self.section(key)
            return read_record(section, bare) if section.given or not optional else None
        (value,) = markers
        return self.read_value(key, value, is_secret=bare is Secret)

    def read_value(self, key: str, value: Value, *, is_secret: bool) -> Any:
        """The value of ``key``; None where it is absent, null, blank or faulty."""
        path = join_path(self.path, key)
        self.reading.kinds.setdefault(path, "text")
        node = self.ask(key)
        if node is None:
            if value.blank:
                self.reading.report(path, 'has no value; write "" for an empty one')
            return None
        empty = "" if value.for_shell else self.describe_empty(node, secret=is_secret)
        try:
            text = self.resolve(node, for_shell=value.for_shell, secret=is_secret)
            if empty and is_secret and value.blank:
                self.reading.report(path, f'{empty}; write "" for an empty value', node.place)
                return None
            found = parse(value, text, empty) if value.blank or text.strip() else None
        except RejectedError as rejected:
            self.reading.report(path, str(rejected), node.place)
            return None
        if found is None and empty:
            self.reading.emptied[path] = (empty, node.place)
        if isinstance(found, bool):
            self.reading.kinds[path] = "boolean"
        elif isinstance(found, int):
            self.reading.kinds[path] = "integer"
        return found

    def read_list(self, key: str, type_: Any) -> tuple[Any, ...]:
        """The values of a list, each once; empty where it is absent, null or no list."""
        path = join_path(self.path, key)
        self.reading.kinds[path] = "list"
        node = self.ask(key)
        if node is None:
            return ()
        if not isinstance(node, nodes.Sequence):
            self.reading.report(path, "must be a list, such as [one, two]", node.place)
            return ()
        _, _, (value,) = take_apart(type_)
        values: dict[Any, None] = {}
        for index, item in enumerate(node.items):
            empty = self.describe_empty(item, secret=False)
            try:
                found = parse(value, self.resolve(item), empty)
            except RejectedError as rejected:
                self.reading.report(f"{path}.{index}", str(rejected), item.place)
                continue
            # Whoever finds fault with it later counts those that are left.
            if found not in values:
                self.reading.places[f"{path}.{len(values)}"] = item.place
                values[found] = None
        return tuple(values)

    def read_mapping(self, key: str, name_type: Any, type_: Any) -> Mapping[str, Any]:
        """What is under ``key``, by names that the user chose."""
        section = self.section(key)
        rule = next(iter(take_apart(name_type)[2]), None)
        found = {}
        for name, entry in section.entries.items():
            if isinstance(rule, Name) and not rule.pattern.fullmatch(name):
                path = join_path(section.path, "" if rule.hidden else name)
                self.reading.report(path, f"a name must be {rule.rule}", entry.key.place)
                if rule.hidden:
                    section.asked[name] = None
                    continue
            value = section.read(name, type_)
            if value is None:
                section.require(name)
            else:
                found[name] = value
        return MappingProxyType(found)

    def require(self, key: str) -> None:
        """Reports that ``key`` is missing, unless a fault says so already."""
        if not self.broken:
            self.reading.report_missing(join_path(self.path, key))

    def ask(self, key: str) -> Node | None:
        """Notes that ``key`` is known; its value where it has one."""
        self.asked[key] = None
        entry = self.entries.get(key)
        if entry is None:
            return None
        self.reading.places[join_path(self.path, key)] = entry.key.place
        return None if is_null(entry.value) else entry.value

    def resolve(self, node: Node, *, for_shell: bool = False, secret: bool = False) -> str:
        """The text of a scalar, its variables replaced unless it is for a shell.

        Raises:
            RejectedError: it is no scalar, holds what no environment can, or names a variable
                that is not set.
        """
        if not isinstance(node, Scalar):
            raise RejectedError("must be a single value, not a section or a list")
        text = node.text
        if not for_shell and self.reading.environ is not None:
            text = interpolate(text, self.reading.environ, secret=secret)
        # A lone surrogate is what no UTF-8 can carry.
        if "\0" in text or re.search("[\ud800-\udfff]", text):
            raise RejectedError("must be text that UTF-8 can carry, without NUL")
        return text

    def describe_empty(self, node: Node, *, secret: bool) -> str:
        """Which variables of a scalar are set and empty; the empty text where none is."""
        environ = self.reading.environ
        if environ is None or not isinstance(node, Scalar):
            return ""
        names = [name for name in list_variables(node.text) if environ.get(name) == ""]
        return describe_variables(names, node.text, "empty", secret=secret)

    def report_unknown_keys(self) -> None:
        for key, entry in self.entries.items():
            if key in self.asked or key.startswith(OWN_PREFIX):
                continue
            suggestion = suggest(key, self.asked)
            # A key without a value that is like no other may be a secret in the wrong place.
            shown = "" if is_null(entry.value) and "mean" not in suggestion else key
            path = join_path(self.path, shown)
            self.reading.report(path, f"unknown key{suggestion}", entry.key.place)


def parse(value: Value, text: str, empty: str) -> Any:
    """What ``text`` stands for; where it is refused, ``empty`` may say why it is as it is."""
    if empty and not (value.blank or text.strip()):
        raise RejectedError(empty)
    try:
        return value.parse(text)
    except RejectedError as rejected:
        raise RejectedError("; ".join(filter(None, [str(rejected), empty]))) from None


def read_record(section: Section, record: type[Any]) -> Any:
    """A record from its section; what is required and missing is a fault, and blank."""
    if record is ServerGroup:
        return read_group(section)
    return record(**read_fields(section, record))


def read_fields(section: Section, record: Any) -> dict[str, Any]:
    """The fields of a record that have a value, or need one."""
    types = find_types(record)
    declared = dataclasses.fields(record)
    found = {each.name: read_field(section, each, types[each.name]) for each in declared}
    return {name: value for name, value in found.items() if value is not None}


def read_field(section: Section, declared: dataclasses.Field[Any], type_: Any) -> Any:
    """The value of one field; None where its default counts."""
    bare, _, markers = take_apart(type_)
    key = declared.name
    for marker in markers:
        if marker == OWN_NAME:
            return section.name
        if isinstance(marker, OneOf):
            return read_one_of(section, key, marker.kinds)
        if isinstance(marker, At):
            *parents, key = marker.path.split(".")
            for parent in parents:
                section = section.section(parent)
            type_ = get_args(type_)[0]
    value = section.read(key, type_)
    if value is None and is_required(declared):
        section.require(key)
        return bare()
    return value


def read_one_of(section: Section, key: str, kinds: Mapping[str, type[Any]]) -> Any:
    """The one record that is given; with a fault, where it is not one, the most lenient."""
    parent = section.section(key)
    children = {name: parent.section(name) for name in kinds}
    found = [
        read_record(child, kinds[name])
        for name, child in children.items()
        # Where no key is needed, its presence says it all: it may stand there without a value.
        if child.given or child.broken or (name in parent.entries and is_keyless(kinds[name]))
    ]
    if len(found) == 1:
        return found[0]
    if not parent.broken and not section.broken:
        section.reading.report(parent.path, f"exactly one of {', '.join(kinds)} is needed")
    return LocalProvider()


def read_group(section: Section) -> ServerGroup:
    """``servers.G``; hosts that are named count themselves."""
    host = section.read("host", Host | None)
    found = read_fields(section, ServerGroup)
    if host and found["hosts"]:
        section.reading.report(f"{section.path}.hosts", "either `host` or `hosts`, not both")
    hosts = found["hosts"] or ((host,) if host else ())
    return ServerGroup(**{"count": len(hosts) or 1, **found, "hosts": hosts})


@cache
def find_types(record: Any) -> Mapping[str, Any]:
    return get_type_hints(record, include_extras=True)


def is_required(declared: dataclasses.Field[Any]) -> bool:
    return declared.default is declared.default_factory is dataclasses.MISSING


def is_keyless(record: type[Any]) -> bool:
    return not any(map(is_required, dataclasses.fields(record)))


def take_apart(type_: Any) -> tuple[Any, bool, tuple[Any, ...]]:
    """A declared type bare, whether it may be None, and what it is annotated with."""
    markers: tuple[Any, ...] = ()
    optional = False
    while True:
        arguments = get_args(type_)
        if get_origin(type_) is Annotated:
            type_, markers = arguments[0], (*markers, *arguments[1:])
        elif NoneType in arguments:
            type_, optional = arguments[0], True
        else:
            return type_, optional, markers


def interpolate(text: str, environ: Mapping[str, str], *, secret: bool = False) -> str:
    """``text`` with ``$NAME`` and ``${NAME}`` replaced; a dollar is ``$$``, or one before no name.

    What a variable holds is taken as it is, dollars included.

    Raises:
        RejectedError: variables are unset (the error names them all), or ``${`` is not
            ``${NAME}``.
    """
    if any(match["broken"] for match in VARIABLE.finditer(text)):
        raise RejectedError("`${` begins no ${NAME}; write `$$` for a dollar")
    unset = [name for name in list_variables(text) if name not in environ]
    if unset:
        raise RejectedError(describe_variables(unset, text, "not set", secret=secret))
    return VARIABLE.sub(
        lambda match: "$" if match["dollar"] else environ[match["bare"] or match["braced"]], text
    )


def list_variables(text: str) -> list[str]:
    """The names behind the dollars of ``text``, each once."""
    names = (match["bare"] or match["braced"] for match in VARIABLE.finditer(text))
    return list(dict.fromkeys(filter(None, names)))


def describe_variables(names: Sequence[str], text: str, state: str, *, secret: bool) -> str:
    """What is wrong with variables of ``text``, such as "not set"; nothing where there are none.

    Args:
        secret: whether the text is one; then what follows a dollar inside it may be a part of
            a password, and is named only where it is the whole text.
    """
    if names and secret and not VARIABLE.fullmatch(text):
        return (
            f"a variable in it is {state} in the environment; write `$$` for a dollar that "
            "belongs to the value"
        )
    shown = " and ".join(f"${name}" for name in names)
    verb = "is" if len(names) == 1 else "are"
    return f"{shown} {verb} {state} in the environment" if names else ""
