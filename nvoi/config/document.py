"""A config's text: read by paths, changed with its comments and layout kept."""

from __future__ import annotations

import difflib
import functools
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import ReusedAnchorWarning
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    LiteralScalarString,
    PlainScalarString,
)

from nvoi.config.nodes import (
    BARE_ERRORS,
    UNPRINTABLE,
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    compose,
    find_child,
    join_path,
    to_data,
)
from nvoi.errors import ConfigError, UsageError

# The one mapping that is written as a value is the empty one, `{}`.
Value = str | int | bool | list[str] | dict[str, str]

# Words that stay text without quotes for readers of YAML 1.1 and 1.2 alike.
SAFE_TEXT = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*")
YAML_11_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
#: A text of several lines that a block keeps as it is: none but its last ends in spaces or so.
BLOCK = re.compile(r"(?=.*\n)[^\s][^\r\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]*[^\s]\n?", re.DOTALL)
# Wide enough that no line is ever folded anew.
WIDTH = 1 << 20
EDIT_HINT = "change it with nvoi credentials edit"


class Document:
    """A YAML mapping. Paths are keys joined by dots; an item of a list is its number from 0.

    Attributes:
        root: its tree.
        faults: what is wrong with it as YAML though it could be read, such as a key given twice.

    Raises:
        ConfigError: the text is no single YAML mapping within the limits.
    """

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self.text = text
        self.root, self.faults = compose(text, filename)

    def find(self, path: str) -> Node | None:
        node: Node | None = self.root
        for key in path.split("."):
            node = find_child(node, key)
        return node

    def get(self, path: str) -> Node:
        """What stands at ``path``.

        Raises:
            UsageError: there is nothing; the hint names the nearest path that there is.
        """
        node = self.find(path)
        if node is None:
            paths = (functools.reduce(join_path, keys, "") for keys, _ in walk(self.root))
            nearest = difflib.get_close_matches(path, list(paths), n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else "nvoi credentials show lists all"
            raise UsageError(f"{self.filename} has no key {path}", hint=hint)
        return node

    def set(self, path: str, value: Value) -> None:
        """Writes ``value`` at ``path``, in sections that are made where they are missing.

        Raises:
            ConfigError: the document has faults of its own.
            UsageError: the path leads through what is no section, or what others share.
        """
        if self.faults:
            raise ConfigError(self.filename, self.faults)
        texts = value if isinstance(value, list) else [str(value)]
        if any(UNPRINTABLE.search(text) for text in texts):
            raise UsageError(f"{path}: a value with control characters cannot be set")
        # A comment beside the old value can end up inside a block of text: quotes are safe.
        for style_string in (style_text, DoubleQuotedScalarString):
            styled = style(value, style_string)
            changed = self.find_insertion(path, styled) or self.find_change(
                path, functools.partial(assign, value=styled)
            )
            node = changed and changed.find(path)
            if changed and node and to_data(node) == to_text(value):
                self.text, self.root = changed.text, changed.root
                return
        message = f"{path} cannot be set without changing other values of {self.filename}"
        raise UsageError(message, hint=EDIT_HINT)

    def remove(self, path: str) -> None:
        """Takes ``path`` out, and all that stands below it.

        Raises:
            ConfigError: the document has faults of its own.
            UsageError: nothing is there, or others share it.
        """
        if self.faults:
            raise ConfigError(self.filename, self.faults)
        self.get(path)
        for changed in (self.find_cut(path), self.find_change(path, drop)):
            if changed and changed.find(path) is None:
                self.text, self.root = changed.text, changed.root
                return
        message = f"{path} cannot be removed without changing other values of {self.filename}"
        raise UsageError(message, hint=EDIT_HINT)

    def find_same(self, text: str, path: str) -> Document | None:
        """The document in ``text``, if only ``path`` is another there; lines end as before."""
        if "\r\n" in self.text:
            text = text.replace("\r\n", "\n").replace("\n", "\r\n")
        try:
            changed = Document(text, self.filename)
        except ConfigError:
            return None
        same = find_others(changed.root, path) == find_others(self.root, path)
        return changed if same and not changed.faults else None

    def find_insertion(self, path: str, value: Any) -> Document | None:
        """A copy with lines for a new key behind its section's last one.

        The comments and blank lines between two sections stay where they are.
        """
        section, keys = self.root, path.split(".")
        while isinstance(child := find_child(section, keys[0]), Mapping) and len(keys) > 1:
            section, keys = child, keys[1:]
        if child is not None or not section.entries or not all(keys):
            return None
        text = self.text if self.text.endswith("\n") else f"{self.text}\n"
        lines = text.splitlines(keepends=True)
        place = [*section.entries.values()][-1].key.place
        first, indent = place.line - 1, place.column - 1
        if first >= len(lines) or lines[first][:indent].strip(" "):
            return None
        end = find_end(lines, first + 1, indent)
        for key in reversed(keys):
            value = {style_text(key): value}
        fresh = textwrap.indent(dump(build_writer(self.root), value), " " * indent)
        return self.find_same("".join([*lines[:end], fresh, *lines[end:]]), path)

    def find_cut(self, path: str) -> Document | None:
        """A copy without the lines of ``path``, where these are lines of their own."""
        above, _, last = path.rpartition(".")
        parent = self.find(above) if above else self.root
        if not isinstance(parent, Mapping) or last not in parent.entries:
            return None
        place = parent.entries[last].key.place
        lines = self.text.splitlines(keepends=True)
        first, indent = place.line - 1, place.column - 1
        if first >= len(lines) or lines[first][:indent].strip(" "):
            return None
        end = find_end(lines, first + 1, indent)
        return self.find_same("".join(lines[:first] + lines[end:]), path)

    def find_change(self, path: str, change: Callable[[Any, str, str], None]) -> Document | None:
        """A copy of the document in which only ``path`` differs, if it can be made.

        ``change`` is given the section that holds the path's last key, that key, and the path.
        """
        *parents, last = path.split(".")
        yaml = build_writer(self.root)
        yaml.preserve_quotes = True
        yaml.explicit_start = self.text.startswith("---")
        try:
            with warnings.catch_warnings():
                # An anchor that is used anew is legal, and no business of whoever sets a value.
                warnings.simplefilter("ignore", ReusedAnchorWarning)
                data = yaml.load(self.text)
        except BARE_ERRORS:
            return None
        container = data
        for key in parents:
            container = enter(container, key, path)
        change(container, last, path)
        return self.find_same(dump(yaml, data), path)


def enter(container: Any, key: str, path: str) -> Any:
    if isinstance(container, list):
        child = container[find_index(container, key, path)]
    elif container.get(key) is None:
        child = container[key] = CommentedMap()
    else:
        child = container[key]
    if not isinstance(child, CommentedMap | CommentedSeq):
        raise UsageError(f"{path}: {key} is a value, not a section")
    if child.yaml_anchor() is not None:
        message = f"{path}: {key} is shared by several places of the config"
        raise UsageError(message, hint=EDIT_HINT)
    return child


def drop(container: Any, key: str, path: str) -> None:
    if isinstance(container, list):
        raise UsageError(f"{path} is an item of a list; set the list")
    # A merged key is not the section's own: there is nothing to take out.
    container.pop(key, None)


def assign(container: Any, key: str, path: str, value: Any) -> None:
    """Puts ``value`` under ``key``, unless that would wipe out a section."""
    if not key:
        raise UsageError("a path such as application.app.web.port is needed")
    if isinstance(container, list):
        container[find_index(container, key, path)] = value
    elif isinstance(container.get(key), dict) and not isinstance(value, dict):
        raise UsageError(f"{path} is a section; set one of its keys")
    else:
        container[key] = value


def find_index(items: list[Any], key: str, path: str) -> int:
    if key.isascii() and key.isdigit() and int(key) < len(items):
        return int(key)
    raise UsageError(f"{path}: the list there has the items 0 to {len(items) - 1}")


def walk(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every path below ``node`` and what stands there, in the order of the text."""
    children: Iterable[tuple[str, Node]] = ()
    if isinstance(node, Mapping):
        children = ((key, entry.value) for key, entry in node.entries.items())
    elif isinstance(node, Sequence):
        children = ((str(index), item) for index, item in enumerate(node.items))
    for key, child in children:
        yield (*path, key), child
        yield from walk(child, (*path, key))


def find_entries(node: Node) -> Iterator[Entry]:
    """Every key of the tree and its value, in the order of the text."""
    if isinstance(node, Mapping):
        for entry in node.entries.values():
            yield entry
            yield from find_entries(entry.value)


def find_others(root: Mapping, path: str) -> dict[str, str]:
    """Every scalar of the tree that is neither at ``path``, below it, nor above it."""
    texts = {f"{'.'.join(at)}.": node.text for at, node in walk(root) if isinstance(node, Scalar)}
    target = f"{path}."
    return {
        at: text
        for at, text in texts.items()
        if not at.startswith(target) and not target.startswith(at)
    }


def find_end(lines: list[str], start: int, indent: int) -> int:
    """The index behind the last line that is deeper than ``indent``, or an item of a list.

    Whether the rest still says what it did is for the caller to see: lines are told apart by
    their indentation alone.
    """
    end = start
    for index in range(start, len(lines)):
        line = lines[index]
        stripped = line.strip()
        depth = len(line) - len(line.lstrip(" "))
        if not stripped or (stripped.startswith("#") and depth <= indent):
            # Kept, unless a line of the entry follows.
            continue
        if depth > indent or (depth == indent and f"{stripped} ".startswith("- ")):
            end = index + 1
        else:
            break
    return end


class TextResolver(VersionedResolver):
    """Takes every scalar for text, so that none is spelled anew when it is written back."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node; a merge key and an empty value keep their meaning."""
        if kind is ScalarNode and implicit[0] and value not in {"", "<<"}:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)


def build_writer(like: Mapping | None = None) -> YAML:
    """What writes YAML, indented as the tree ``like`` is: keys by 2 and hyphens by 0 if unknown."""
    yaml = YAML(pure=True)
    yaml.Resolver = TextResolver
    yaml.width = WIDTH
    mapping, offset = 2, 0
    for entry in reversed(list(find_entries(like)) if like else []):
        key, value = entry.key.place, entry.value
        if isinstance(value, Mapping) and value.place.line > key.line:
            mapping = max(value.place.column - key.column, 1)
        elif isinstance(value, Sequence) and value.place.line > key.line:
            offset = max(value.place.column - key.column, 0)
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return yaml


def dump(yaml: YAML, data: Any) -> str:
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def write_node(node: Node) -> str:
    """``node`` as a YAML document of its own, anchors resolved."""
    return dump(build_writer(), to_styled(node))


def to_styled(node: Node) -> Any:
    """``node`` as dicts, lists and texts, quoted where the text is not plain."""
    if isinstance(node, Mapping):
        return {plain(key): to_styled(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [to_styled(item) for item in node.items]
    if node.is_null:
        return None
    return plain(node.text) if node.plain else style_text(node.text)


def to_text(value: Value) -> Any:
    """What :func:`to_data` says of ``value`` once it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, list | dict) else str(value)


def write_data(data: AnyMapping[str, Any], comments: AnyMapping[str, str]) -> str:
    """A new document, with a comment above each path that has one, and a blank line above that."""
    return dump(build_writer(), style(data, style_text, comments))


def style(
    value: Any,
    style_string: Callable[[str], str],
    comments: AnyMapping[str, str] = MappingProxyType({}),
    path: str = "",
) -> Any:
    """``value`` as it is written, every string in the style that is asked for."""
    if isinstance(value, dict):
        section = CommentedMap()
        for key, item in value.items():
            place = f"{path}{key}"
            section[style_text(key)] = style(item, style_string, comments, f"{place}.")
            if place in comments:
                above = f"\n{comments[place]}"
                section.yaml_set_comment_before_after_key(key, above, path.count(".") * 2)
        return section
    if isinstance(value, list):
        items = CommentedSeq(map(style_string, value))
        items.fa.set_flow_style()
        return items
    return style_string(value) if isinstance(value, str) else plain(str(value).lower())


def plain(text: str) -> str:
    """``text`` without quotes, whatever stood in its place before."""
    styled: str = PlainScalarString(text)
    return styled


def style_text(text: str) -> str:
    """``text`` in the style in which it is read best and by every reader as text."""
    if SAFE_TEXT.fullmatch(text) and text.lower() not in YAML_11_WORDS:
        return plain(text)
    is_block = BLOCK.fullmatch(text)
    styled: str = LiteralScalarString(text) if is_block else DoubleQuotedScalarString(text)
    return styled
