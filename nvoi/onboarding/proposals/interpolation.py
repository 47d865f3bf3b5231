"""Variables inside of values, as Compose writes them. Pure.

Source: Compose Specification, "Interpolation".
"""

from __future__ import annotations

import re
from collections.abc import Callable

PIECE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*))")
OPERATOR = re.compile(r":?[-?+]")

#: The value of a variable, or None where it has none.
Find = Callable[[str], str | None]
#: What stands for a variable that has none, and needs one.
Want = Callable[[str], str]


def interpolate(text: str, find: Find, want: Want) -> str:
    """``text`` with values in the place of ``$NAME``, ``${NAME:-default}`` and so on."""
    parts: list[str] = []
    position = 0
    while match := PIECE.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["dollar"]:
            parts.append("$")
        elif match["name"]:
            parts.append(get(match["name"], find, want))
        elif (end := find_end(text, position)) is None:
            # No variable: there is no bracket that closes it.
            parts.append(match[0])
        else:
            parts.append(expand(match["braced"], text[position:end], find, want))
            position = end + 1
    return "".join([*parts, text[position:]])


def find_end(text: str, position: int) -> int | None:
    """Where the bracket closes that was opened before ``position``."""
    depth = 1
    for index in range(position, len(text)):
        if text[index] == "{" and text[index - 1] == "$":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if not depth:
                return index
    return None


def get(name: str, find: Find, want: Want) -> str:
    value = find(name)
    return want(name) if value is None else value


def expand(name: str, rest: str, find: Find, want: Want) -> str:
    """``${name rest}``; an operator with a colon takes an empty value for none."""
    value = find(name)
    operator = OPERATOR.match(rest)
    if operator is None:
        return get(name, find, want)
    word = rest[operator.end() :]
    is_set = value is not None and (value != "" or operator[0][0] != ":")
    match operator[0][-1]:
        case "-":
            return (value or "") if is_set else interpolate(word, find, want)
        case "+":
            return interpolate(word, find, want) if is_set else ""
    return (value or "") if is_set else want(name)
