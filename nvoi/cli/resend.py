"""``nvoi resend``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.cli.options import add_command, add_log_options, add_place_options

if TYPE_CHECKING:
    from nvoi.config.credentials import DeployKey
    from nvoi.resend import Undelivered

EXAMPLES = """\
examples:
  nvoi resend ~/.local/state/nvoi/undelivered.d/1234-20260115103000-x7f2.jsonl

exit codes: 0 all is delivered and the file removed, 1 something is still to be sent
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers,
        "resend",
        (
            "Send what a run could not deliver to its dashboard: in order, with its times, "
            "and nothing twice that was acknowledged."
        ),
        EXAMPLES,
        run,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that the run named")
    add_place_options(parser)
    add_log_options(parser)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Send the file's requests."""
    from nvoi.cli.options import open_console  # noqa: PLC0415 - with the log
    from nvoi.cli.signals import interruptible  # noqa: PLC0415
    from nvoi.config.credentials import get_key  # noqa: PLC0415
    from nvoi.resend import read_undelivered, resend  # noqa: PLC0415

    open_console(options, environ)
    with interruptible():
        undelivered = read_undelivered(options.file)
        key = get_key(
            options.dir, environ=environ, config_file=options.config, key_file=options.key_file
        )
        if undelivered.has_credentials:
            undelivered.callback_url = get_callback_url(undelivered, options, environ, key)
        resend(undelivered, key.value.reveal())
    return 0


def get_callback_url(
    undelivered: Undelivered,
    options: argparse.Namespace,
    environ: Mapping[str, str],
    key: DeployKey,
) -> str:
    """The callback URL with its user and password, which only the config has.

    Raises:
        InputError: there is no config, or its callback URL is another one.
    """
    from nvoi.config.credentials import get_config_file  # noqa: PLC0415 - with the log
    from nvoi.config.loader import load_file  # noqa: PLC0415
    from nvoi.config.sensitive import collect_secrets  # noqa: PLC0415
    from nvoi.errors import UsageError  # noqa: PLC0415
    from nvoi.log.masking import add_secrets  # noqa: PLC0415
    from nvoi.network import strip_auth  # noqa: PLC0415

    config = load_file(get_config_file(options.dir, options.config), key=key, environ=environ)
    add_secrets(*collect_secrets(config))
    url = config.callback_url or ""
    if strip_auth(url) != undelivered.callback_url:
        raise UsageError(
            f"{undelivered.path} is for {undelivered.callback_url} with a user and password, "
            "which the config's callback_url is not",
            hint="name the config that the run had with --config",
        )
    return url
