"""``nvoi unlock``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from nvoi.cli.options import add_command, add_log_options, add_place_options

EXAMPLES = """\
examples:
  nvoi unlock           who holds the lock, and end that

A run that was killed frees its lock by itself within a minute. One that still works finds its
lock gone before it changes anything more, and fails.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers, "unlock", "End the run that holds the lock of the servers.", EXAMPLES, run
    )
    add_place_options(parser)
    add_log_options(parser)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """End it."""
    from nvoi import unlock  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    runs.ask(options, environ, unlock.unlock)
    return 0
