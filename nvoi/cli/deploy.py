"""``nvoi deploy``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from nvoi.cli.options import add_command, add_log_options, add_place_options

EXAMPLES = """\
examples:
  nvoi deploy                            deploy.enc, opened by deploy.key or $DEPLOY_KEY
  nvoi deploy --dry-run                  what would change
  nvoi deploy -c deploy.yml -d ../app    a plain config, another checkout
  nvoi deploy --branch feature-x         a deploy of its own, beside production's

exit codes: 0 done, 1 the deploy failed, 2 bad usage or config; 129 SIGHUP, 130 Ctrl-C,
131 SIGQUIT, 143 SIGTERM
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "deploy",
        "Deploy the app that the config describes from its checkout.",
        EXAMPLES,
        run,
    )
    add_place_options(parser)
    add_log_options(parser)
    from nvoi.cli.run import add_lock_option, add_run_options  # noqa: PLC0415 - as a run needs

    add_run_options(parser)
    add_lock_option(parser)
    parser.add_argument(
        "--dockerfile-path",
        type=Path,
        metavar="FILE",
        help="what the image is built from (default: Dockerfile in DIR)",
    )


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Deploy."""
    from nvoi import deploy  # noqa: PLC0415 - with all that a run needs
    from nvoi.cli import run as runs  # noqa: PLC0415

    return runs.run(options, environ, command="deploy", act=deploy.deploy, plan=deploy.plan)
