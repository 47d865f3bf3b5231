"""``nvoi completion``: what shtab makes of the parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import shtab

from nvoi.cli.commands import build_parser


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:  # noqa: ARG001 - as all commands have it
    sys.stdout.write(shtab.complete(build_parser([], complete=True), options.shell) + "\n")
    return 0
