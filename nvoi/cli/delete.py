"""``nvoi delete``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from nvoi.cli.options import add_command, add_log_options, add_place_options

if TYPE_CHECKING:
    from nvoi.cli.run import Settings

EXAMPLES = """\
examples:
  nvoi delete                       asks first, when run from a terminal
  nvoi delete --yes                 does not
  nvoi delete --dry-run             what would be removed
  nvoi delete --delete-volumes      the data too, which is kept otherwise
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "delete",
        "Take the app down and remove its releases. Its data is kept unless asked.",
        EXAMPLES,
        run,
    )
    add_place_options(parser)
    add_log_options(parser)
    from nvoi.cli.run import add_run_options  # noqa: PLC0415 - with all that a run needs

    add_run_options(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--delete-volumes", action="store_true", help="remove the app's data as well"
    )


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Delete."""
    from nvoi import delete  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    return runs.run(
        options,
        environ,
        act=delete.delete,
        plan=delete.plan,
        confirm=partial(confirm, options),
    )


def confirm(options: argparse.Namespace, settings: Settings) -> bool:
    """Ask on a terminal; elsewhere, as in CI, the command itself is the answer."""
    if options.yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    data = " and its data" if options.delete_volumes else ""
    name = settings.config.application.name
    sys.stdout.write(f"Delete {name}{data}? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
