"""The interview: every topic in turn, then the summary until it is saved or left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nvoi.config.fields import parse_application_name
from nvoi.config.sensitive import find_embedded
from nvoi.errors import ConfigError, InputError
from nvoi.log.masking import REDACTED, Masker
from nvoi.onboarding.answers import Answers, build_config
from nvoi.onboarding.dashboards import ask_streaming, describe_streaming
from nvoi.onboarding.databases import ask_database, describe_database
from nvoi.onboarding.place import (
    ask_domains,
    ask_place,
    describe_domains,
    describe_place,
)
from nvoi.onboarding.prompts import DOTS, Choice, Interview, ask, find_head, fold
from nvoi.onboarding.services import ask_services, describe_auxiliaries, describe_services
from nvoi.onboarding.sources import REPLACEMENT
from nvoi.onboarding.variables import ask_variables, describe_variables

# Longer lines are cut: nobody reads a value of thousands of letters in the summary.
LONGEST = 240

SAVE, RESTART, CANCEL = "save", "restart", "cancel"
ANOTHER_NAME = "Another name is another app: what runs under the present one goes on running."


@dataclass(frozen=True)
class Known:
    """Answers to begin with, and the titles of the topics that need not be asked."""

    answers: Answers
    answered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Topic:
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


TOPICS = (
    Topic("Application", ask_name, lambda answers: [answers.name], ("application.name",)),
    Topic(
        "Place",
        ask_place,
        describe_place,
        ("application.compute_provider", "application.servers", "application.ssh_keys"),
    ),
    Topic(
        "Domains",
        ask_domains,
        describe_domains,
        ("application.domain_provider",),
        matters=lambda answers: not answers.is_local,
    ),
    Topic("Apps", ask_services, describe_services, ("application.app",)),
    Topic(
        "Beside the app",
        None,
        describe_auxiliaries,
        ("application.services",),
        matters=lambda answers: bool(answers.services),
    ),
    Topic("Database", ask_database, describe_database, ("application.database",)),
    Topic(
        "Variables",
        ask_variables,
        describe_variables,
        ("application.env", "application.secrets"),
    ),
    Topic("Dashboard", ask_streaming, describe_streaming, ("callback_url",)),
)


def find_topic(path: str) -> Topic | None:
    """The topic that asks for what stands at ``path``; None where none does."""
    for topic in TOPICS:
        if any(f"{path}.".startswith(f"{prefix}.") for prefix in topic.paths):
            return topic
    return None


def build_summary(answers: Answers, width: int) -> str:
    """Each topic's title, with what was answered below it."""
    clean = build_cleaner(answers)
    parts = []
    for topic in list_topics(answers):
        parts.append(topic.title)
        for line in map(clean, topic.describe(answers)):
            parts += [f"  {part}" for part in fold(line, width - 2, "  ", cut=True)]
    return "\n".join(parts)


def build_cleaner(answers: Answers) -> Callable[[str], str]:
    """What makes a line fit to be shown: no password of a URL, no control character, not long."""
    passwords = list(find_embedded(build_config(answers)))
    masker = Masker(passwords)

    def clean(line: str) -> str:
        for password in passwords:
            # Short ones too, which are words that occur elsewhere.
            line = line.replace(f":{password}@", f":{DOTS}@")
        line = masker.mask_text(line).replace(REDACTED, DOTS)
        shown = "".join(letter if letter.isprintable() else REPLACEMENT for letter in line)
        return shown if len(shown) <= LONGEST else f"{find_head(shown, LONGEST)}…"

    return clean


def list_topics(answers: Answers) -> list[Topic]:
    return [topic for topic in TOPICS if topic.matters(answers)]


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
        interview.prompts.show(f"{build_summary(answers, interview.prompts.width)}\n")
        trouble = find_trouble(answers, compose)
        if trouble:
            interview.prompts.say(f"It cannot be saved yet:\n{describe_trouble(trouble)}")
        action = choose_action(interview, answers, trouble)
        if action == SAVE:
            return answers
        if action == CANCEL:
            return None
        if isinstance(action, Topic):
            answers = ask_topic(interview, action, answers)
        else:
            answers = ask_all(interview, begin(interview))


def ask_all(interview: Interview, known: Known) -> Answers:
    """Every topic in turn that has no answer yet; what there is are the first defaults."""
    answers = known.answers
    for topic in TOPICS:
        if topic.title not in known.answered and topic.matters(answers):
            answers = ask_topic(interview, topic, answers)
    return answers


def ask_answers(interview: Interview, known: Known, title: str) -> Known:
    (topic,) = (topic for topic in TOPICS if topic.title == title)
    answers = ask_topic(interview, topic, known.answers)
    return Known(answers, known.answered | {title})


def ask_topic(interview: Interview, topic: Topic, answers: Answers) -> Answers:
    if topic.ask is None:
        return answers
    interview.prompts.say(f"\n{topic.title}")
    return topic.ask(interview, answers)


def choose_action(
    interview: Interview, answers: Answers, trouble: InputError | None
) -> Topic | str:
    """What is to be done with the summary; the first choice is what is wanted most."""
    first = find_faulty_topic(trouble)
    choices: list[Choice[Topic | str]] = [] if trouble else [Choice("save it", SAVE)]
    choices += [
        Choice(f"change {topic.title}", topic) for topic in list_topics(answers) if topic.ask
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
        topic = find_topic(fault.path)
        where = f"under {topic.title}" if topic else "by nvoi credentials edit"
        lines.append(f"! {fault.path}: {fault.message} (change it {where})")
    return "\n".join(lines)


def find_faulty_topic(trouble: InputError | None) -> Topic | None:
    faults = trouble.faults if isinstance(trouble, ConfigError) else ()
    topics = (find_topic(fault.path) for fault in faults)
    return next((topic for topic in topics if topic), None)
