"""Asks for the app's services, one after the other."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nvoi.config.fields import (
    LARGEST_PORT,
    SERVICE_NAME,
    SERVICE_RULE,
    RejectedError,
    parse_domain,
    parse_http_path,
    parse_port,
    parse_subdomain,
)
from nvoi.config.schema import AppService, Healthcheck
from nvoi.naming import build_hostnames, build_label
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import DEFAULT_PORT
from nvoi.onboarding.commands import UNPRIVILEGED_PORT
from nvoi.onboarding.prompts import (
    Choice,
    Interview,
    Prompts,
    ask,
    ask_blank,
    ask_command,
)
from nvoi.targets.local.processes import is_port_free

INTRODUCTION = (
    "A service with a port must listen on $PORT. A deploy asks its health page until that answers "
    "2xx or 3xx; before that it does not take the service for running. A service without a port "
    "is a worker."
)
FOUND = "The checkout has {title}: what is offered here prepares and starts it."
DEFAULT_HEALTH = "/health"
HEALTH = "Health page (blank: none, only the port is looked at):"
#: Ports that are offered in the place of one that is taken.
MOST_PORTS = 200
Change = Callable[[Interview, Answers], Answers]


def ask_services(interview: Interview, answers: Answers) -> Answers:
    interview.prompts.say(f"  {INTRODUCTION}")
    recipe = interview.checkout.recipe
    if answers.is_local and recipe and recipe.title and not answers.apps:
        interview.prompts.say(f"  {FOUND.format(title=recipe.title)}")
    if answers.apps:
        return change_services(interview, answers)
    while True:
        answers = add_service(interview, answers)
        more = bool(find_suggestions(interview, answers))
        if not interview.prompts.confirm("Another app?", default=more):
            return answers


def change_services(interview: Interview, answers: Answers) -> Answers:
    while True:
        choices: list[Choice[Change | None]] = [Choice("go on", None)]
        choices += [Choice(f"change {app.name}", partial(change, app)) for app in answers.apps]
        choices.append(Choice("add an app", add_service))
        if len(answers.apps) > 1:
            # An app without a service is nothing to deploy.
            choices += [Choice(f"remove {app.name}", partial(remove, app)) for app in answers.apps]
        action = interview.prompts.choose("Apps:", choices, None)
        if action is None:
            return answers
        answers = action(interview, answers)


def change(app: AppService, interview: Interview, answers: Answers) -> Answers:
    fresh = ask_service(interview, remove(app, interview, answers), app)
    return replace(answers, apps=tuple(fresh if one is app else one for one in answers.apps))


def remove(app: AppService, _: Interview, answers: Answers) -> Answers:
    return replace(answers, apps=tuple(one for one in answers.apps if one is not app))


def add_service(interview: Interview, answers: Answers) -> Answers:
    """One more service; what the checkout suggests is there to be taken."""
    draft = next(iter(find_suggestions(interview, answers)), AppService(""))
    is_first = not answers.apps
    port = draft.port or (DEFAULT_PORT if is_first and not draft.name else None)
    if answers.is_local and port:
        port = find_free_port(port, answers)
    if port in {app.port for app in answers.apps}:
        port = None
    fresh = ask_service(interview, answers, replace(draft, port=port))
    answers = replace(answers, apps=(*answers.apps, fresh))
    return take_secrets(interview, answers) if is_first else answers


def find_free_port(port: int, answers: Answers) -> int:
    """``port``, or the next one that nothing of this machine has, and no other service."""
    taken = {app.port for app in answers.apps}
    first = port if port >= UNPRIVILEGED_PORT else DEFAULT_PORT
    ports = range(first, min(first + MOST_PORTS, LARGEST_PORT + 1))
    return next((one for one in ports if one not in taken and is_port_free(one)), first)


def take_secrets(interview: Interview, answers: Answers) -> Answers:
    """The secrets that an app of the checkout's kind cannot start without on this machine."""
    recipe = interview.checkout.recipe
    if recipe is None or not answers.is_local:
        return answers
    return replace(answers, secrets={**recipe.secrets, **answers.secrets})


def find_suggestions(interview: Interview, answers: Answers) -> list[AppService]:
    taken = {app.name for app in answers.apps}
    checkout = interview.checkout
    services = checkout.local if answers.is_local else checkout.services
    return [one for one in services if one.name not in taken]


def ask_service(interview: Interview, others: Answers, draft: AppService) -> AppService:
    """One service, beginning with ``draft``, beside those that ``others`` has."""
    prompts = interview.prompts
    original = interview.original.apps if interview.original else ()
    is_new = not any(draft.name == app.name for app in original)
    if is_new:
        # The name of one that is in the file already is what its other keys hang on.
        draft = replace(
            draft, name=ask(prompts, "App name:", build_name_parser(others), draft.name)
        )
    # On this machine there is no image that could have a command of its own.
    start = "Command:" if others.is_local else "Command (blank: the image's):"
    draft = replace(
        draft,
        command=ask_command(prompts, start, draft.command or "", needed=others.is_local),
        port=ask_blank(
            prompts, "Port (blank: none):", build_port_parser(others), str(draft.port or "")
        ),
    )
    checkout = interview.checkout
    # Where its code was read and has no page, none is offered.
    found = checkout.health or ("" if checkout.recipe else DEFAULT_HEALTH)
    draft = replace(draft, healthcheck=ask_healthcheck(prompts, draft, found if is_new else ""))
    draft = ask_domain(interview, others, draft)
    message = "Command before each release (blank: none):"
    if is_new and "\n" in (draft.pre_run_command or ""):
        prompts.show(textwrap.indent(draft.pre_run_command or "", "    ").rstrip())
    release = ask_command(prompts, message, draft.pre_run_command or "", needed=False)
    return replace(draft, pre_run_command=release)


def ask_healthcheck(prompts: Prompts, draft: AppService, offered: str) -> Healthcheck | None:
    """The check of a service with a port; one that asks no page is kept as it is."""
    check = draft.healthcheck
    if draft.port is None:
        return check if check and (check.type == "exec" or check.port) else None
    if check and check.type != "http":
        return check
    path = ask_blank(prompts, HEALTH, parse_http_path, check.path if check else offered)
    return replace(check or Healthcheck(), path=path) if path else None


def ask_domain(interview: Interview, answers: Answers, draft: AppService) -> AppService:
    if answers.is_local:
        # It counts for nothing here, and is not lost.
        return draft
    if not (answers.cloudflare or answers.ingress) or draft.port is None:
        return replace(draft, domain=None, subdomain=None)
    domain = ask_blank(interview.prompts, "Domain (blank: none):", parse_domain, draft.domain or "")
    if domain is None:
        return replace(draft, domain=None, subdomain=None)
    subdomain = ask_subdomain(interview, answers, domain, draft.subdomain or "")
    return replace(draft, domain=domain, subdomain=subdomain)


def ask_subdomain(interview: Interview, answers: Answers, domain: str, before: str) -> str | None:
    """The part before the domain; no two services share a host name."""
    whole = f"{domain} and all below" if answers.cloudflare else f"{domain} itself"
    message = f"Subdomain (blank: {whole}):"
    while True:
        subdomain = ask_blank(interview.prompts, message, parse_subdomain, before)
        owner = find_owner(answers, build_hostnames(domain, subdomain))
        if owner is None:
            return subdomain
        interview.prompts.refuse(f"that is the host name of {owner} already")
        before = subdomain or ""


def find_owner(answers: Answers, hostnames: tuple[str, ...]) -> str | None:
    for app in answers.apps:
        if app.domain and set(hostnames) & set(build_hostnames(app.domain, app.subdomain)):
            return app.name
    return None


def build_name_parser(others: Answers) -> Callable[[str], str]:
    taken = {build_label(app.name) for app in others.apps}

    def parse(text: str) -> str:
        if not SERVICE_NAME.fullmatch(text):
            raise RejectedError(f"must be {SERVICE_RULE}")
        if build_label(text) in taken:
            raise RejectedError("another service has this name")
        return text

    return parse


def build_port_parser(others: Answers) -> Callable[[str], int]:
    """A parser of a port; on one machine each service needs its own."""
    taken = {app.port: app.name for app in others.apps} if others.is_local else {}

    def parse(text: str) -> int:
        port = parse_port(text)
        if port in taken:
            raise RejectedError(f"{taken[port]} has this port: on one machine each needs its own")
        return port

    return parse


def describe_services(answers: Answers) -> list[str]:
    return [line for app in answers.apps for line in describe_service(app)] or ["none"]


def describe_service(app: AppService) -> list[str]:
    lines = [f"{app.name}: {shorten(app.command or 'the command of its image')}"]
    if app.port:
        lines.append(f"  port {app.port}")
    if app.healthcheck:
        check = app.healthcheck
        asked = check.command if check.type == "exec" else check.path
        lines.append(f"  health: {check.type if check.type == 'tcp' else shorten(asked or '')}")
    if app.domain:
        lines.append(f"  {', '.join(build_hostnames(app.domain, app.subdomain))}")
    if app.pre_run_command:
        lines.append(f"  before each release: {shorten(app.pre_run_command)}")
    return lines


def shorten(command: str) -> str:
    first, _, rest = command.strip().partition("\n")
    return f"{first} …" if rest else first


def describe_auxiliaries(answers: Answers) -> list[str]:
    return [f"{service.name}: {service.image}" for service in answers.services]
