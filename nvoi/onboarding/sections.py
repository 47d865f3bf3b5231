"""The parts of the interview, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nvoi.config.fields import parse_application_name
from nvoi.onboarding import descriptions
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.dashboards import ask_streaming
from nvoi.onboarding.databases import ask_database
from nvoi.onboarding.interview import Interview
from nvoi.onboarding.place import ask_domains, ask_place
from nvoi.onboarding.prompts import ask
from nvoi.onboarding.services import ask_services
from nvoi.onboarding.variables import ask_variables

ANOTHER_NAME = "Another name is another app: what runs under the present one goes on running."


@dataclass(frozen=True)
class Section:
    """A part of the interview.

    Args:
        title: what the summary calls it.
        ask: asks, and gives the answers with what was said.
        describe: the lines that the summary shows of it.
        paths: what its keys of the config begin with, below ``application`` or not.
    """

    title: str
    ask: Callable[[Interview, Answers], Answers]
    describe: Callable[[Answers], list[str]]
    paths: tuple[str, ...]


def ask_name(interview: Interview, answers: Answers) -> Answers:
    """The application's name."""
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
        descriptions.describe_place,
        ("application.compute_provider", "application.servers", "application.ssh_keys"),
    ),
    Section(
        "Domains", ask_domains, descriptions.describe_domains, ("application.domain_provider",)
    ),
    Section("Apps", ask_services, descriptions.describe_services, ("application.app",)),
    Section("Database", ask_database, descriptions.describe_database, ("application.database",)),
    Section(
        "Variables",
        ask_variables,
        descriptions.describe_variables,
        ("application.env", "application.secrets"),
    ),
    Section("Dashboard", ask_streaming, descriptions.describe_streaming, ("callback_url",)),
)


def find_section(path: str) -> Section | None:
    """The section that asks for what stands at ``path``; None where none does."""
    for section in SECTIONS:
        if any(f"{path}.".startswith(f"{prefix}.") for prefix in section.paths):
            return section
    return None
