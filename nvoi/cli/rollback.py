"""``nvoi rollback``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

from nvoi.cli.options import add_command, add_log_options, add_place_options

STAMP = re.compile(r"[0-9]{14}")
EXAMPLES = """\
examples:
  nvoi releases                     what there is to go back to
  nvoi rollback                     the release before the one that runs
  nvoi rollback 20261123160322      that one
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "rollback",
        "Run a kept release again: its image, commands and settings. Data stays as it is.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "stamp",
        nargs="?",
        type=parse_stamp,
        metavar="STAMP",
        help="the release, as `nvoi releases` has it (default: the one before that which runs)",
    )
    add_place_options(parser)
    add_log_options(parser)
    from nvoi.cli.run import add_lock_option, add_run_options  # noqa: PLC0415 - as a run needs

    add_run_options(parser)
    add_lock_option(parser)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Go back."""
    from nvoi import rollback  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    return runs.run(options, environ, command="rollback", act=rollback.rollback, plan=rollback.plan)


def parse_stamp(text: str) -> str:
    """A release's name, for argparse."""
    if not STAMP.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no release: its name has 14 digits")
    return text
