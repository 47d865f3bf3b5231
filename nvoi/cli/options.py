"""Options that commands share, and what they stand for."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from nvoi.cli import COMMANDS
from nvoi.errors import UsageError
from nvoi.log import levels
from nvoi.log.console import build_handler, set_up


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    description: str,
    examples: str,
    run: Callable[[argparse.Namespace, Mapping[str, str]], int],
) -> argparse.ArgumentParser:
    """A command's parser, with its line of the help, its examples and what runs it."""
    parser = subparsers.add_parser(
        name,
        help=COMMANDS[name],
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_place_options(parser: argparse.ArgumentParser, *, inherited: bool = False) -> None:
    """``--config``, ``--dir``, ``--key-file``: where the config is and what opens it.

    ``inherited`` is for a command below one that has them too: what was given there stays.
    """
    group = parser.add_argument_group("config")
    group.add_argument(
        "-c",
        "--config",
        type=Path,
        default=argparse.SUPPRESS if inherited else None,
        metavar="FILE",
        help="the config: encrypted, or plain as *.yml (default: deploy.enc in DIR or DIR/config)",
    )
    group.add_argument(
        "-d",
        "--dir",
        type=Path,
        default=argparse.SUPPRESS if inherited else Path(),
        metavar="DIR",
        help="the checkout (default: this folder)",
    )
    group.add_argument(
        "--key-file",
        type=Path,
        default=argparse.SUPPRESS if inherited else None,
        metavar="FILE",
        help="the key (default: $NVOI_MASTER_KEY, $DEPLOY_KEY, deploy.key beside the config)",
    )


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """``--quiet``, ``--verbose``, ``--log-format``."""
    group = parser.add_argument_group("output")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    volume.add_argument(
        "-v", "--verbose", action="store_true", help="debug lines and tracebacks too ($NVOI_DEBUG)"
    )
    group.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="text for people, or one JSON object a line (default: text)",
    )


def open_console(options: argparse.Namespace, environ: Mapping[str, str]) -> levels.Logger:
    """The logger ``nvoi`` with standard output behind it, as the options ask for."""
    if environ.get("NVOI_DEBUG") and not options.quiet:
        options.verbose = True
    level = logging.INFO
    if options.verbose:
        level = logging.DEBUG
    elif options.quiet:
        level = logging.WARNING
    return set_up(
        build_handler(sys.stdout, environ, level=level, as_json=options.log_format == "json")
    )


def find_home(environ: Mapping[str, str]) -> Path:
    """The folder of nvoi's own state: ``$NVOI_HOME``, else ``$XDG_STATE_HOME/nvoi``.

    The XDG Base Directory Specification has ``~/.local/state`` where the variable is unset
    or no absolute path.

    Raises:
        UsageError: it is in the user's home folder, and there is none.
    """
    try:
        if environ.get("NVOI_HOME"):
            return Path(environ["NVOI_HOME"]).expanduser().absolute()
        state = Path(environ.get("XDG_STATE_HOME") or "")
        return (state if state.is_absolute() else Path.home() / ".local" / "state") / "nvoi"
    except RuntimeError:
        raise UsageError(
            "this user has no home folder for nvoi's state",
            hint="set NVOI_HOME to an absolute path, or HOME",
        ) from None
