"""The interview: every section in turn, then the summary until it is saved or left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nvoi.config.fields import parse_application_name
from nvoi.errors import ConfigError, InputError
from nvoi.onboarding import summary
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.dashboards import ask_streaming
from nvoi.onboarding.databases import ask_database
from nvoi.onboarding.layout import lay_out
from nvoi.onboarding.place import ask_domains, ask_place, can_have_domains
from nvoi.onboarding.prompts import Choice, Interview, ask
from nvoi.onboarding.services import ask_services
from nvoi.onboarding.variables import ask_variables

SAVE, RESTART, CANCEL = "save", "restart", "cancel"
ANOTHER_NAME = "Another name is another app: what runs under the present one goes on running."


@dataclass(frozen=True)
class Known:
    """Answers to begin with, and the titles of the sections that need not be asked."""

    answers: Answers
    answered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of the interview.

    ``ask`` is None for one that is shown only; ``matters`` is whether it is asked, and shown,
    given the answers so far.
    """

    title: str
    ask: Callable[[Interview, Answers], Answers] | None
    describe: Callable[[Answers], list[str]]
    paths: tuple[str, ...]
    matters: Callable[[Answers], bool] = lambda _: True


def ask_name(interview: Interview, answers: Answers) -> Answers:
    if interview.original:
        interview.prompts.say(f"  {ANOTHER_NAME}")
    default = answers.name or interview.checkout.name
    name = ask(interview.prompts, "Application name:", parse_application_name, default)
    return replace(answers, name=name)


SECTIONS = (
    Section("Application", ask_name, lambda answers: [answers.name], ("application.name",)),
    Section(
        "Place",
        ask_place,
        summary.describe_place,
        ("application.compute_provider", "application.servers", "application.ssh_keys"),
    ),
    Section(
        "Domains",
        ask_domains,
        summary.describe_domains,
        ("application.domain_provider",),
        matters=can_have_domains,
    ),
    Section("Apps", ask_services, summary.describe_services, ("application.app",)),
    Section(
        "Beside the app",
        None,
        summary.describe_auxiliaries,
        ("application.services",),
        matters=lambda answers: bool(answers.services),
    ),
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
    clean = summary.build_cleaner(answers)
    rows = [
        (section.title, [clean(line) for line in section.describe(answers)])
        for section in list_sections(answers)
    ]
    return lay_out(rows, width)


def list_sections(answers: Answers) -> list[Section]:
    return [section for section in SECTIONS if section.matters(answers)]


def hold_interview(
    interview: Interview,
    compose: Callable[[Answers], str],
    begin: Callable[[Interview], Known] = lambda interview: Known(interview.original or Answers()),
) -> Answers | None:
    """The answers that ``compose`` makes a config of; None where the user cancelled.

    ``begin`` gives the answers that there are before anything is asked.
    """
    answers = interview.original or ask_all(interview, begin(interview))
    while True:
        interview.prompts.say()
        interview.prompts.show(build_summary(answers, interview.prompts.width))
        trouble = find_trouble(answers, compose)
        if trouble:
            interview.prompts.say(f"It cannot be saved yet:\n{describe_trouble(trouble)}")
        action = choose_action(interview, answers, trouble)
        if action == SAVE:
            return answers
        if action == CANCEL:
            return None
        if isinstance(action, Section):
            answers = ask_section(interview, action, answers)
        else:
            answers = ask_all(interview, begin(interview))


def ask_all(interview: Interview, known: Known) -> Answers:
    """Every section in turn that has no answer yet; what there is are the first defaults."""
    answers = known.answers
    for section in SECTIONS:
        if section.title not in known.answered and section.matters(answers):
            answers = ask_section(interview, section, answers)
    return answers


def ask_answers(interview: Interview, known: Known, title: str) -> Known:
    """What is known, with the answers of the section of that title."""
    (section,) = (section for section in SECTIONS if section.title == title)
    answers = ask_section(interview, section, known.answers)
    return Known(answers, known.answered | {title})


def ask_section(interview: Interview, section: Section, answers: Answers) -> Answers:
    if section.ask is None:
        return answers
    interview.prompts.say(f"\n{section.title}")
    return section.ask(interview, answers)


def choose_action(
    interview: Interview, answers: Answers, trouble: InputError | None
) -> Section | str:
    """What is to be done with the summary; the first choice is what is wanted most."""
    first = find_faulty_section(trouble)
    choices: list[Choice[Section | str]] = [] if trouble else [Choice("save it", SAVE)]
    choices += [
        Choice(f"change {section.title}", section)
        for section in list_sections(answers)
        if section.ask
    ]
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
