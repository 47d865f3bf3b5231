"""``nvoi releases``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nvoi.cli.options import add_command, add_log_options, add_place_options

if TYPE_CHECKING:
    from nvoi.targets.step import KeptRelease

EXAMPLES = """\
examples:
  nvoi releases                     the newest first; * runs
  nvoi releases --log-format json   for programs: a JSON object a line
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
    lines = build_objects(found) if options.log_format == "json" else build_table(found)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def build_table(releases: Sequence[KeptRelease]) -> Iterator[str]:
    """A line each for people: a mark at the one that runs, stamp, images, deploy id."""
    if not releases:
        yield "No release is kept"
    images = [", ".join(release.images) or "-" for release in releases]
    width = max(map(len, images), default=0)
    for release, text in zip(releases, images, strict=True):
        mark = "*" if release.is_running else " "
        yield f"{mark} {release.stamp}  {text:<{width}}  {release.deploy_id}"


def build_objects(releases: Sequence[KeptRelease]) -> Iterator[str]:
    """A JSON object each for programs."""
    for release in releases:
        yield json.dumps(
            {
                "stamp": release.stamp,
                "running": release.is_running,
                "images": list(release.images),
                "deploy_id": release.deploy_id,
            }
        )
