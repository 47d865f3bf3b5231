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
  nvoi delete --cluster             k3s on the servers too
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
    from nvoi.cli.run import add_lock_option, add_run_options  # noqa: PLC0415 - as a run needs

    add_run_options(parser)
    add_lock_option(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--delete-volumes", action="store_true", help="remove the app's data as well"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="take k3s off the servers as well, where no other app uses it",
    )


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Delete."""
    from nvoi import delete  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    return runs.run(
        options,
        environ,
        command="delete",
        act=delete.delete,
        plan=delete.plan,
        confirm=partial(confirm, options),
    )


def confirm(options: argparse.Namespace, settings: Settings) -> bool:
    """Ask on a terminal; elsewhere, as in CI, the command itself is the answer."""
    if options.yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    what = [settings.config.application.name]
    what += ["its data"] * options.delete_volumes + ["k3s on its servers"] * options.cluster
    sys.stdout.write(f"Delete {' and '.join(what)}? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
