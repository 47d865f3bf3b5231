"""``nvoi onboard``: makes or changes a config by questions and answers, or of what there is."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nvoi.cli.commands import COMMANDS
from nvoi.cli.inputs import check_folder, read_name
from nvoi.config.credentials import (
    EncryptedConfig,
    check_ignore_files,
    create_config,
    find_key,
    get_key,
)
from nvoi.config.loader import is_plain, load
from nvoi.config.schema import Config, SSHProvider
from nvoi.config.sealing import CONFIG_FILE, KEY_FILE, DeployKey, generate_key
from nvoi.config.sensitive import collect_secrets
from nvoi.errors import ChangedError, ConfigError, InputError, NvoiError, UsageError
from nvoi.images.context import find_dockerfile
from nvoi.log import masking
from nvoi.onboarding.adoption import AnswerSource, adopt, begin, build_host_groups
from nvoi.onboarding.answers import Answers, read_answers
from nvoi.onboarding.checkout import read_checkout
from nvoi.onboarding.dashboards import DEFAULT_URL, call_dashboard
from nvoi.onboarding.document import compose
from nvoi.onboarding.prompts import Choice, Interview, Prompts
from nvoi.onboarding.terminal import open_prompts
from nvoi.onboarding.wizard import hold_interview
from nvoi.signals import Signals, interruptible

if TYPE_CHECKING:
    from nvoi.cli.own_dashboard import OwnDashboard

NO_TERMINAL = (
    "At a terminal nvoi onboard asks for it. Without one it takes variables from the environment "
    "and from .env, the app's name from --name and servers from --host; `nvoi config init --name "
    "NAME` makes a config that `nvoi credentials edit` or `nvoi credentials set` fills in."
)


Say = Callable[[str], None]


@dataclass(frozen=True)
class Draft:
    """A config that is made or changed: where it goes, what opens it, what it says so far.

    ``key_file`` is where a new key is to be written, None where the key is kept already. ``text``
    and ``answers`` are None where there is no config yet.
    """

    checkout: Path
    config_file: Path
    key: DeployKey
    key_file: Path | None = None
    text: str | None = None
    answers: Answers | None = None


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    with interruptible() as signals:
        source = build_source(options, environ)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return write_unasked(options, environ, source, signals)
        draft = find_draft(options, environ)
        if draft.text is not None and (source.file or source.groups or source.name):
            raise UsageError(
                f"{draft.config_file} is there; --from, --host and --name are for a new config",
                hint="move it away, or change it without them",
            )
        dashboard = find_own_dashboard(draft, environ)
        meeting = Meeting(options, environ, source, draft, dashboard, signals)
        prompts = open_prompts(environ)
        code = 1
        try:
            code = prompts.retrace(lambda: meeting.hold(prompts))
        finally:
            if code != 0 and dashboard:
                dashboard.undo()
        return code


def find_own_dashboard(draft: Draft, environ: Mapping[str, str]) -> OwnDashboard | None:
    """What starts a dashboard for the app; None where its extra or Python's SQLite is missing."""
    (command,) = (command for command in COMMANDS if command.name == "dashboard")
    if not all(importlib.util.find_spec(name) for name in (*command.packages, "_sqlite3")):
        return None
    from nvoi.cli.own_dashboard import OwnDashboard  # noqa: PLC0415 - imports SQLite

    return OwnDashboard(draft.key.value, environ)


@dataclass(frozen=True)
class Meeting:
    """All that is asked from the first question to a config that is saved."""

    options: argparse.Namespace
    environ: Mapping[str, str]
    source: AnswerSource
    draft: Draft
    dashboard: OwnDashboard | None
    signals: Signals

    def hold(self, prompts: Prompts) -> int:
        draft = self.draft
        if draft.key.warning:
            prompts.say(f"! {draft.key.warning}")
        choices = (Choice("change it", value=True), Choice("leave it as it is", value=False))
        question = f"{draft.config_file} is there:"
        if draft.answers and not prompts.choose(question, choices, default=True):
            prompts.say(f"{draft.config_file} is as it was.")
            return 0
        text = self.interview(prompts)
        if text is None:
            prompts.say("Nothing was saved.")
            return 1
        save(draft, text, prompts, self.signals)
        tell_next(prompts.say, prompts.show, self.options, draft, text)
        if self.dashboard and (told := self.dashboard.close()):
            prompts.say(f"\n{told}")
        return 0

    def interview(self, prompts: Prompts) -> str | None:
        """The text of the config that the user wants saved; None where it is cancelled."""
        draft, directory = self.draft, self.draft.checkout.absolute()

        def build(answers: Answers) -> str:
            return compose(draft.text, draft.answers, answers, directory)

        answers = hold_interview(
            Interview(
                prompts=prompts,
                checkout=read_checkout(directory, self.environ),
                original=draft.answers,
                call_dashboard=lambda url: call_dashboard(url, draft.key.value, self.environ),
                start_dashboard=self.dashboard.start if self.dashboard else None,
                environ=self.environ,
            ),
            build,
            partial(begin, source=self.source),
        )
        if answers is None:
            return None
        url = answers.callback_url
        try:
            url = self.dashboard.settle(url, answers.name) if self.dashboard else url
        except NvoiError as error:
            prompts.say(f"! {error}. The app's project there keeps the name that it has.")
        return build(replace(answers, callback_url=url))


def build_source(options: argparse.Namespace, environ: Mapping[str, str]) -> AnswerSource:
    check_folder(options.dir)
    folder = options.dir.absolute()
    file = options.source
    if file is not None and not file.is_absolute() and file.exists():
        # As the shell completes it; else it is one of the checkout's.
        file = file.absolute()
    return AnswerSource(
        folder, file, environ, build_host_groups(options.host or ()), read_name(options.name)
    )


def write_unasked(
    options: argparse.Namespace, environ: Mapping[str, str], source: AnswerSource, signals: Signals
) -> int:
    """Write the config that the checkout describes; a UsageError says what it lacks."""
    draft = find_draft(options, environ)
    if draft.text is not None:
        hint = "nvoi credentials edit or nvoi credentials set changes it"
        raise UsageError(f"{draft.config_file} is there, and nobody can be asked", hint=hint)
    adopted = adopt(source, read_checkout(source.folder, environ))
    for line in adopted.told:
        print_line(line)
    faults = list(adopted.lacking)
    try:
        text = compose(None, None, adopted.answers, source.folder)
    except ConfigError as error:
        faults += [f"{fault.path}: {fault.message}" for fault in error.faults]
    if faults:
        lines = "\n".join(f"  {fault}" for fault in dict.fromkeys(faults))
        raise UsageError(f"no config was written. It lacks:\n{lines}\n{NO_TERMINAL}")
    with signals.hold():
        write(draft, text)
        signals.settle()
    tell_next(print_line, print_line, options, draft, text)
    return 0


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def find_draft(options: argparse.Namespace, environ: Mapping[str, str]) -> Draft:
    """The config and key that the command line means; what they hold is masked from now on."""
    config_file = choose_file(options.dir, options.config)
    if is_plain(config_file):
        raise UsageError(f"{config_file} is not encrypted", hint="edit the file as it is")
    find = open_draft if config_file.exists() else begin_draft
    draft = find(options, environ, config_file)
    masking.add_secrets(draft.key.value.reveal())
    return draft


def choose_file(directory: Path, explicit: Path | None) -> Path:
    """The config that is there, else where a new one goes."""
    if explicit is not None:
        return explicit
    places = (directory / CONFIG_FILE, directory / "config" / CONFIG_FILE)
    return next((place for place in places if place.exists()), places[0])


def open_draft(options: argparse.Namespace, environ: Mapping[str, str], config_file: Path) -> Draft:
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
    return Draft(options.dir, config_file, key, text=text, answers=read_answers(config))


def begin_draft(
    options: argparse.Namespace, environ: Mapping[str, str], config_file: Path
) -> Draft:
    """A config that is to be made, with the key that there is, else a new one."""
    folder = config_file.parent
    if os.path.lexists(config_file):
        raise UsageError(f"{config_file} is a link to nothing")
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise UsageError(f"{folder} is no folder that can be written to")
    key = find_key(options.dir, environ=environ, config_file=config_file, key_file=options.key_file)
    check_ignore_files(folder, options.dir)
    if key is not None:
        return Draft(options.dir, config_file, key)
    key_file = folder / KEY_FILE
    if os.path.lexists(key_file):
        raise UsageError(f"{key_file} is a link to nothing")
    return Draft(options.dir, config_file, DeployKey(generate_key(), str(key_file)), key_file)


def save(draft: Draft, text: str, prompts: Prompts, signals: Signals) -> None:
    """Write what there is to write; where that fails, ask whether to try again."""
    while True:
        # No signal comes between files that belong together; it counts afterwards.
        with signals.hold():
            try:
                write(draft, text)
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


def write(draft: Draft, text: str) -> None:
    if draft.text is None:
        known = draft.key.path if draft.key.path and draft.key.path.name == KEY_FILE else None
        create_config(
            draft.config_file,
            text,
            draft.key.value,
            key_file=draft.key_file or known,
            checkout=draft.checkout,
            is_new_key=draft.key_file is not None,
        )
    elif text != draft.text:
        with EncryptedConfig(draft.config_file, draft.key).held() as held:
            held.change(draft.text, text)


def tell_next(say: Say, show: Say, options: argparse.Namespace, draft: Draft, text: str) -> None:
    """What was saved, and what comes next; ``show`` folds no line, as some are to be copied."""
    config = load(text, filename=str(draft.config_file), environ=None)
    application = config.application
    say(f"\nSaved {draft.config_file}, encrypted: commit it. {describe_key(draft)}")
    if isinstance(application.compute_provider, SSHProvider) and application.ssh_keys:
        say("\nEach server needs this line in ~/.ssh/authorized_keys of its user:")
        show(application.ssh_keys.public_key)
    if not application.is_local and any(app.image is None for app in application.app.values()):
        try:
            find_dockerfile(options.dir)
        except UsageError as error:
            say(f"\nThe first deploy needs more: {error}.")
    say("\nNext:")
    for line in list_commands(options, config):
        say(f"  {line}")


def describe_key(draft: Draft) -> str:
    ci = "A CI gets the key as the secret DEPLOY_KEY."
    if draft.key_file is None:
        return f"Its key is that of {draft.key.source}. {ci}"
    return (
        f"Its key is in {draft.key_file}, which is in .gitignore and .dockerignore. Keep it: "
        f"without it the config cannot be read, and whoever has it can read everything. {ci}"
    )


def list_commands(options: argparse.Namespace, config: Config) -> list[str]:
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
