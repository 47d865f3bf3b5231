"""Writes a YAML text anew with one value changed, and all else as it was."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import ReusedAnchorWarning
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    LiteralScalarString,
    PlainScalarString,
)

from nvoi.config.nodes import Mapping, Node, Scalar, Sequence, find_entries

# The one mapping that is written as a value is the empty one, `{}`.
Value = str | int | bool | list[str] | dict[str, str]

# Words that stay text without quotes for readers of YAML 1.1 and 1.2 alike.
SAFE_TEXT = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*")
YAML_11_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
BLOCK_LINE = re.compile(r"\S(?:[\x20-\x7e]*[\x21-\x7e])?")
# Wide enough that no line is ever folded anew.
WIDTH = 1 << 20


class TextResolver(VersionedResolver):
    """Takes every scalar for text, so that none is spelled anew when it is written back."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node; a merge key and an empty value keep their meaning."""
        if kind is ScalarNode and implicit[0] and value not in {"", "<<"}:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)


def load_for_change(text: str, indents: tuple[int, int]) -> tuple[YAML, Any]:
    """The collections of ``text``, with its comments, and what writes them as it was written."""
    yaml = YAML(pure=True)
    yaml.Resolver = TextResolver
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.explicit_start = text.startswith("---")
    mapping, offset = indents
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    with warnings.catch_warnings():
        # An anchor that is used anew is legal, and no business of whoever sets a value.
        warnings.simplefilter("ignore", ReusedAnchorWarning)
        return yaml, yaml.load(text)


def guess_indents(root: Mapping) -> tuple[int, int]:
    """By how many columns the text indents keys, and the hyphens of a list: 2 and 0 if unknown."""
    mapping, offset = 2, 0
    for entry in reversed(list(find_entries(root))):
        key, value = entry.key.place, entry.value
        if isinstance(value, Mapping) and value.place.line > key.line:
            mapping = max(value.place.column - key.column, 1)
        elif isinstance(value, Sequence) and value.place.line > key.line:
            offset = max(value.place.column - key.column, 0)
    return mapping, offset


def find_others(root: Mapping, path: str) -> dict[str, str]:
    """Every scalar of the tree that is neither at ``path``, below it, nor above it."""

    def walk(node: Node, at: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, Scalar):
            yield at, node.text
        elif isinstance(node, Mapping):
            for key, entry in node.entries.items():
                yield from walk(entry.value, f"{at}.{key}")
        else:
            for index, item in enumerate(node.items):
                yield from walk(item, f"{at}.{index}")

    target = f".{path}."
    return {
        at: text
        for at, text in walk(root, "")
        if not f"{at}.".startswith(target) and not target.startswith(f"{at}.")
    }


def find_texts(value: Value) -> list[str]:
    """The strings in ``value``."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) else []


def to_text(value: Value) -> Any:
    """What :func:`to_data` says of ``value`` once it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, list | dict) else str(value)


def style(value: Value, style_string: Callable[[str], str]) -> str | list[str] | dict[str, str]:
    """``value`` as it is written, every string in the style that is asked for."""
    if isinstance(value, dict):
        return CommentedMap({key: style_string(text) for key, text in value.items()})
    if isinstance(value, list):
        return [style_string(item) for item in value]
    return style_string(value) if isinstance(value, str) else plain(str(value).lower())


def plain(text: str) -> str:
    """``text`` without quotes, whatever stood in its place before."""
    styled: str = PlainScalarString(text)
    return styled


def style_text(text: str) -> str:
    """``text`` in the style in which it is read best and by every reader as text."""
    if SAFE_TEXT.fullmatch(text) and text.lower() not in YAML_11_WORDS:
        return plain(text)
    *lines, end = text.split("\n")
    block = not end and len(lines) > 1 and all(BLOCK_LINE.fullmatch(line) for line in lines)
    styled: str = LiteralScalarString(text) if block else DoubleQuotedScalarString(text)
    return styled


def write_node(node: Node) -> str:
    """``node`` as a YAML document of its own, anchors resolved."""
    yaml = YAML(pure=True)
    yaml.Resolver = TextResolver
    yaml.width = WIDTH
    stream = io.StringIO()
    yaml.dump(to_styled(node), stream)
    return stream.getvalue()


def to_styled(node: Node) -> Any:
    """``node`` as dicts, lists and texts, quoted where the text is not plain."""
    if isinstance(node, Mapping):
        return {plain(key): to_styled(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [to_styled(item) for item in node.items]
    if node.is_null:
        return None
    return plain(node.text) if node.plain else style_text(node.text)
