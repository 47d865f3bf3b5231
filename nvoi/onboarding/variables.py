"""Variables: read from ``.env`` files, told from secrets, and asked for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from nvoi.config.fields import ENV_NAME, ENV_RULE, RejectedError
from nvoi.config.sensitive import find_passwords
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
from nvoi.secret import Secret

ABOUT_VARIABLES = (
    "Every service gets them. Secrets are masked wherever nvoi prints or sends anything."
)
ON_CHANGE = "Give a name that is there to change or remove it."
TAKE, SECRETS_ONLY, LEAVE = "take", "secrets", "leave"

#: A line of a ``.env`` file, as the dotenv libraries, Compose and a shell read it.
ENTRY = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*+(?:=|:[ \t])[ \t]*+
        (?: (?: "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>[^']*)' )
            [ \t]*+ (?:(?<=[ \t])\#[^\r\n]*+)?
          | (?P<bare>[^\r\n]*+) )\r?$""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
COMMENT = re.compile(r"(?:^|[ \t])#.*")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}

#: Words of a name that is a secret's, and of one that is not although it has such a word.
SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASS|PASSWD|PASSWORD|PASSPHRASE|PWD|SECRETS?|TOKENS?|CREDENTIALS?|API_?KEY|DSN"
    r"|SALT|PEPPER|CERT|PRIVATE|SIGNATURE|WEBHOOK_URL|AUTH|KEY|KEYS|COOKIE|SEED|MNEMONIC)(?:_|\d*$)"
    r"|PASSWORD|SECRET|APIKEY|(?<!PRIMARY_)(?<!PUBLIC_)(?<!PUBLISHABLE_)(?:ACCESS|MASTER)_KEY",
    re.IGNORECASE,
)
PUBLIC_NAME = re.compile(
    r"^(?:NEXT_PUBLIC|VITE|REACT_APP|PUBLIC|NUXT_PUBLIC|EXPO_PUBLIC|GATSBY)_"
    r"|PUBLIC_KEY|PUBLISHABLE|SITE_?KEY|KEY_?(?:ID|NAME|PREFIX|FILE|PATH)$"
    r"|(?:_|^)(?:FILE|PATH|DIR|EXPIRY|EXPIRES(?:_IN)?|TTL|LENGTH|ROUNDS|ENABLED|METHOD|TYPE|NAME"
    r"|ALGORITHM|HEADER|TIMEOUT|DOMAIN|SECURE|SAMESITE|URI_PREFIX|AGE|MAX_AGE|LIFETIME)$",
    re.IGNORECASE,
)
#: Values that are no secret, whatever they are called.
PLAIN_VALUE = re.compile(
    r"|true|false|yes|no|on|off|none|null|\d{1,5}|trust|/[\w./-]*|(?:\./)[\w./-]*|\d+(?:ms|s|m|h|d)",
    re.IGNORECASE,
)
#: What keys and tokens of services begin with, and private keys.
TOKEN = re.compile(
    r"(?:sk|pk|rk|whsec)_(?:live|test)?_?\w{8,}|gh[pousr]_\w{20,}|github_pat_\w+|glpat-\S{16,}"
    r"|AKIA[0-9A-Z]{12,}|xox[abprs]-\S{10,}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.\S+|eyJ[\w-]{8,}\.\S+"
    r"|sk-[\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----.*|base64:[\w+/=]{20,}",
    re.DOTALL,
)
#: A URL with a key in front of its host, as Sentry's.
KEYED = re.compile(r"://[A-Za-z0-9_-]{16,}@")
# Below so many characters, or so few bits a character, a word is no random key.
KEY_LENGTH, KEY_BITS = 24, 3.2
RANDOM = re.compile(r"[A-Za-z0-9+/_=-]+")


@dataclass(frozen=True)
class Variables:
    env: Mapping[str, str]
    secrets: Mapping[str, Secret]

    def __len__(self) -> int:
        return len(self.env) + len(self.secrets)


def read_dotenv(text: str) -> Iterator[tuple[str, str]]:
    """The names and values of a ``.env`` file; what ``$`` stands for in them is not looked up."""
    for match in ENTRY.finditer(text):
        if (quoted := match["double"]) is not None:
            value = re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), quoted)
        elif match["single"] is not None:
            value = match["single"]
        else:
            value = COMMENT.sub("", match["bare"]).rstrip(" \t")
        yield match["name"], value


def divide(variables: Iterable[tuple[str, str]]) -> Variables:
    """Variables apart from secrets; what no environment can hold is left out."""
    known = {name: value for name, value in variables if ENV_NAME.fullmatch(name)}
    secrets = {name: Secret(value) for name, value in known.items() if is_secret(name, value)}
    env = {name: value for name, value in known.items() if name not in secrets}
    return Variables(env, secrets)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a secret; in doubt it is one."""
    if any(find_passwords(value)) or KEYED.search(value) or TOKEN.fullmatch(value.strip()):
        return True
    if PUBLIC_NAME.search(name):
        return False
    if SECRET_NAME.search(name):
        return not PLAIN_VALUE.fullmatch(value) and "://" not in value
    return is_random(value)


def is_random(value: str) -> bool:
    """Whether a value looks made by chance: long, of letters and digits, and without words."""
    if len(value) < KEY_LENGTH or not RANDOM.fullmatch(value) or "/" in value[:1]:
        return False
    if not (re.search("[0-9]", value) and re.search("[A-Za-z]", value)):
        return False
    bits = -sum(
        count / len(value) * math.log2(count / len(value)) for count in Counter(value).values()
    )
    return bits > KEY_BITS and not re.search(r"[A-Za-z]{4}[-_/][A-Za-z]{4}", value)


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
