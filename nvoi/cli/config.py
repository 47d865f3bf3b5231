"""``nvoi config init``: a new config, its key and its SSH key pair."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from nvoi.errors import UsageError

EXAMPLES = """\
examples:
  nvoi config init --name shop
  nvoi config init --name shop --provider hetzner -d ~/src/shop
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``config`` and what it can do."""
    parser = subparsers.add_parser("config", help="make a new deploy config")
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init",
        help="make deploy.enc, deploy.key and an SSH key pair",
        description="Makes deploy.enc, deploy.key and an SSH key pair inside the config, and "
        "names the key in .gitignore and .dockerignore. A file that exists is never overwritten.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("--name", required=True, help="the app's name: a-z, 0-9, - and _")
    init.add_argument(
        "-d", "--dir", type=Path, default=Path(), metavar="DIR", help="the app's checkout"
    )
    init.add_argument(
        "--provider",
        choices=["local", "ssh", "hetzner", "aws", "scaleway"],
        default="local",
        help="where the app runs: this machine (local, unless told otherwise), or servers",
    )
    init.set_defaults(run=run)


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Makes the files and says what comes next.

    Raises:
        InputError: the name is none, or a file is there already; then nothing was made.
    """
    from nvoi.cli.template import build_config  # noqa: PLC0415 - pulls in cryptography
    from nvoi.config import credentials  # noqa: PLC0415 - same

    directory: Path = arguments.dir
    check_directory(directory)
    text = build_config(arguments.name, arguments.provider)
    key_file, config_file = directory / credentials.KEY_FILE, directory / credentials.CONFIG_FILE
    key = credentials.generate_key()
    credentials.create_config(config_file, text, key, key_file=key_file, checkout=directory)
    sys.stdout.write(describe(config_file, key_file))
    for name in credentials.KEY_VARIABLES:
        if environ.get(name, "").strip():
            sys.stdout.write(f"Note: ${name} is set, and nvoi uses it before {key_file}.\n")
    return 0


def check_directory(directory: Path) -> None:
    """Makes sure that nothing is there yet.

    Raises:
        UsageError: a file is, or the directory is not.
    """
    from nvoi.config.credentials import check_ignore_files  # noqa: PLC0415 - as above

    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}")
    for folder in (directory, directory / "config"):
        for name in ("deploy.enc", "deploy.key"):
            if os.path.lexists(folder / name):
                raise UsageError(
                    f"{folder / name} exists, and is not overwritten",
                    hint="nvoi credentials edit changes a config; move the file to start anew",
                )
    check_ignore_files(directory, directory)


def describe(config_file: Path, key_file: Path) -> str:
    """What was made, and what to do next."""
    return textwrap.dedent(f"""\
        Made {config_file} and {key_file}.
        Commit the config. Keep the key: without it the config cannot be read, and whoever has
        it can read everything. It is in .gitignore and .dockerignore; a CI gets it as the secret
        DEPLOY_KEY.

        Next:
          nvoi credentials edit    to fill in the config
          nvoi deploy --dry-run    to see what would be done
          nvoi deploy
        """)
