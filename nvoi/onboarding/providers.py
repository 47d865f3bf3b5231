"""Who runs the servers: what each asks for, and how its credentials are checked.

A new provider fills in ``check`` and nothing else: it is called with the provider as it was
answered, and raises :class:`~nvoi.errors.NvoiError` where the account refuses it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from nvoi.config.schema import (
    AWSProvider,
    Cloudflare,
    ComputeProvider,
    HetznerProvider,
    LocalProvider,
    ScalewayProvider,
    SSHProvider,
)
from nvoi.errors import NvoiError, UsageError
from nvoi.onboarding.prompts import Choice, Prompts, ask, ask_secret
from nvoi.secret import Secret

T = TypeVar("T")
ARCHITECTURE = "architecture"


@dataclass(frozen=True)
class Field:
    """A question for one key of the provider."""

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
        raise UsageError("supervisor is not installed", hint="pip install 'nvoi[local]'")


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


def get_account(provider: ComputeProvider) -> Account:
    """The entry of ``ACCOUNTS`` for a provider that was chosen before."""
    return next(account for account in ACCOUNTS if isinstance(provider, account.kind))


def build_blank(account: Account) -> ComputeProvider:
    """A record of the provider in which nothing is filled in."""
    blank: ComputeProvider = account.kind(**{field.name: Secret() for field in account.fields})
    return blank


def ask_account(prompts: Prompts, account: Account, before: object) -> Any:
    """The record of ``account``, whose credentials were checked where that can be done.

    Args:
        prompts: where it is asked.
        account: what is asked for.
        before: the record that stood there; one of another kind says nothing.
    """
    known = vars(before) if isinstance(before, account.kind) else {}
    while True:
        # What is not asked for stays as it was.
        answers = {field.name: ask_field(prompts, field, known) for field in account.fields}
        record = account.kind(**{**known, **answers})
        trouble = find_trouble(account, record)
        if trouble is None:
            return record
        prompts.say(f"! {account.title}: {trouble}")
        if not account.fields or prompts.choose("What now?", AFTER_TROUBLE, default=True) is False:
            return record
        known = vars(record)


AFTER_TROUBLE = (
    Choice("type them again", value=True),
    Choice("keep them as they are", value=False),
)


def find_trouble(account: Account, record: object) -> str | None:
    """Why the account does not take what was answered, if it is known to refuse it."""
    if account.check is None:
        return None
    try:
        account.check(record)
    except NvoiError as error:
        return str(error)
    return None


def ask_field(prompts: Prompts, field: Field, known: Mapping[str, Any]) -> str:
    """The answer to one question."""
    before = known.get(field.name)
    if field.secret:
        return ask_secret(prompts, field.message, kept=before or None)
    default = str(before or field.default)
    if field.name == ARCHITECTURE:
        choices = (Choice("x86", "x86"), Choice("arm64", "arm64"))
        return prompts.choose(field.message, choices, default)
    return ask(prompts, field.message, str, default)
