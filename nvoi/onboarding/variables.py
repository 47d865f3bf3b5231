"""Asks for variables and secrets; those of a ``.env`` file can be taken as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from nvoi.config.fields import ENV_NAME, ENV_RULE, RejectedError
from nvoi.log import masking
from nvoi.log.rendering import format_count
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.prompts import (
    DOTS,
    Choice,
    Interview,
    Prompts,
    ask_blank,
    ask_secret_value,
    ask_value,
)
from nvoi.onboarding.proposals.variables import Variables, divide, read_dotenv
from nvoi.secret import Secret

ABOUT_VARIABLES = (
    "Every service gets them. Secrets are masked wherever nvoi prints or sends anything."
)
ON_CHANGE = "Give a name that is there to change or remove it."
TAKE, SECRETS_ONLY, LEAVE = "take", "secrets", "leave"


def ask_variables(interview: Interview, answers: Answers) -> Answers:
    prompts = interview.prompts
    known = answers.env or answers.secrets
    prompts.say(f"  {ABOUT_VARIABLES}{f' {ON_CHANGE}' if known else ''}")
    env = dict(answers.env)
    secrets = dict(answers.secrets)
    if interview.original is None and (offered := find_offered(interview, answers)):
        taken = take_dotenv(prompts, offered)
        env |= taken.env
        secrets |= taken.secrets
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
        if not ENV_NAME.fullmatch(text):
            raise RejectedError(f"must be {ENV_RULE}")
        return text

    if known:
        prompts.say(f"  {', '.join(known)}")
    return ask_blank(prompts, message, parse)


def wants_change(prompts: Prompts, name: str) -> bool:
    choices = (Choice("change it", value=True), Choice("remove it", value=False))
    return prompts.choose(f"{name} is there:", choices, default=True)


def find_offered(interview: Interview, answers: Answers) -> Variables:
    """What the checkout's ``.env`` has and was not answered yet; its values are masked from now."""
    found = dict(read_dotenv(interview.checkout.dotenv))
    known = {*answers.env, *answers.secrets}
    offered = divide((name, value) for name, value in found.items() if name not in known)
    masking.add_secrets(*(secret.reveal() for secret in offered.secrets.values()))
    return offered


def take_dotenv(prompts: Prompts, offered: Variables) -> Variables:
    """What the user takes of it; what looks like a secret becomes one."""
    for title, names in (("variables", offered.env), ("secrets", offered.secrets)):
        if names:
            prompts.say(f"  .env has as {title}: {', '.join(names)}")
    choices = [Choice(f"take {format_count(len(offered), 'variable')} from .env", TAKE)]
    if offered.env:
        choices.append(Choice("take all of them as secrets", SECRETS_ONLY))
    choices.append(Choice("leave .env out", LEAVE))
    chosen = prompts.choose("Take them?", choices, TAKE)
    if chosen == LEAVE:
        return Variables({}, {})
    if chosen == SECRETS_ONLY:
        made = {name: Secret(value) for name, value in offered.env.items()}
        return Variables({}, {**made, **offered.secrets})
    return offered


def describe_variables(answers: Answers) -> list[str]:
    lines = [f"{name}={value}" for name, value in answers.env.items()]
    return [*lines, *(f"{name}={DOTS}" for name in answers.secrets)] or ["none"]
