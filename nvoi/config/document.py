"""A config's text: read with places, changed with its comments and order kept."""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable
from functools import partial
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from nvoi.config.composer import BARE_ERRORS, UNPRINTABLE, compose
from nvoi.config.cutting import cut_entry
from nvoi.config.nodes import Node, find_child, find_paths, to_data
from nvoi.config.rewriting import (
    Value,
    find_others,
    find_texts,
    guess_indents,
    load_for_change,
    style,
    style_text,
    to_text,
)
from nvoi.errors import ConfigError, Fault, UsageError

__all__ = ["Document", "Value", "decode"]


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


class Document:
    """A YAML mapping. Paths are keys joined by dots; an item of a list is its number from 0.

    Attributes:
        text: the document as it stands, with what :meth:`set` changed.
        root: its tree.
        faults: what is wrong with it as YAML though it could be read, such as a key given twice.
    """

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self.text = text
        self.root, self.faults = compose(text, filename)

    @classmethod
    def parse(cls, text: str, *, filename: str) -> Document:
        """The document in ``text``; ``filename`` is what faults call it.

        Raises:
            ConfigError: the text is no single YAML mapping within the limits.
        """
        return cls(text, filename)

    def find(self, path: str) -> Node | None:
        """What stands at ``path``, if anything."""
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
            nearest = difflib.get_close_matches(path, list(find_paths(self.root, "")), n=1)
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
        if any(UNPRINTABLE.search(text) for text in find_texts(value)):
            raise UsageError(f"{path}: a value with control characters cannot be set")
        # A comment beside the old value can end up inside a block of text: quotes are safe.
        for style_string in (style_text, DoubleQuotedScalarString):
            styled = style(value, style_string)
            changed = self.find_change(path, partial(self.assign, value=styled))
            if changed and changed.holds(path, value):
                self.text, self.root = changed.text, changed.root
                return
        message = f"{path} cannot be set without changing other values of {self.filename}"
        raise UsageError(message, hint="change it with nvoi credentials edit")

    def remove(self, path: str) -> None:
        """Takes ``path`` out, and all that stands below it.

        Raises:
            ConfigError: the document has faults of its own.
            UsageError: nothing is there, or others share it.
        """
        if self.faults:
            raise ConfigError(self.filename, self.faults)
        self.get(path)
        for changed in (self.find_cut(path), self.find_change(path, self.drop)):
            if changed and changed.find(path) is None:
                self.text, self.root = changed.text, changed.root
                return
        message = f"{path} cannot be removed without changing other values of {self.filename}"
        raise UsageError(message, hint="change it with nvoi credentials edit")

    def holds(self, path: str, value: Value) -> bool:
        """Whether ``path`` reads as ``value``."""
        node = self.find(path)
        return node is not None and to_data(node) == to_text(value)

    def dump(self) -> str:
        """The text, as it would be saved."""
        return self.text

    def find_cut(self, path: str) -> Document | None:
        """A copy without the lines of ``path``, where these are lines of their own."""
        text = cut_entry(self.text, self.root, path)
        return None if text is None else self.find_same(text, path)

    def find_same(self, text: str, path: str) -> Document | None:
        """The document in ``text``, if only ``path`` is another there."""
        try:
            changed = Document(text, self.filename)
        except ConfigError:
            return None
        same = find_others(changed.root, path) == find_others(self.root, path)
        return changed if same and not changed.faults else None

    def find_change(self, path: str, change: Callable[[Any, str, str], None]) -> Document | None:
        """A copy of the document in which only ``path`` differs, if it can be made.

        ``change`` is given the section that holds the path's last key, that key, and the path.
        """
        *parents, last = path.split(".")
        try:
            yaml, data = load_for_change(self.text, guess_indents(self.root))
        except BARE_ERRORS:
            return None
        container = data
        for key in parents:
            container = self.enter(container, key, path)
        change(container, last, path)
        stream = io.StringIO()
        yaml.dump(data, stream)
        return self.find_same(stream.getvalue(), path)

    def enter(self, container: Any, key: str, path: str) -> Any:
        """The section under ``key``, made where there is none."""
        if isinstance(container, list):
            child = container[self.find_index(container, key, path)]
        elif container.get(key) is None:
            child = container[key] = CommentedMap()
        else:
            child = container[key]
        if not isinstance(child, CommentedMap | CommentedSeq):
            raise UsageError(f"{path}: {key} is a value, not a section")
        if child.yaml_anchor() is not None:
            message = f"{path}: {key} is shared by several places of the config"
            raise UsageError(message, hint="change it with nvoi credentials edit")
        return child

    def drop(self, container: Any, key: str, path: str) -> None:
        """Takes ``key`` out of a section that is written in one line."""
        if isinstance(container, list):
            raise UsageError(f"{path} is an item of a list; set the list")
        # A merged key is not the section's own: there is nothing to take out.
        container.pop(key, None)

    def assign(self, container: Any, key: str, path: str, value: Any) -> None:
        """Puts ``value`` under ``key``, unless that would wipe out a section."""
        if not key:
            raise UsageError("a path such as application.app.web.port is needed")
        if isinstance(container, list):
            container[self.find_index(container, key, path)] = value
        elif isinstance(container.get(key), dict) and not isinstance(value, dict):
            raise UsageError(f"{path} is a section; set one of its keys")
        else:
            container[key] = value

    def find_index(self, items: list[Any], key: str, path: str) -> int:
        """``key`` as a place in ``items``."""
        if key.isascii() and key.isdigit() and int(key) < len(items):
            return int(key)
        raise UsageError(f"{path}: the list there has the items 0 to {len(items) - 1}")
