"""The parser of the command line: argparse's, which says what a mistyped word may have meant."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NoReturn

#: How argparse begins to say what lacks.
REQUIRED = "the following arguments are required: "


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
