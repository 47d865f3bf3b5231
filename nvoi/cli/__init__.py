"""The command line: argparse in, exit code out.

The modules here are the only readers of the environment and the only catchers of
:class:`~nvoi.errors.NvoiError`. A command's own module is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nvoi.version import __version__

#: Each command's module, and its line in the help.
COMMANDS = {
    "demo": "see two deploys live in a browser, on this machine",
    "onboard": "make a config by answering questions",
    "deploy": "deploy the app",
    "delete": "take the app down",
    "rollback": "run a kept release again",
    "releases": "list the releases that are kept",
    "unlock": "end the run that holds the lock of the servers",
    "resend": "send what a dashboard could not take earlier",
    "config": "make a config and its key",
    "credentials": "show or change the encrypted config",
    "dashboard": "receive deploys and show them live in a browser",
    "completion": "print a script that completes commands in a shell",
}

VERSION = f"nvoi {__version__}"

EXAMPLES = """\
examples:
  nvoi config init --name myapp    make deploy.enc and its key
  nvoi credentials edit            write down what the app is
  nvoi deploy                      deploy it
  nvoi delete                      take it down
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, ``sys.argv`` where left out.

    Returns:
        0 done; 1 the work failed; 2 bad usage or config; 129 SIGHUP; 130 Ctrl-C;
        131 SIGQUIT; 143 SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # As the parser would, without the time that it takes to be made.
        print(VERSION)  # noqa: T201 - what the command is for
        return _leave(0)
    try:
        options = build_parser(arguments).parse_args(arguments)
        from nvoi.cli.outcome import run_command  # noqa: PLC0415 - `--version` needs nothing of it

        return _leave(run_command(options, os.environ))
    except SystemExit as stop:
        return _leave(stop.code if isinstance(stop.code, int) else 2)
    except KeyboardInterrupt:
        # While the command was still being imported.
        return _leave(130)


def build_parser(arguments: Sequence[str], *, complete: bool = False) -> argparse.ArgumentParser:
    """The parser, with the options of the command in ``arguments``, or of all."""
    parser = argparse.ArgumentParser(
        prog="nvoi",
        description="Deploy an app from a checkout to running servers, and watch it live.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        if complete or name in arguments:
            import importlib  # noqa: PLC0415 - `--version` needs nothing of it

            importlib.import_module(f"nvoi.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def _leave(code: int) -> int:
    """Flush what was printed; a reader or terminal that has gone is no fault of ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            # What is still buffered would fail again, loudly, when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or 1
    return code
