"""Takes an entry out of a YAML text by its lines, so that every comment around it stays."""

from __future__ import annotations

from nvoi.config.nodes import Mapping, Node, find_child


def cut_entry(text: str, root: Mapping, path: str) -> str | None:
    """``text`` without the key at ``path`` and its value; None where they share a line.

    Whether the rest still says what it did is for the caller to see: the lines are told apart
    by their indentation alone.
    """
    *parents, last = path.split(".")
    parent: Node | None = root
    for key in parents:
        parent = find_child(parent, key)
    if not isinstance(parent, Mapping) or last not in parent.entries:
        return None
    place = parent.entries[last].key.place
    lines = text.splitlines(keepends=True)
    first, indent = place.line - 1, place.column - 1
    if first >= len(lines) or lines[first][:indent].strip(" "):
        return None
    end = find_end(lines, first + 1, indent)
    return "".join(lines[:first] + lines[end:])


def find_end(lines: list[str], start: int, indent: int) -> int:
    """The index behind the last line that is deeper than ``indent``, or an item of a list."""
    end = start
    for index in range(start, len(lines)):
        line = lines[index]
        stripped = line.strip()
        depth = len(line) - len(line.lstrip(" "))
        if not stripped or (stripped.startswith("#") and depth <= indent):
            # Kept, unless a line of the entry follows.
            continue
        if depth > indent or (depth == indent and stripped.startswith(("- ", "-\n"))):
            end = index + 1
        else:
            break
    return end
