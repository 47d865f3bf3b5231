"""The parser of the command line: argparse's, which says what a mistyped word may have meant.

Options are written as the help shows them; values have the types that argparse lacks.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

#: How argparse begins to say what lacks.
REQUIRED = "the following arguments are required: "

MOST_PORT = 65535
STAMP_DIGITS = 14


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Folds at the terminal's width, as argparse does by a module that takes long to import."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS", "0"))
            columns = columns or os.get_terminal_size(sys.stdout.fileno()).columns
        except (AttributeError, ValueError, OSError):
            columns = 0
        super().__init__(prog, width=(columns or 80) - 2)


class Parser(argparse.ArgumentParser):
    """Ends with 2 at a word it does not know, the usage of the command, and the nearest word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **settings})
        self._words: list[str] = []

    # Typed as argparse has it for each kind of namespace.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; a command's own parser refuses what is left, whose usage is the one to show."""
        self._words = sys.argv[1:] if args is None else list(args)
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0]
            known = self._option_string_actions if word.startswith("-") else ()
            kind = "option" if word.startswith("-") else "argument"
            self.error(f"unknown {kind}: {word}{suggest(word.partition('=')[0], known)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """End with 2; where no command was named, the help says which ones there are."""
        if "COMMAND" in message.partition(REQUIRED)[2].split(", "):
            self.print_help(sys.stderr)
            self.exit(2, f"\n{self.prog}: error: name one of these commands\n")
        if wants_json(self._words):
            from nvoi.cli.results import write  # noqa: PLC0415 - takes as long as --help in all

            write("error", message, {"ok": False, "error": message})
        super().error(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices: Sequence[str] = tuple(map(str, action.choices or ()))
        if choices and value not in choices:
            nearest = suggest(str(value), choices)
            allowed = nearest or f": it is one of {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"{value} is unknown{allowed}")


def wants_json(words: Sequence[str]) -> bool:
    """Whether ``words``, which could not be parsed, ask for the result as JSON."""
    return "--log-format=json" in words or ("--log-format", "json") in pairwise(words)


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean WORD?``, or nothing where no known word is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who mistype alone

    nearest = get_close_matches(word, list(known), 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def parse_path(text: str) -> Path:
    """A path. A default is one too, which argparse has read where the option is not given."""
    from pathlib import Path  # noqa: PLC0415 - a tenth of the time of --help

    return Path(text)


def parse_port(text: str) -> int:
    """A port, or 0."""
    number = parse_count(text)
    if number > MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number


def parse_count(text: str) -> int:
    """A whole number of 0 or more."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:  # noqa: PLR2004 - enough for all
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def parse_stamp(text: str) -> str:
    if not (text.isascii() and text.isdigit()) or len(text) != STAMP_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no release: its name has 14 digits")
    return text


def build_number_parser(noun: str, is_in_range: Callable[[float], bool]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not is_in_range(number):
            raise argparse.ArgumentTypeError(f"{text!r} is no {noun}")
        return number

    return parse


# Each has an end, for "inf" is a number to Python.
parse_amount = build_number_parser("number above 0", lambda number: 0 < number < 1e9)  # noqa: PLR2004
parse_hours = build_number_parser("number of hours", lambda number: 0 <= number < 1e6)  # noqa: PLR2004
parse_seconds = build_number_parser("number of seconds", lambda each: 0 <= each < float("inf"))

#: What the text of an option's value becomes, by the option, or by how the help shows the value.
TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("FILE", "DIR", "PATH"), parse_path),
    **dict.fromkeys(("NAME", "HOST", "URL"), str),
    "STAMP": parse_stamp,
    "SECONDS": parse_seconds,
    "--port": parse_port,
    "--keep": parse_count,
    "--keep-days": parse_amount,
    "--rate": parse_amount,
}

LINE = re.compile(
    r"(?P<names>(?:-\w )?--[\w-]+)? ?"
    r"(?:(?P<value>[A-Z]+|\[[A-Z]+\]|\{[\w,]+\})(?:=(?P<default>\S+))?)?  (?P<told>\S.*)"
)


def add_options(parser: argparse._ActionsContainer, text: str) -> None:
    """Add options as the help shows them, one a line, with two spaces before what is told of it.

    ``-d --dir DIR=.``: its names, a value, and that of an option which is not given. A name without
    a value is a flag, ``{text,json}`` one of these words, ``FILE`` an argument, and ``[FILE]`` one
    that may be left out. A ValueError or KeyError: a line is written otherwise, or has a value of
    no known type.
    """
    for line in text.strip().replace("\n  ", " ").split("\n"):
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"no option: {line}")
        names, value = (found["names"] or "").split(), found["value"] or ""
        settings: dict[str, Any] = {"help": found["told"]}
        if not value:
            settings["action"] = "store_true"
        elif value.startswith("{"):
            settings["choices"] = value.strip("{}").split(",")
        else:
            shown = settings["metavar"] = value.strip("[]")
            settings["type"] = TYPES.get((names or [shown])[-1]) or TYPES[shown]
            if value.startswith("["):
                settings["nargs"] = "?"
        if found["default"]:
            # To a command below another nothing is given where that has it already.
            settings["default"] = parser.argument_default or found["default"]
        parser.add_argument(*(names or [value.strip("[]").lower()]), **settings)
