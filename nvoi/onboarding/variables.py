"""Asks for environment variables and secrets, until a blank name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from nvoi.config.fields import ENV_NAME, RejectedError
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.interview import Interview
from nvoi.onboarding.prompts import Choice, Prompts, ask_blank, ask_secret_value, ask_value
from nvoi.secret import Secret

INTRODUCTION = "Every service gets them. Secrets are masked wherever nvoi prints or sends anything."
ON_CHANGE = "Give a name that is there to change or remove it."


def ask_variables(interview: Interview, answers: Answers) -> Answers:
    """Variables first, then secrets."""
    prompts = interview.prompts
    known = answers.env or answers.secrets
    prompts.say(f"  {INTRODUCTION}{f' {ON_CHANGE}' if known else ''}")
    env = dict(answers.env)
    secrets = dict(answers.secrets)
    while name := ask_name(prompts, "Variable (blank: no more):", env, secrets):
        if name in env and not wants_change(prompts, name):
            del env[name]
        else:
            env[name] = ask_value(prompts, f"Value of {name}:", env.get(name, ""))
    while name := ask_name(prompts, "Secret (blank: no more):", secrets, env):
        if name in secrets and not wants_change(prompts, name):
            del secrets[name]
        else:
            secrets[name] = Secret(ask_secret_value(prompts, f"Value of {name}:"))
    return replace(answers, env=MappingProxyType(env), secrets=MappingProxyType(secrets))


def ask_name(
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
        return parse_name(text)

    if known:
        prompts.say(f"  {', '.join(known)}")
    return ask_blank(prompts, message, parse)


def wants_change(prompts: Prompts, name: str) -> bool:
    """Whether one that is there is to be changed, and not removed."""
    choices = (Choice("change it", value=True), Choice("remove it", value=False))
    return prompts.choose(f"{name} is there:", choices, default=True)


def parse_name(text: str) -> str:
    """A name that an environment can have."""
    if not ENV_NAME.fullmatch(text):
        raise RejectedError("must be letters, digits and `_`, and begin with no digit")
    return text
