"""The command line: argparse in, exit code out.

``commands`` has the table of commands and their options, and imports nothing of what they do:
:mod:`nvoi.cli.exits` imports the one module that was asked for. The modules here are the only
readers of the environment and the only catchers of :class:`~nvoi.errors.NvoiError`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nvoi.version import __version__

VERSION = f"nvoi {__version__}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, ``sys.argv`` where left out.

    Returns:
        0 done; 1 the work failed; 2 bad usage or config; 129 SIGHUP; 130 Ctrl-C;
        131 SIGQUIT; 143 SIGTERM.
    """
    open_missing_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # As the parser would, without the time that it takes to be made.
        print(VERSION)  # noqa: T201 - what the command is for
        return flush_output(0)
    try:
        from nvoi.cli.commands import build_parser  # noqa: PLC0415 - adds a quarter to --version

        options = build_parser(arguments).parse_args(arguments)
        from nvoi.cli.exits import run_command  # noqa: PLC0415 - --help would take thrice the time

        return flush_output(run_command(options, os.environ))
    except SystemExit as stop:
        return flush_output(stop.code if isinstance(stop.code, int) else 2)
    except KeyboardInterrupt:
        # While the command was still being imported.
        return flush_output(130)


def open_missing_streams() -> None:
    """Open the null device where a stream was closed before nvoi began.

    Its number would be that of the next file that is opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - pathlib is slow to import


def flush_output(code: int) -> int:
    """Flush what was printed; a reader or terminal that has gone is no fault of ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is still buffered would fail again, loudly, when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or 1
    return code
