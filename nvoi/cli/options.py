"""Options that several commands have, and the values that argparse has no type for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds that the end of a run may wait for its dashboard: that of SignedHTTPHandler, whose
#: module takes far longer to import than `--help` has.
CALLBACK_BUDGET_SECONDS = 10.0

MOST_PORT = 65535
STAMP_DIGITS = 14


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """``--config``, ``--dir``, ``--key-file``: where the config is and what opens it."""
    group = parser.add_argument_group("config")
    group.add_argument(
        "-c",
        "--config",
        type=parse_path,
        metavar="FILE",
        help="the config: encrypted, or plain as *.yml (default: deploy.enc in DIR or DIR/config)",
    )
    group.add_argument(
        "-d",
        "--dir",
        type=parse_path,
        default=parser.argument_default or ".",
        metavar="DIR",
        help="the checkout (default: this folder)",
    )
    group.add_argument(
        "--key-file",
        type=parse_path,
        metavar="FILE",
        help="the key (default: $NVOI_MASTER_KEY, $DEPLOY_KEY, deploy.key beside the config)",
    )


def add_log_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    volume.add_argument(
        "-v", "--verbose", action="store_true", help="debug lines and tracebacks too ($NVOI_DEBUG)"
    )
    group.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="text for people, or one JSON object a line (default: text)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What all commands have that change the app."""
    add_place_options(parser)
    add_log_options(parser)
    add_branch_option(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what each step would change, and touch nothing",
    )
    parser.add_argument(
        "--callback-budget",
        type=parse_seconds,
        default=CALLBACK_BUDGET_SECONDS,
        metavar="SECONDS",
        help="how long the end of the run may wait for the dashboard (default: %(default)g)",
    )
    parser.add_argument(
        "--lock-wait",
        type=parse_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait for another run on the same servers to end (default: not at all)",
    )


def add_branch_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-b",
        "--branch",
        metavar="NAME",
        help="deploy a branch as a separate app: NAME is part of the app's name and subdomains",
    )


def add_database_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--db",
        type=parse_path,
        metavar="PATH",
        help="the SQLite file (default: dashboard.d/dashboard.sqlite3 in nvoi's own folder)",
    )


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
    """A release's name."""
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
