"""What ``nvoi onboard`` says once a config is saved."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nvoi.cli.founding import Place
from nvoi.config.loader import load
from nvoi.config.schema import Config, SSHProvider
from nvoi.onboarding.dashboards import DEFAULT_URL
from nvoi.onboarding.document import is_deployable
from nvoi.onboarding.place import NOT_YET
from nvoi.onboarding.prompts import Prompts


def tell_next(prompts: Prompts, options: argparse.Namespace, place: Place, text: str) -> None:
    """Says what was saved, and what to do with it."""
    config = load(text, filename=str(place.config_file), environ=None)
    application = config.application
    prompts.say(f"\nSaved {place.config_file}, encrypted: commit it. {tell_key(place)}")
    if isinstance(application.compute_provider, SSHProvider) and application.ssh_keys:
        prompts.say("\nEach server needs this line in ~/.ssh/authorized_keys of its user:")
        # Not folded: it is to be copied.
        prompts.show(application.ssh_keys.public_key)
    prompts.say("\nNext:")
    for line in list_commands(options, config):
        prompts.say(f"  {line}")
    if not is_deployable(application.compute_provider):
        prompts.say(f"\n{NOT_YET}")


def tell_key(place: Place) -> str:
    """Where the key is, and who has to have it."""
    ci = "A CI gets the key as the secret DEPLOY_KEY."
    if place.key_file is None:
        return f"Its key is that of {place.key.source}. {ci}"
    return (
        f"Its key is in {place.key_file}, which is in .gitignore and .dockerignore. Keep it: "
        f"without it the config cannot be read, and whoever has it can read everything. {ci}"
    )


def list_commands(options: argparse.Namespace, config: Config) -> list[str]:
    """The commands that come next, each with what it is for."""
    place = "".join(
        f" {flag} {shlex.quote(str(value))}"
        for flag, value, usual in (
            ("--dir", options.dir, Path()),
            ("--config", options.config, None),
            ("--key-file", options.key_file, None),
        )
        if value != usual
    )
    commands = [
        (f"nvoi deploy --dry-run{place}", "to see what would be done"),
        (f"nvoi deploy{place}", "to do it"),
        (f"nvoi onboard{place}", "to change the answers; nvoi credentials edit has every key"),
    ]
    if config.callback_url == DEFAULT_URL:
        commands.insert(0, (f"nvoi dashboard{place}", "in another terminal, to follow each deploy"))
    width = max(len(command) for command, _ in commands)
    return [f"{command:{width}}  {purpose}" for command, purpose in commands]
