"""What `nvoi deploy` and `nvoi delete` share: from options to an operation and its stream."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nvoi import ci
from nvoi.cli.options import find_home, open_console
from nvoi.cli.signals import interruptible
from nvoi.config.credentials import DeployKey, find_key, get_config_file, get_key
from nvoi.config.loader import is_plain, load_file
from nvoi.config.schema import Config
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import UsageError
from nvoi.log import masking
from nvoi.log.handler import BUDGET_SECONDS
from nvoi.log.levels import Logger
from nvoi.log.stream import CallbackStream
from nvoi.naming import check_branch
from nvoi.operation import Report
from nvoi.targets.step import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """A config with the key that opened it, if it has one."""

    config: Config
    key: DeployKey | None
    file: Path


def run(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    *,
    command: str,
    act: Callable[[Request, Report], None],
    plan: Callable[[Request], None],
    confirm: Callable[[Settings], bool] | None = None,
) -> int:
    """Load the config and carry ``act`` out under its callback stream, or show ``plan``.

    ``command`` is what the dashboard is told that the run does.
    """
    logger = open_console(options, environ)
    with interruptible() as signals:
        settings = load_settings(options, environ, logger)
        request = build_request(options, environ, settings)
        if options.dry_run:
            plan(request)
            return 0
        if confirm is not None and not confirm(settings):
            logger.info("Nothing was deleted")
            return 1
        stream = build_stream(
            settings,
            request,
            environ,
            logger,
            command=command,
            verbose=options.verbose,
            budget=options.callback_budget,
        )
        act(request, Report(stream, verbose=options.verbose, settle=signals.settle))
    return 0


def ask(
    options: argparse.Namespace, environ: Mapping[str, str], question: Callable[[Request], T]
) -> T:
    """The answer to ``question``, which no dashboard is told of."""
    logger = open_console(options, environ)
    with interruptible():
        return question(build_request(options, environ, load_settings(options, environ, logger)))


def build_request(
    options: argparse.Namespace, environ: Mapping[str, str], settings: Settings
) -> Request:
    """What the options ask for. A command that lacks one of them asks for the usual."""
    dockerfile: Path | None = getattr(options, "dockerfile_path", None)
    return Request(
        config=settings.config,
        directory=options.dir.absolute(),
        home=find_home(environ),
        deploy_id=ci.choose_deploy_id(environ),
        environ=environ,
        key_file=settings.key.path if settings.key else None,
        delete_volumes=getattr(options, "delete_volumes", False),
        lock_wait=getattr(options, "lock_wait", 0.0),
        dockerfile=dockerfile.absolute() if dockerfile else None,
        with_cluster=getattr(options, "cluster", False),
        stamp=getattr(options, "stamp", None),
    )


def load_settings(
    options: argparse.Namespace, environ: Mapping[str, str], logger: Logger
) -> Settings:
    """The checked config that the options name, for its branch; its secrets are masked.

    Raises:
        InputError: the folder, the config or its key cannot be used.
    """
    if not options.dir.is_dir():
        raise UsageError(f"--dir {options.dir} is no folder", hint="name the app's checkout")
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
    branch = getattr(options, "branch", None)
    if branch is not None:
        config = config.for_branch(check_branch(branch))
    return Settings(config, key, file)


def build_stream(
    settings: Settings,
    request: Request,
    environ: Mapping[str, str],
    logger: Logger,
    *,
    command: str,
    verbose: bool,
    budget: float,
) -> CallbackStream | None:
    """The run's stream, not yet started, or None where the config has no ``callback_url``."""
    if not settings.config.callback_url or settings.key is None:
        return None
    return CallbackStream(
        logger,
        settings.config.callback_url,
        settings.key.value.reveal(),
        request.deploy_id,
        context=ci.find_context(environ, request.directory).as_payload(),
        level=logging.DEBUG if verbose else logging.INFO,
        # No app has this name: a dot is not allowed in one.
        undelivered=request.home / "undelivered.d",
        budget=budget,
        app=settings.config.application.name,
        command=command,
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """``--branch``, ``--dry-run`` and ``--callback-budget``."""
    add_branch_option(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what each step would change; touch nothing and call nobody",
    )
    parser.add_argument(
        "--callback-budget",
        type=parse_seconds,
        default=BUDGET_SECONDS,
        metavar="SECONDS",
        help="how long the end of the run may wait for the dashboard (default: %(default)g)",
    )


def add_branch_option(parser: argparse.ArgumentParser) -> None:
    """``--branch``."""
    parser.add_argument(
        "-b",
        "--branch",
        metavar="NAME",
        help="a deploy of its own for a branch: NAME is part of the app's name and subdomains",
    )


def add_lock_option(parser: argparse.ArgumentParser) -> None:
    """``--lock-wait``."""
    parser.add_argument(
        "--lock-wait",
        type=parse_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait for another run on the same servers to end (default: not at all)",
    )


def parse_seconds(text: str) -> float:
    """A number of seconds from 0, for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
