"""Asks where the app runs: who has the servers, what that needs, and what brings it domains.

An account is tried against its API as it is typed. A new provider is an entry of ``ACCOUNTS``;
:func:`nvoi.providers.list_types` asks it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvoi.account import Pace
from nvoi.config.fields import (
    RejectedError,
    parse_email,
    parse_host,
    parse_port,
    parse_positive,
    parse_user,
)
from nvoi.config.schema import (
    EMPTY,
    AWSProvider,
    Cloudflare,
    ComputeProvider,
    HetznerProvider,
    Ingress,
    LocalProvider,
    ScalewayProvider,
    SSHKeys,
    SSHProvider,
)
from nvoi.config.ssh_keys import KeyPairError, derive_ssh_keys, generate_ssh_keys
from nvoi.domains.cloudflare_api import Account as CloudflareAccount
from nvoi.domains.cloudflare_records import Zone
from nvoi.errors import ExtraError, NvoiError
from nvoi.files import read_file
from nvoi.log.rendering import format_count
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.prompts import DOTS, Choice, Interview, Prompts, ask, ask_secret
from nvoi.providers import ServerType, list_regions, list_types

DEFAULT_USER, DEFAULT_PORT = "root", 22
#: What brings domains to the services.
NO_DOMAINS, BY_CLOUDFLARE, BY_INGRESS = "no domains", "Cloudflare", "the servers themselves"
INGRESS_NEEDS = (
    "The servers themselves: DNS records that you set, ports 80 and 443 of the first server, and "
    "an e-mail address for Let's Encrypt."
)
ARCHITECTURE = "architecture"

Environ = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """A question; ``is_listed`` where the account itself says which answers there are."""

    name: str
    message: str
    default: str = ""
    secret: bool = False
    is_listed: bool = False


@dataclass(frozen=True)
class AccountForm:
    """A provider to be asked for.

    Args:
        title: how it is called, in a few words.
        kind: its record in the config.
        needs: what one has to have, in a sentence.
        fields: its questions.
        settle: tries what was answered, and completes it by what the account has; raises NvoiError.
    """

    title: str
    kind: type[Any]
    needs: str
    fields: tuple[Field, ...] = ()
    settle: Callable[[Prompts, Any, Environ], Any] = lambda _, record, __: record


def settle_local(_: Prompts, record: LocalProvider, __: Environ) -> LocalProvider:
    """Services on this machine are kept by supervisord, which an extra brings."""
    if importlib.util.find_spec("supervisor") is None:
        raise ExtraError("supervisor is not installed", "local")
    return record


def settle_aws(prompts: Prompts, record: AWSProvider, environ: Environ) -> Any:
    """As :func:`settle_rented`: a region says what is on sale there once it is chosen."""
    regions = try_out(prompts, list_regions, record, environ)
    choices = [Choice(region, region) for region in regions]
    record = replace(record, region=prompts.choose("Region:", choices, record.region))
    types = try_out(prompts, list_types, record, environ)
    if all(one.price is None for one in types):
        prompts.say(
            "  There are no prices: the key may lack the right to pricing:GetProducts, or AWS' "
            "price list does not answer. See https://aws.amazon.com/ec2/pricing/on-demand/"
        )
    return choose_type(prompts, record, types)


def settle_rented(prompts: Prompts, record: Any, environ: Environ) -> Any:
    return choose_type(prompts, record, try_out(prompts, list_types, record, environ))


def choose_type(prompts: Prompts, record: Any, types: Sequence[ServerType]) -> Any:
    """``record`` with the location and the server type that are chosen of those on sale."""
    location, kind = LISTED[type(record)]
    places = sorted({one.location for one in types})
    if not places:
        return record
    choices = [Choice(place, place) for place in places]
    place = places[0]
    if len(places) > 1:
        place = prompts.choose("Location:", choices, getattr(record, location))
    here = [one for one in types if one.location == place]
    here.sort(key=lambda one: (one.price is None, one.price or 0, one.cores, one.memory, one.name))
    before = next((one for one in here if one.name == getattr(record, kind)), None)
    chosen = prompts.choose("Server type:", [Choice(one.describe(), one) for one in here], before)
    values = {location: place, kind: chosen.name, ARCHITECTURE: chosen.architecture}
    return replace(record, **values)


def check_cloudflare(record: Cloudflare, environ: Environ) -> Sequence[Zone]:
    """The zones that the token sees; it may change tunnels, and records of one of them."""
    with closing(CloudflareAccount(record, environ, Pace().hurry())) as account:
        account.check_tunnel_rights()
        zones = account.list_zones()
        refusals = []
        for zone in zones:
            try:
                account.check_record_rights(zone)
            except NvoiError as error:
                refusals.append(error)
            else:
                return zones
    for refusal in refusals:
        raise refusal
    return zones


def settle_cloudflare(prompts: Prompts, record: Cloudflare, environ: Environ) -> Cloudflare:
    zones = try_out(prompts, check_cloudflare, record, environ)
    names = ", ".join(sorted(zone.name for zone in zones))
    if names:
        prompts.say(f"  Domains of the account: {names}")
    else:
        prompts.say("! The account has no domain that the token may see: add one at Cloudflare.")
    return record


ARCHITECTURE_FIELD = Field(ARCHITECTURE, "Architecture:", "x86", is_listed=True)
#: Where a provider's record has the location and the server type.
LISTED: Mapping[type[Any], tuple[str, str]] = {
    HetznerProvider: ("server_location", "server_type"),
    AWSProvider: ("region", "instance_type"),
    ScalewayProvider: ("zone", "server_type"),
}

ACCOUNTS: tuple[AccountForm, ...] = (
    AccountForm(
        "this machine",
        LocalProvider,
        "This machine: no account, no root, no containers.",
        settle=settle_local,
    ),
    AccountForm(
        "own servers",
        SSHProvider,
        "Own servers: their addresses, and a user who may log in with an SSH key.",
    ),
    AccountForm(
        "Hetzner",
        HetznerProvider,
        "Hetzner: an API token with read and write access (Console, Security, API tokens).",
        (
            Field("api_token", "Hetzner API token", secret=True),
            Field("server_type", "Server type:", "cx23", is_listed=True),
            Field("server_location", "Location:", "nbg1", is_listed=True),
            ARCHITECTURE_FIELD,
        ),
        settle=settle_rented,
    ),
    AccountForm(
        "AWS",
        AWSProvider,
        "AWS: an access key of an IAM user who may manage EC2.",
        (
            Field("access_key_id", "Access key id", secret=True),
            Field("secret_access_key", "Secret access key", secret=True),
            Field("region", "Region:", "eu-central-1", is_listed=True),
            Field("instance_type", "Instance type:", "t3.small", is_listed=True),
            ARCHITECTURE_FIELD,
        ),
        settle=settle_aws,
    ),
    AccountForm(
        "Scaleway",
        ScalewayProvider,
        "Scaleway: the secret key of an API key, and the project's id.",
        (
            Field("secret_key", "Secret key", secret=True),
            Field("project_id", "Project id:"),
            Field("zone", "Zone:", "fr-par-1", is_listed=True),
            Field("server_type", "Server type:", "DEV1-S", is_listed=True),
            ARCHITECTURE_FIELD,
        ),
        settle=settle_rented,
    ),
)

CLOUDFLARE = AccountForm(
    "Cloudflare",
    Cloudflare,
    "Cloudflare: an API token that may edit DNS and tunnels, and the account's id.",
    (
        Field("api_token", "Cloudflare API token", secret=True),
        Field("account_id", "Account id:"),
    ),
    settle=settle_cloudflare,
)
AFTER_TROUBLE = (
    Choice("type them again", value=True),
    Choice("keep them as they are", value=False),
)


def get_account(provider: ComputeProvider) -> AccountForm:
    return next(account for account in ACCOUNTS if isinstance(provider, account.kind))


def ask_account(
    prompts: Prompts, account: AccountForm, before: object, environ: Environ = EMPTY
) -> Any:
    """The record of ``account``, whose credentials were checked where that can be done."""
    known = dict(vars(before)) if isinstance(before, account.kind) else {}
    while True:
        # What is not asked for stays as it was.
        for field in account.fields:
            if field.is_listed:
                known.setdefault(field.name, field.default)
            else:
                known[field.name] = ask_field(prompts, field, known)
        record = account.kind(**known)
        try:
            return account.settle(prompts, record, environ)
        except NvoiError as error:
            prompts.say(f"! {account.title}: {error}")
        if not account.fields or prompts.choose("What now?", AFTER_TROUBLE, default=True) is False:
            break
    # Nobody says what there is.
    rest = [field for field in account.fields if field.is_listed]
    return replace(record, **{field.name: ask_field(prompts, field, known) for field in rest})


def try_out(
    prompts: Prompts,
    check: Callable[[Any, Environ], Sequence[Any]],
    record: Any,
    environ: Environ,
) -> Sequence[Any]:
    """What the account has; asked once, also where the user goes back.

    Raises:
        NvoiError: it refuses, or does not answer.
    """

    def act() -> Sequence[Any] | NvoiError:
        try:
            return check(record, environ)
        except NvoiError as error:
            return error

    found = prompts.once(act)
    if isinstance(found, NvoiError):
        raise found
    return found


def ask_field(prompts: Prompts, field: Field, known: Mapping[str, Any]) -> str:
    before = known.get(field.name)
    if field.secret:
        return ask_secret(prompts, field.message, kept=before or None)
    default = str(before or field.default)
    if field.name == ARCHITECTURE:
        choices = (Choice("x86", "x86"), Choice("arm64", "arm64"))
        return prompts.choose(field.message, choices, default)
    return ask(prompts, field.message, str, default)


def ask_place(interview: Interview, answers: Answers) -> Answers:
    prompts = interview.prompts
    prompts.say("\n".join(f"  {account.needs}" for account in ACCOUNTS))
    choices = [Choice(account.title, account) for account in ACCOUNTS]
    account = prompts.choose("Where does it run?", choices, get_account(answers.provider))
    provider = ask_account(prompts, account, answers.provider, interview.environ)
    answers = replace(answers, provider=provider)
    if answers.is_local:
        # What a config says of servers counts for nothing here, and is not lost.
        before = interview.original or Answers()
        return replace(answers, groups=before.groups, ssh_keys=before.ssh_keys)
    return ask_keys(interview, ask_servers(interview, answers, account))


def describe_place(answers: Answers) -> list[str]:
    provider = answers.provider
    title = get_account(provider).title
    if isinstance(provider, LocalProvider):
        return [title]
    if isinstance(provider, SSHProvider):
        logins = ((group.user or "root", host) for group in answers.groups for host in group.hosts)
        return [title, *(f"{user}@{host}" for user, host in logins)]
    location, kind = (getattr(provider, name) for name in LISTED[type(provider)])
    count = format_count(sum(group.count for group in answers.groups), "server")
    return [title, f"{count}, {kind} in {location}, {provider.architecture}", f"credentials {DOTS}"]


def ask_servers(interview: Interview, answers: Answers, account: AccountForm) -> Answers:
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
    """Cloudflare, the cluster's ingress, or none; without either no service keeps a domain."""
    prompts = interview.prompts
    prompts.say(f"  {CLOUDFLARE.needs}\n  {INGRESS_NEEDS}")
    choices = [Choice(title, title) for title in (NO_DOMAINS, BY_CLOUDFLARE, BY_INGRESS)]
    before = BY_CLOUDFLARE if answers.cloudflare else BY_INGRESS if answers.ingress else NO_DOMAINS
    chosen = prompts.choose("What brings domains to the apps?", choices, before)
    if chosen == BY_CLOUDFLARE:
        account = ask_account(prompts, CLOUDFLARE, answers.cloudflare, interview.environ)
        return replace(answers, cloudflare=account, ingress=None)
    if chosen == BY_INGRESS:
        known = answers.ingress.email if answers.ingress else ""
        email = ask(prompts, "E-mail address for certificates:", parse_email, known)
        ingress = replace(answers.ingress, email=email) if answers.ingress else Ingress(email)
        return replace(answers, cloudflare=None, ingress=ingress)
    apps = tuple(replace(app, domain=None, subdomain=None) for app in answers.apps)
    return replace(answers, cloudflare=None, ingress=None, apps=apps)


def describe_domains(answers: Answers) -> list[str]:
    if answers.ingress is not None:
        return ["the servers themselves", f"certificates for {answers.ingress.email}"]
    if answers.cloudflare is None:
        return ["none"]
    return [f"Cloudflare, account {answers.cloudflare.account_id}", f"API token {DOTS}"]
