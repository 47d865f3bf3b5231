"""What the options and the environment name: console, home folder, config, key."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nvoi.cli.job import find_formatter
from nvoi.cli.terminal import LinkFormatter, LiveHandler, shows_links
from nvoi.config.credentials import find_key, get_config_file, get_key
from nvoi.config.fields import RejectedError, parse_application_name
from nvoi.config.loader import is_plain, load_file
from nvoi.config.schema import Config
from nvoi.config.sealing import DeployKey
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import UsageError
from nvoi.log import levels, masking
from nvoi.log.console import ConsoleFormatter, ConsoleHandler, build_handler, choose_palette, set_up


def open_console(options: argparse.Namespace, environ: Mapping[str, str]) -> levels.Logger:
    """The logger ``nvoi`` with standard output behind it, as the options ask for."""
    if environ.get("NVOI_DEBUG") and not options.quiet:
        options.verbose = True
    level = logging.INFO
    if options.verbose:
        level = logging.DEBUG
    elif options.quiet:
        level = logging.WARNING
    handler = build_handler(sys.stdout, environ, level=level, as_json=options.log_format == "json")
    if options.log_format == "text":
        handler = dress(handler, environ)
    return set_up(handler)


def dress(handler: ConsoleHandler, environ: Mapping[str, str]) -> ConsoleHandler:
    """The console's handler for people, as its terminal or the CI's page can show it."""
    palette = choose_palette(sys.stdout, environ)
    if formatter := find_formatter(environ, palette):
        handler.setFormatter(formatter)
    elif sys.stdout.isatty() and environ.get("TERM") != "dumb":
        live = LiveHandler(sys.stdout)
        live.setLevel(handler.level)
        live.setFormatter((LinkFormatter if shows_links(environ) else ConsoleFormatter)(palette))
        return live
    return handler


def find_home(environ: Mapping[str, str]) -> Path:
    """The folder of nvoi's own state: ``$NVOI_HOME``, else ``$XDG_STATE_HOME/nvoi``.

    The XDG Base Directory Specification has ``~/.local/state`` where the variable is unset
    or no absolute path.
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


@dataclass(frozen=True)
class Inputs:
    """A config with the file it is in, and the key that opened it, if it has one."""

    config: Config
    file: Path
    key: DeployKey | None


def read_name(text: str | None) -> str:
    """The app's name that ``--name`` has; "" without the option."""
    try:
        return parse_application_name(text) if text is not None else ""
    except RejectedError as error:
        raise UsageError(f"--name {error}") from None


def check_folder(path: Path) -> None:
    """Make sure that ``--dir`` is one that has a name; the current folder may have been removed."""
    try:
        is_folder = path.absolute().is_dir()
    except OSError:
        is_folder = False
    if not is_folder:
        raise UsageError(f"--dir {path} is no folder", hint="name the app's checkout")


def load_inputs(
    options: argparse.Namespace, environ: Mapping[str, str], logger: levels.Logger
) -> Inputs:
    """The checked config that the options name, and its key; the secrets of both are masked."""
    check_folder(options.dir)
    file = get_config_file(options.dir, options.config)
    # A plain config needs a key only to sign with.
    choose_key = find_key if is_plain(file) else get_key
    key = choose_key(
        directory=options.dir, config_file=file, key_file=options.key_file, environ=environ
    )
    if key is not None:
        masking.add_secrets(key.value.reveal())
        if key.warning:
            logger.warning("%s", key.warning)
    config = load_file(file, key=key, environ=environ)
    masking.add_secrets(*collect_secrets(config))
    if config.callback_url and key is None:
        raise UsageError(
            f"{file} has a callback_url, but there is no key to sign with",
            hint="set DEPLOY_KEY or name a file with --key-file",
        )
    return Inputs(config, file, key)


def ask_name(question: str, name: str) -> bool:
    """Ask at the terminal; anything but the name is no."""
    return ask(f"{question} Type {name} to go on: ") == name.encode()


def ask_yes(question: str) -> bool:
    """Ask at the terminal; anything but yes is no."""
    return ask(f"{question} [y/N] ").lower() in {b"y", b"yes"}


def ask(prompt: str) -> bytes:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.buffer.readline().strip()
