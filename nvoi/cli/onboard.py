"""``nvoi onboard``: makes or changes a config by questions and answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from nvoi.cli.options import add_command, add_place_options
from nvoi.errors import UsageError

EXAMPLES = """\
examples:
  nvoi onboard               ask about the app in this folder, and make deploy.enc
  nvoi onboard -d ../app     another checkout

It asks at a terminal, and writes nothing before you save. Ctrl-C leaves nothing behind. A
deploy.enc that is there is offered for editing. Without a terminal: nvoi config init.

exit codes: 0 saved or left as it was, 1 cancelled, 2 bad usage or config,
129 SIGHUP, 130 Ctrl-C, 131 SIGQUIT, 143 SIGTERM
"""
NO_TERMINAL_HINT = (
    "without one, `nvoi config init --name NAME` makes a config, and `nvoi credentials edit` or "
    "`nvoi credentials set` changes it"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = add_command(
        subparsers, "onboard", "Make a config that can be deployed, by questions.", EXAMPLES, run
    )
    add_place_options(parser)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask, and write the config.

    Raises:
        InputError: there is no terminal, or what is there cannot be read or written.
    """
    # A stream that was closed before nvoi began is None.
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageError("nvoi onboard asks questions: it needs a terminal", hint=NO_TERMINAL_HINT)
    from nvoi.cli import advice, founding  # noqa: PLC0415 - pull in cryptography
    from nvoi.cli.signals import interruptible  # noqa: PLC0415 - only with a terminal
    from nvoi.onboarding.terminal import open_prompts  # noqa: PLC0415 - pulls in questionary

    with interruptible() as signals:
        place = founding.find_place(options, environ)
        prompts = open_prompts(environ)
        if place.key.warning:
            prompts.say(f"! {place.key.warning}")
        if place.answers and not founding.wants_change(prompts, place):
            prompts.say(f"{place.config_file} is as it was.")
            return 0
        text = founding.hold(options, environ, prompts, place)
        if text is None:
            prompts.say("Nothing was saved.")
            return 1
        founding.save(place, text, prompts, signals)
        advice.tell_next(prompts, options, place, text)
    return 0
