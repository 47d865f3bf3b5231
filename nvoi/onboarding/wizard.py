"""The interview: every section in turn, then the summary until it is saved or left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from nvoi.config.fields import ENV_NAME, ENV_RULE, RejectedError, parse_application_name
from nvoi.errors import ConfigError, InputError
from nvoi.onboarding import summary
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.dashboards import ask_streaming
from nvoi.onboarding.databases import ask_database
from nvoi.onboarding.layout import lay_out
from nvoi.onboarding.place import ask_domains, ask_place
from nvoi.onboarding.prompts import (
    Choice,
    Interview,
    Prompts,
    ask,
    ask_blank,
    ask_secret_value,
    ask_value,
)
from nvoi.onboarding.services import ask_services
from nvoi.secret import Secret

SAVE, RESTART, CANCEL = "save", "restart", "cancel"
ABOUT_VARIABLES = (
    "Every service gets them. Secrets are masked wherever nvoi prints or sends anything."
)
ON_CHANGE = "Give a name that is there to change or remove it."
ANOTHER_NAME = "Another name is another app: what runs under the present one goes on running."


@dataclass(frozen=True)
class Section:
    """A part of the interview."""

    title: str
    ask: Callable[[Interview, Answers], Answers]
    describe: Callable[[Answers], list[str]]
    paths: tuple[str, ...]


def ask_name(interview: Interview, answers: Answers) -> Answers:
    if interview.original:
        interview.prompts.say(f"  {ANOTHER_NAME}")
    default = answers.name or interview.checkout.name
    name = ask(interview.prompts, "Application name:", parse_application_name, default)
    return replace(answers, name=name)


def ask_variables(interview: Interview, answers: Answers) -> Answers:
    prompts = interview.prompts
    known = answers.env or answers.secrets
    prompts.say(f"  {ABOUT_VARIABLES}{f' {ON_CHANGE}' if known else ''}")
    env = dict(answers.env)
    secrets = dict(answers.secrets)
    while name := ask_env_name(prompts, "Variable (blank: no more):", env, secrets):
        if name in env and not wants_change(prompts, name):
            del env[name]
        else:
            env[name] = ask_value(prompts, f"Value of {name}:", env.get(name, ""))
    while name := ask_env_name(prompts, "Secret (blank: no more):", secrets, env):
        if name in secrets and not wants_change(prompts, name):
            del secrets[name]
        else:
            secrets[name] = Secret(ask_secret_value(prompts, f"Value of {name}:"))
    return replace(answers, env=MappingProxyType(env), secrets=MappingProxyType(secrets))


def ask_env_name(
    prompts: Prompts,
    message: str,
    known: Mapping[str, str | Secret],
    others: Mapping[str, str | Secret],
) -> str | None:
    """A name; the ``known`` ones are listed first, and none of the ``others`` is one."""

    def parse(text: str) -> str:
        if text in others and text not in known:
            kind = "secret" if isinstance(others[text], Secret) else "variable"
            raise RejectedError(f"is the name of a {kind}: remove that first")
        return parse_env_name(text)

    if known:
        prompts.say(f"  {', '.join(known)}")
    return ask_blank(prompts, message, parse)


def wants_change(prompts: Prompts, name: str) -> bool:
    choices = (Choice("change it", value=True), Choice("remove it", value=False))
    return prompts.choose(f"{name} is there:", choices, default=True)


def parse_env_name(text: str) -> str:
    if not ENV_NAME.fullmatch(text):
        raise RejectedError(f"must be {ENV_RULE}")
    return text


SECTIONS = (
    Section("Application", ask_name, lambda answers: [answers.name], ("application.name",)),
    Section(
        "Place",
        ask_place,
        summary.describe_place,
        ("application.compute_provider", "application.servers", "application.ssh_keys"),
    ),
    Section("Domains", ask_domains, summary.describe_domains, ("application.domain_provider",)),
    Section("Apps", ask_services, summary.describe_services, ("application.app",)),
    Section("Database", ask_database, summary.describe_database, ("application.database",)),
    Section(
        "Variables",
        ask_variables,
        summary.describe_variables,
        ("application.env", "application.secrets"),
    ),
    Section("Dashboard", ask_streaming, summary.describe_streaming, ("callback_url",)),
)


def find_section(path: str) -> Section | None:
    """The section that asks for what stands at ``path``; None where none does."""
    for section in SECTIONS:
        if any(f"{path}.".startswith(f"{prefix}.") for prefix in section.paths):
            return section
    return None


def build_summary(answers: Answers, width: int) -> str:
    rows = [
        (section.title, [summary.clean(line, answers) for line in section.describe(answers)])
        for section in SECTIONS
    ]
    return lay_out(rows, width)


def hold_interview(interview: Interview, compose: Callable[[Answers], str]) -> Answers | None:
    """The answers that ``compose`` makes a config of; None where the user cancelled."""
    answers = interview.original or ask_all(interview)
    while True:
        interview.prompts.say()
        interview.prompts.show(build_summary(answers, interview.prompts.width))
        trouble = find_trouble(answers, compose)
        if trouble:
            interview.prompts.say(f"It cannot be saved yet:\n{describe_trouble(trouble)}")
        action = choose_action(interview, trouble)
        if action == SAVE:
            return answers
        if action == CANCEL:
            return None
        if isinstance(action, Section):
            answers = ask_section(interview, action, answers)
        else:
            answers = ask_all(interview)


def ask_all(interview: Interview) -> Answers:
    """Every section in turn; the answers of a config that is there are the first defaults."""
    answers = interview.original or Answers()
    for section in SECTIONS:
        answers = ask_section(interview, section, answers)
    return answers


def ask_section(interview: Interview, section: Section, answers: Answers) -> Answers:
    interview.prompts.say(f"\n{section.title}")
    return section.ask(interview, answers)


def choose_action(interview: Interview, trouble: InputError | None) -> Section | str:
    """What is to be done with the summary; the first choice is what is wanted most."""
    first = find_faulty_section(trouble)
    choices: list[Choice[Section | str]] = [] if trouble else [Choice("save it", SAVE)]
    choices += [Choice(f"change {section.title}", section) for section in SECTIONS]
    choices += [Choice("start again", RESTART), Choice("cancel, save nothing", CANCEL)]
    return interview.prompts.choose("What now?", choices, first)


def find_trouble(answers: Answers, compose: Callable[[Answers], str]) -> InputError | None:
    try:
        compose(answers)
    except InputError as error:
        return error
    return None


def describe_trouble(trouble: InputError) -> str:
    if not isinstance(trouble, ConfigError):
        return f"! {trouble}"
    lines = []
    for fault in trouble.faults:
        section = find_section(fault.path)
        where = f"under {section.title}" if section else "by nvoi credentials edit"
        lines.append(f"! {fault.path}: {fault.message} (change it {where})")
    return "\n".join(lines)


def find_faulty_section(trouble: InputError | None) -> Section | None:
    """The section that mends the first fault."""
    faults = trouble.faults if isinstance(trouble, ConfigError) else ()
    sections = (find_section(fault.path) for fault in faults)
    return next((section for section in sections if section), None)
