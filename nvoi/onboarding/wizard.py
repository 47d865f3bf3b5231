"""The way through the interview: every section, then the summary until it is saved or left."""

from __future__ import annotations

from collections.abc import Callable

from nvoi.errors import ConfigError, InputError
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.prompts import Choice, Interview
from nvoi.onboarding.sections import SECTIONS, Section, build_summary, find_section

SAVE, RESTART, CANCEL = "save", "restart", "cancel"
Action = Section | str


def hold_interview(interview: Interview, compose: Callable[[Answers], str]) -> Answers | None:
    """The answers that ``compose`` makes a config of; None where the user cancelled.

    Args:
        interview: what is asked with. With answers of a config that is there it begins with
            the summary.
        compose: makes the config's text, and raises InputError where it cannot be saved.
    """
    answers = interview.original or ask_all(interview)
    while True:
        interview.prompts.say()
        interview.prompts.show(build_summary(answers, interview.prompts.width))
        trouble = find_trouble(answers, compose)
        if trouble:
            interview.prompts.say(f"It cannot be saved yet:\n{tell(trouble)}")
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


def choose_action(interview: Interview, trouble: InputError | None) -> Action:
    """What is to be done with the summary; the first choice is what is wanted most."""
    first = find_mender(trouble)
    choices: list[Choice[Action]] = [] if trouble else [Choice("save it", SAVE)]
    choices += [Choice(f"change {section.title}", section) for section in SECTIONS]
    choices += [Choice("start again", RESTART), Choice("cancel, save nothing", CANCEL)]
    return interview.prompts.choose("What now?", choices, first)


def find_trouble(answers: Answers, compose: Callable[[Answers], str]) -> InputError | None:
    try:
        compose(answers)
    except InputError as error:
        return error
    return None


def tell(trouble: InputError) -> str:
    if not isinstance(trouble, ConfigError):
        return f"! {trouble}"
    lines = []
    for fault in trouble.faults:
        section = find_section(fault.path)
        where = f"under {section.title}" if section else "by nvoi credentials edit"
        lines.append(f"! {fault.path}: {fault.message} (change it {where})")
    return "\n".join(lines)


def find_mender(trouble: InputError | None) -> Section | None:
    """The section that mends the first fault."""
    faults = trouble.faults if isinstance(trouble, ConfigError) else ()
    sections = (find_section(fault.path) for fault in faults)
    return next((section for section in sections if section), None)
