"""The files behind ``nvoi onboard``: what is there, and what is saved."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nvoi.cli.signals import Signals
from nvoi.config.credentials import (
    CONFIG_FILE,
    KEY_FILE,
    DeployKey,
    EncryptedConfig,
    check_ignore_files,
    create_config,
    find_key,
    generate_key,
    get_key,
)
from nvoi.config.loader import is_plain, load
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import ChangedError, ConfigError, InputError, UsageError
from nvoi.log import masking
from nvoi.onboarding.answers import Answers, read_answers
from nvoi.onboarding.checkout import read_checkout
from nvoi.onboarding.dashboards import call_dashboard
from nvoi.onboarding.document import compose, is_deployable
from nvoi.onboarding.prompts import Choice, Interview, Prompts
from nvoi.onboarding.wizard import hold_interview
from nvoi.signals import ENDING


@dataclass(frozen=True)
class Place:
    """Where the config is or will be, what opens it, and what it says so far.

    Args:
        checkout: the app's.
        config_file: the encrypted config.
        key: what opens it.
        key_file: where a new key is to be written; None where the key is kept already.
        text: what the file says; None where there is none yet.
        answers: what that says to the questions; None as well.
    """

    checkout: Path
    config_file: Path
    key: DeployKey
    key_file: Path | None = None
    text: str | None = None
    answers: Answers | None = None


def find_place(options: argparse.Namespace, environ: Mapping[str, str]) -> Place:
    """The config and key that the command line means; what they hold is masked from now on.

    Raises:
        InputError: one of them is there and cannot be read, or could not be written.
    """
    if not is_folder(options.dir):
        raise UsageError(f"--dir {options.dir} is no folder", hint="name the app's checkout")
    config_file = choose_file(options.dir, options.config)
    if is_plain(config_file):
        raise UsageError(f"{config_file} is not encrypted", hint="edit the file as it is")
    if config_file.exists():
        place = open_place(options, environ, config_file)
    else:
        place = found_place(options, environ, config_file)
    masking.add_secrets(place.key.value.reveal())
    return place


def is_folder(path: Path) -> bool:
    """Whether ``path`` is one that has a name; the current folder may have been removed."""
    try:
        return path.absolute().is_dir()
    except OSError:
        return False


def choose_file(directory: Path, explicit: Path | None) -> Path:
    """The config that is there, else where a new one goes."""
    if explicit is not None:
        return explicit
    places = (directory / CONFIG_FILE, directory / "config" / CONFIG_FILE)
    return next((place for place in places if place.exists()), places[0])


def open_place(options: argparse.Namespace, environ: Mapping[str, str], config_file: Path) -> Place:
    """A config that is there."""
    key = get_key(options.dir, environ=environ, config_file=config_file, key_file=options.key_file)
    filename = str(config_file)
    with EncryptedConfig(config_file, key).held() as held:
        key, text = held.key, held.read()
    try:
        config = load(text, filename=filename, environ=None)
    except ConfigError as error:
        hint = "correct it with nvoi credentials edit first"
        raise ConfigError(filename, error.faults, hint=hint) from None
    masking.add_secrets(*collect_secrets(config))
    return Place(options.dir, config_file, key, text=text, answers=read_answers(config))


def found_place(
    options: argparse.Namespace, environ: Mapping[str, str], config_file: Path
) -> Place:
    """A config that is to be made, with the key that there is, else a new one."""
    folder = config_file.parent
    if os.path.lexists(config_file):
        raise UsageError(f"{config_file} is a link to nothing")
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise UsageError(f"{folder} is no folder that can be written to")
    key = find_key(options.dir, environ=environ, config_file=config_file, key_file=options.key_file)
    check_ignore_files(folder, options.dir)
    if key is not None:
        return Place(options.dir, config_file, key)
    key_file = folder / KEY_FILE
    if os.path.lexists(key_file):
        raise UsageError(f"{key_file} is a link to nothing")
    return Place(options.dir, config_file, DeployKey(generate_key(), str(key_file)), key_file)


def wants_change(prompts: Prompts, place: Place) -> bool:
    """Whether a config that is there is to be changed."""
    choices = (Choice("change it", value=True), Choice("leave it as it is", value=False))
    return prompts.choose(f"{place.config_file} is there:", choices, default=True)


def hold(
    options: argparse.Namespace, environ: Mapping[str, str], prompts: Prompts, place: Place
) -> str | None:
    """The text of the config that the user wants saved; None where it is cancelled."""
    directory = options.dir.absolute()
    interview = Interview(
        prompts=prompts,
        checkout=read_checkout(directory),
        original=place.answers,
        call_dashboard=lambda url: call_dashboard(url, place.key.value, environ),
        is_deployable=is_deployable,
    )

    def build(answers: Answers) -> str:
        return compose(place.text, place.answers, answers, directory)

    answers = hold_interview(interview, build)
    return build(answers) if answers else None


def save(place: Place, text: str, prompts: Prompts, signals: Signals) -> None:
    """Writes what there is to write; where that fails, asks whether to try again.

    Raises:
        InputError: it cannot be written, or others changed the config meanwhile.
    """
    while True:
        with postponed_signals():
            try:
                write(place, text)
            except ChangedError as error:
                error.hint = "nvoi onboard again shows what it says"
                raise
            except InputError as error:
                trouble = error
            else:
                signals.settle()
                return
        prompts.say(f"! {trouble}")
        if not prompts.confirm("Try to save it once more?", default=True):
            raise trouble


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Inside, no signal comes between files that belong together; it counts afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write(place: Place, text: str) -> None:
    """Writes the config, and what a new one needs.

    Raises:
        InputError: it cannot be written.
    """
    if place.text is None:
        known = place.key.path if place.key.path and place.key.path.name == KEY_FILE else None
        create_config(
            place.config_file,
            text,
            place.key.value,
            key_file=place.key_file or known,
            checkout=place.checkout,
            is_new_key=place.key_file is not None,
        )
    elif text != place.text:
        with EncryptedConfig(place.config_file, place.key).held() as held:
            held.change(place.text, text)
