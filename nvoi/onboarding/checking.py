"""Whether a config can be saved: the config's own checks, then those of its target."""

from __future__ import annotations

from pathlib import Path

from nvoi import cloudflare
from nvoi.config.loader import load
from nvoi.config.schema import Application, ComputeProvider, Config
from nvoi.errors import ConfigError, UsageError
from nvoi.files import SIZE_LIMIT
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.document import FILENAME, build_document, change_document
from nvoi.onboarding.sections import find_section
from nvoi.targets import get_target
from nvoi.targets.step import Request

# Encrypted it is some bytes longer.
LONGEST = SIZE_LIMIT - 64


def is_deployable(provider: ComputeProvider) -> bool:
    """Whether this version of nvoi can deploy there."""
    try:
        get_target(Config(Application("app", provider)))
    except ConfigError:
        return False
    return True


def compose(text: str | None, before: Answers | None, answers: Answers, directory: Path) -> str:
    """The config to be saved: a new one, or ``text`` with what was changed since ``before``.

    Raises:
        InputError: it has faults, or the target cannot do what it asks for.
    """
    if text is None or before is None:
        text = build_document(answers)
    else:
        text = change_document(text, before, answers)
    if len(text.encode()) > LONGEST:
        raise UsageError("all that is in the config makes more than 1 MiB, which cannot be read")
    config = load(text, filename=FILENAME, environ=None)
    if is_deployable(config.application.compute_provider):
        check_target(config, directory)
    return text


def check_target(config: Config, directory: Path) -> None:
    """Whether the config's target can do what it asks for, now or with what comes later.

    A Dockerfile may still be written, and a domain is one for a version that serves it.

    Raises:
        ConfigError: it cannot.
    """
    request = Request(config, directory, home=directory, deploy_id="onboard")
    later = cloudflare.find_faults(config.application)
    try:
        get_target(config).check(request)
    except UsageError:
        return
    except ConfigError as error:
        faults = [fault for fault in error.faults if fault not in later]
        if faults:
            raise ConfigError(error.filename, faults, hint=error.hint) from None


def describe_faults(error: ConfigError) -> str:
    """Each fault with the section of the interview that can mend it."""
    lines = []
    for fault in error.faults:
        section = find_section(fault.path)
        where = f"under {section.title}" if section else "by nvoi credentials edit"
        lines.append(f"! {fault.path}: {fault.message} (change it {where})")
    return "\n".join(lines)
