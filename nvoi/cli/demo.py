"""``nvoi demo``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from nvoi.cli.options import add_command

EXAMPLES = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    add_command(subparsers, "demo", "Runs the demo.", EXAMPLES, run)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Runs the demo."""
    raise NotImplementedError
