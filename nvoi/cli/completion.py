"""``nvoi completion``: what shtab makes of the parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from nvoi.cli import build_parser
from nvoi.cli.options import add_command
from nvoi.errors import UsageError

SHELLS = ("bash", "zsh", "tcsh")

EXAMPLES = """\
examples:
  nvoi completion bash > ~/.local/share/bash-completion/completions/nvoi
  nvoi completion zsh > ~/.zfunc/_nvoi
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "completion",
        "Print a script that completes nvoi's commands and options in a shell.",
        EXAMPLES,
        run,
    )
    parser.add_argument("shell", choices=SHELLS)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:  # noqa: ARG001 - a command's signature
    """Print the script."""
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "shell completion needs the package shtab", hint="pip install 'nvoi[completion]'"
        ) from None
    sys.stdout.write(shtab.complete(build_parser([], complete=True), options.shell) + "\n")
    return 0
