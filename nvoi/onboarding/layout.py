"""Text laid out for a terminal's width, in the columns that its letters take there."""

from __future__ import annotations

import re
import sys

from prompt_toolkit.utils import get_cwidth

# Narrower than this and nothing is folded any more; wider, and lines are tiring to read.
NARROWEST, WIDEST = 20, 100

# Below this a second column holds no line that makes sense.
NARROW = 60

Row = tuple[str, list[str]]


def clamp_width(columns: int) -> int:
    return max(NARROWEST, min(columns, WIDEST))


def fold_lines(text: str, width: int) -> str:
    """``text`` with its long lines in several, each indented as the line was; words stay whole."""
    return "\n".join(part for line in text.split("\n") for part in fold(line, width))


def fold(line: str, width: int, hang: str = "", *, cut: bool = False) -> list[str]:
    """``line`` in as many as it needs; those that follow are indented as it is, and by ``hang``.

    ``cut`` is whether words that are wider than that are cut, or stick out.
    """
    indent = line[: len(line) - len(line.lstrip())] + hang
    parts: list[str] = []
    current = ""
    for word in re.findall(r"\s*\S+", line):
        if get_cwidth(current + word) <= width:
            current += word
            continue
        if current:
            parts.append(current)
            word = indent + word.lstrip()  # noqa: PLW2901 - now it begins a line
        while cut and get_cwidth(word) > width:
            head = find_head(word, width)
            parts.append(head)
            word = indent + word[len(head) :]  # noqa: PLW2901 - what is left of it
        current = word
    return [*parts, current]


def find_head(text: str, width: int) -> str:
    columns = 0
    for index, letter in enumerate(text):
        columns += get_cwidth(letter)
        if columns > width:
            return text[:index]
    return text


def pad(text: str, width: int) -> str:
    """``text`` with spaces after it, ``width`` columns in all."""
    return text + " " * (width - get_cwidth(text))


def lay_out(rows: list[Row], width: int) -> str:
    """Titles, each with its lines: a table, or a list where the terminal is too narrow for one."""
    return build_list(rows, width) if width < NARROW else build_table(rows, width)


def build_table(rows: list[Row], width: int) -> str:
    first = max(len(title) for title, _ in rows)
    most = width - first - len("│  │  │")
    folded = [
        (title, [part for line in lines for part in fold(line, most, "  ", cut=True)])
        for title, lines in rows
    ]
    second = max(get_cwidth(line) for _, lines in folded for line in lines)

    def rule(left: str, middle: str, right: str) -> str:
        return f"{left}{'─' * (first + 2)}{middle}{'─' * (second + 2)}{right}"

    parts = [rule("┌", "┬", "┐")]
    for number, (title, lines) in enumerate(folded):
        parts += [rule("├", "┼", "┤")] if number else []
        parts += [
            f"│ {pad('' if index else title, first)} │ {pad(line, second)} │"
            for index, line in enumerate(lines)
        ]
    return "\n".join([*parts, rule("└", "┴", "┘")])


def build_list(rows: list[Row], width: int) -> str:
    parts = []
    for title, lines in rows:
        parts.append(title)
        parts += [f"  {part}" for line in lines for part in fold(line, width - 2, "  ", cut=True)]
    return "\n".join(parts)


def write(text: str) -> None:
    """Prints ``text``; a character that the terminal's encoding lacks shows as ``?``."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
