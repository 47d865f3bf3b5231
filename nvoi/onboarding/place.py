"""Asks where the app runs: who runs the servers, what that needs, and what brings it domains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nvoi.config.fields import (
    RejectedError,
    parse_email,
    parse_host,
    parse_port,
    parse_positive,
    parse_user,
)
from nvoi.config.schema import Ingress, LocalProvider, SSHKeys, SSHProvider
from nvoi.config.ssh_keys import KeyPairError, derive_ssh_keys, generate_ssh_keys
from nvoi.errors import NvoiError
from nvoi.files import read_file
from nvoi.log.rendering import format_count
from nvoi.onboarding.accounts import (
    ACCOUNTS,
    CLOUDFLARE,
    LISTED,
    AccountForm,
    ask_account,
    get_account,
)
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.prompts import DOTS, Choice, Interview, ask

DEFAULT_USER, DEFAULT_PORT = "root", 22
#: What brings domains to the services.
NO_DOMAINS, BY_CLOUDFLARE, BY_INGRESS = "no domains", "Cloudflare", "the servers themselves"
INGRESS_NEEDS = (
    "The servers themselves: DNS records that you set, ports 80 and 443 of the first server, and "
    "an e-mail address for Let's Encrypt."
)


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
