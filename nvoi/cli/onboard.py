"""``nvoi onboard``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from nvoi.cli.options import add_command

EXAMPLES = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    add_command(subparsers, "onboard", "Asks, and writes the config.", EXAMPLES, run)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Asks, and writes the config."""
    raise NotImplementedError
