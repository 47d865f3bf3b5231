"""``nvoi releases``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from nvoi.cli.options import add_command, add_log_options, add_place_options

EXAMPLES = """\
examples:
  nvoi releases                     the newest first; * runs
  nvoi rollback 20261123160322      go back to one
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers, "releases", "List the releases that are kept for a rollback.", EXAMPLES, run
    )
    add_place_options(parser)
    add_log_options(parser)
    from nvoi.cli.run import add_branch_option  # noqa: PLC0415 - with all that a run needs

    add_branch_option(parser)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """List them."""
    from nvoi import releases  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    found = runs.ask(options, environ, releases.list_releases)
    width = max((len(release.image) for release in found), default=0)
    for release in found:
        mark = "*" if release.is_running else " "
        sys.stdout.write(f"{mark} {release.stamp}  {release.image:<{width}}  {release.deploy_id}\n")
    if not found:
        sys.stdout.write("No release is kept\n")
    return 0
