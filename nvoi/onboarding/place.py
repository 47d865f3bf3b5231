"""Asks where the app runs: who runs the servers, what that needs, and what brings it domains.

A new provider is an entry of ``ACCOUNTS``. Its ``check``, which may be filled in later, is called
with the provider as it was answered, and raises :class:`~nvoi.errors.NvoiError` where the account
refuses it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvoi.config.fields import (
    RejectedError,
    parse_host,
    parse_port,
    parse_positive,
    parse_user,
)
from nvoi.config.schema import (
    AWSProvider,
    Cloudflare,
    ComputeProvider,
    HetznerProvider,
    LocalProvider,
    ScalewayProvider,
    SSHKeys,
    SSHProvider,
)
from nvoi.config.ssh_keys import KeyPairError, derive_ssh_keys, generate_ssh_keys
from nvoi.errors import ExtraError, NvoiError
from nvoi.files import read_file
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.document import is_deployable
from nvoi.onboarding.prompts import Choice, Interview, Prompts, ask, ask_secret
from nvoi.secret import Secret

ARCHITECTURE = "architecture"


@dataclass(frozen=True)
class Field:
    name: str
    message: str
    default: str = ""
    secret: bool = False


@dataclass(frozen=True)
class Account:
    """A provider to be asked for.

    Args:
        title: how it is called, in a few words.
        kind: its record in the config.
        needs: what one has to have, in a sentence.
        fields: its questions.
        check: tries what was answered; None while nothing of the provider is built.
    """

    title: str
    kind: type[Any]
    needs: str
    fields: tuple[Field, ...] = ()
    check: Callable[[Any], None] | None = None


def check_local(_: LocalProvider) -> None:
    """Services on this machine are kept by supervisord, which an extra brings."""
    if importlib.util.find_spec("supervisor") is None:
        raise ExtraError("supervisor is not installed", "local")


ACCOUNTS: tuple[Account, ...] = (
    Account(
        "this machine",
        LocalProvider,
        "This machine: no account, no root, no containers.",
        check=check_local,
    ),
    Account(
        "own servers",
        SSHProvider,
        "Own servers: their addresses, and a user who may log in with an SSH key.",
    ),
    Account(
        "Hetzner",
        HetznerProvider,
        "Hetzner: an API token with read and write access (Console, Security, API tokens).",
        (
            Field("api_token", "Hetzner API token", secret=True),
            Field("server_type", "Server type:", "cx23"),
            Field("server_location", "Location:", "nbg1"),
            Field(ARCHITECTURE, "Architecture:", "x86"),
        ),
    ),
    Account(
        "AWS",
        AWSProvider,
        "AWS: an access key of a user who may manage EC2.",
        (
            Field("access_key_id", "Access key id", secret=True),
            Field("secret_access_key", "Secret access key", secret=True),
            Field("region", "Region:", "eu-central-1"),
            Field("instance_type", "Instance type:", "t3.small"),
            Field(ARCHITECTURE, "Architecture:", "x86"),
        ),
    ),
    Account(
        "Scaleway",
        ScalewayProvider,
        "Scaleway: the secret key of an API key, and the project's id.",
        (
            Field("secret_key", "Secret key", secret=True),
            Field("project_id", "Project id:"),
            Field("zone", "Zone:", "fr-par-1"),
            Field("server_type", "Server type:", "DEV1-S"),
            Field(ARCHITECTURE, "Architecture:", "x86"),
        ),
    ),
)

CLOUDFLARE = Account(
    "Cloudflare",
    Cloudflare,
    "Cloudflare: an API token that may edit DNS and tunnels, and the account's id.",
    (
        Field("api_token", "Cloudflare API token", secret=True),
        Field("account_id", "Account id:"),
    ),
)

NOT_YET = (
    "This version of nvoi deploys to this machine and to own servers only. The config is made and "
    "checked all the same, and `nvoi deploy` refuses it before it touches anything."
)
DEFAULT_USER, DEFAULT_PORT = "root", 22
WITHOUT_DOMAINS = "Without it services have no domain."
AFTER_TROUBLE = (
    Choice("type them again", value=True),
    Choice("keep them as they are", value=False),
)


def ask_place(interview: Interview, answers: Answers) -> Answers:
    prompts = interview.prompts
    accounts = [account for account in ACCOUNTS if is_offered(interview, account)]
    prompts.say("\n".join(f"  {account.needs}" for account in accounts))
    choices = [Choice(account.title, account) for account in accounts]
    account = prompts.choose("Where does it run?", choices, get_account(answers.provider))
    if not is_deployable(build_blank(account)):
        prompts.say(f"! {NOT_YET}")
    answers = replace(answers, provider=ask_account(prompts, account, answers.provider))
    if answers.is_local:
        # What a config says of servers counts for nothing here, and is not lost.
        before = interview.original or Answers()
        return replace(answers, groups=before.groups, ssh_keys=before.ssh_keys)
    return ask_keys(interview, ask_servers(interview, answers, account))


def is_offered(interview: Interview, account: Account) -> bool:
    """Whether this version deploys there; a config that is there keeps what it has."""
    before = interview.original.provider if interview.original else None
    return isinstance(before, account.kind) or is_deployable(build_blank(account))


def can_have_domains(answers: Answers) -> bool:
    """Whether a domain would be served."""
    return not answers.is_local


def ask_servers(interview: Interview, answers: Answers, account: Account) -> Answers:
    """The servers; they stay grouped as they are where the answer is the same as before."""
    if account.kind is SSHProvider:
        return ask_hosts(interview, answers)
    known = sum(group.count for group in answers.groups) or 1
    count = ask(interview.prompts, "How many servers?", parse_positive, str(known))
    if answers.groups and count == known:
        return answers
    return replace(answers, groups=build_groups(count=count, before=answers.groups))


def ask_hosts(interview: Interview, answers: Answers) -> Answers:
    """The addresses of servers that are there already, and how one logs in."""
    prompts = interview.prompts
    known = tuple(host for group in answers.groups for host in group.hosts)
    before = answers.groups[0] if answers.groups else None
    hosts = ask(prompts, "Hosts, separated by commas:", parse_hosts, ", ".join(known))
    user = ask(prompts, "User:", parse_user, (before and before.user) or DEFAULT_USER)
    port = ask(prompts, "SSH port:", parse_port, str((before and before.port) or DEFAULT_PORT))
    if hosts == known and before:
        if (user, port) == (before.user or DEFAULT_USER, before.port or DEFAULT_PORT):
            return answers
        groups = tuple(replace(group, user=user, port=port) for group in answers.groups)
        return replace(answers, groups=groups)
    fresh = build_groups(hosts=hosts, user=user, port=port, before=answers.groups)
    return replace(answers, groups=fresh)


def parse_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(parse_host(word.strip()) for word in text.split(",") if word.strip())
    if not hosts or len({host.lower() for host in hosts}) < len(hosts):
        raise RejectedError(
            "must be host names or IP addresses, each once, such as a.example, b.example"
        )
    return hosts


def ask_keys(interview: Interview, answers: Answers) -> Answers:
    """The key pair that reaches the servers: rented ones are given a new one, unasked."""
    new = f"nvoi-{answers.name}"
    if not isinstance(answers.provider, SSHProvider):
        return replace(answers, ssh_keys=answers.ssh_keys or generate_ssh_keys(new))
    choices = [Choice("make a new pair", "new"), Choice("use a key file of mine", "file")]
    if answers.ssh_keys:
        choices.insert(0, Choice("keep the pair it has", "keep"))
    chosen = interview.prompts.choose("SSH key:", choices, None)
    if chosen == "keep":
        return answers
    if chosen == "new":
        return replace(answers, ssh_keys=generate_ssh_keys(new))
    keys = ask(interview.prompts, "Private key file:", read_key_file, "~/.ssh/id_ed25519")
    return replace(answers, ssh_keys=keys)


def read_key_file(text: str) -> SSHKeys:
    try:
        return derive_ssh_keys(read_file(Path(text).expanduser()))
    except (NvoiError, RuntimeError) as error:
        raise RejectedError(str(error)) from None
    except KeyPairError as error:
        raise RejectedError(f"{text} {error}") from None


def ask_domains(interview: Interview, answers: Answers) -> Answers:
    """Cloudflare or not; without it no service keeps a domain."""
    prompts = interview.prompts
    prompts.say(f"  {CLOUDFLARE.needs} {WITHOUT_DOMAINS}")
    if prompts.confirm("Serve domains through Cloudflare?", default=bool(answers.cloudflare)):
        return replace(answers, cloudflare=ask_account(prompts, CLOUDFLARE, answers.cloudflare))
    apps = tuple(replace(app, domain=None, subdomain=None) for app in answers.apps)
    return replace(answers, cloudflare=None, apps=apps)


def get_account(provider: ComputeProvider) -> Account:
    return next(account for account in ACCOUNTS if isinstance(provider, account.kind))


def build_blank(account: Account) -> ComputeProvider:
    blank: ComputeProvider = account.kind(**{field.name: Secret() for field in account.fields})
    return blank


def ask_account(prompts: Prompts, account: Account, before: object) -> Any:
    """The record of ``account``, whose credentials were checked where that can be done."""
    known = vars(before) if isinstance(before, account.kind) else {}
    while True:
        # What is not asked for stays as it was.
        answers = {field.name: ask_field(prompts, field, known) for field in account.fields}
        record = account.kind(**{**known, **answers})
        try:
            if account.check:
                account.check(record)
        except NvoiError as error:
            prompts.say(f"! {account.title}: {error}")
        else:
            return record
        if not account.fields or prompts.choose("What now?", AFTER_TROUBLE, default=True) is False:
            return record
        known = vars(record)


def ask_field(prompts: Prompts, field: Field, known: Mapping[str, Any]) -> str:
    before = known.get(field.name)
    if field.secret:
        return ask_secret(prompts, field.message, kept=before or None)
    default = str(before or field.default)
    if field.name == ARCHITECTURE:
        choices = (Choice("x86", "x86"), Choice("arm64", "arm64"))
        return prompts.choose(field.message, choices, default)
    return ask(prompts, field.message, str, default)
