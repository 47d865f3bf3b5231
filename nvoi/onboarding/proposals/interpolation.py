"""Variables inside of values, as Compose writes them. Pure.

Source: Compose Specification, "Interpolation".
"""

from __future__ import annotations

import re
from collections.abc import Callable

PIECE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*))")
OPERATOR = re.compile(r":?[-?+]")
BRACKET = re.compile(r"\$\{|\}")
#: Defaults in defaults: nobody writes more.
MOST_DEPTH = 20

#: The value of a variable, or None where it has none.
Find = Callable[[str], str | None]
#: What stands for a variable that has none, and needs one.
Want = Callable[[str], str]


def interpolate(text: str, find: Find, want: Want, depth: int = 0) -> str:
    """``text`` with values in the place of ``$NAME``, ``${NAME:-default}`` and so on."""
    parts: list[str] = []
    position = 0
    ends = find_ends(text)
    while match := PIECE.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["dollar"]:
            parts.append("$")
        elif match["name"]:
            parts.append(get(match["name"], find, want))
        elif (end := ends.get(match.start("braced") - 1)) is None or depth > MOST_DEPTH:
            # No variable: there is no bracket that closes it.
            parts.append(match[0])
        else:
            rest = text[position:end]
            parts.append(expand(match["braced"], rest, find, want, depth + 1))
            position = end + 1
    return "".join([*parts, text[position:]])


def find_ends(text: str) -> dict[int, int]:
    """Where each bracket of a variable closes, by where it opens."""
    opened: list[int] = []
    ends: dict[int, int] = {}
    for match in BRACKET.finditer(text):
        if match[0] == "${":
            opened.append(match.end() - 1)
        elif opened:
            ends[opened.pop()] = match.start()
    return ends


def get(name: str, find: Find, want: Want) -> str:
    value = find(name)
    return want(name) if value is None else value


def expand(name: str, rest: str, find: Find, want: Want, depth: int) -> str:
    """``${name rest}``; an operator with a colon takes an empty value for none."""
    value = find(name)
    operator = OPERATOR.match(rest)
    if operator is None:
        return get(name, find, want)
    word = rest[operator.end() :]
    is_set = value is not None and (value != "" or operator[0][0] != ":")
    match operator[0][-1]:
        case "-":
            return (value or "") if is_set else interpolate(word, find, want, depth)
        case "+":
            return interpolate(word, find, want, depth) if is_set else ""
    return (value or "") if is_set else want(name)
