"""``nvoi resend``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from nvoi.cli import COMMANDS
from nvoi.cli.options import add_log_options, add_place_options

EXAMPLES = """\
examples:
  nvoi resend ~/.local/state/nvoi/undelivered.d/1234-20260115103000-x7f2.jsonl

exit codes: 0 all is delivered and the file removed, 1 something is still to be sent
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "resend",
        help=COMMANDS["resend"],
        description=(
            "Send what a run could not deliver to its dashboard: in order, with its times, "
            "and nothing twice that was acknowledged."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that the run named")
    add_place_options(parser)
    add_log_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Send the file's requests."""
    from nvoi.cli.options import open_console  # noqa: PLC0415 - with the log
    from nvoi.cli.signals import interruptible  # noqa: PLC0415
    from nvoi.config.credentials import get_key  # noqa: PLC0415
    from nvoi.log.resending import resend  # noqa: PLC0415
    from nvoi.log.undelivered import read_undelivered  # noqa: PLC0415

    open_console(options, environ)
    with interruptible():
        undelivered = read_undelivered(options.file)
        key = get_key(
            options.dir, environ=environ, config_file=options.config, key_file=options.key_file
        )
        resend(undelivered, key.value.reveal())
    return 0
