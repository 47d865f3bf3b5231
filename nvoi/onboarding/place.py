"""Asks where the app runs, for what that needs, and for what brings it domains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nvoi.config.fields import (
    RejectedError,
    parse_host,
    parse_port,
    parse_positive,
    parse_user,
)
from nvoi.config.schema import SSHKeys, SSHProvider
from nvoi.config.ssh_keys import KeyPairError, derive_ssh_keys, generate_ssh_keys
from nvoi.errors import NvoiError
from nvoi.files import read_file
from nvoi.onboarding.answers import Answers, build_groups
from nvoi.onboarding.interview import Interview
from nvoi.onboarding.prompts import Choice, ask
from nvoi.onboarding.providers import (
    ACCOUNTS,
    CLOUDFLARE,
    Account,
    ask_account,
    build_blank,
    get_account,
)

INTRODUCTION = "\n".join(f"  {account.needs}" for account in ACCOUNTS)
NOT_YET = (
    "This version of nvoi deploys to this machine and to own servers only. The config is made and "
    "checked all the same, and `nvoi deploy` refuses it before it touches anything."
)
NO_DOMAINS_YET = (
    "This version of nvoi serves no domains from servers: `nvoi deploy` refuses a config in which "
    "an app has one."
)
DEFAULT_USER, DEFAULT_PORT = "root", 22
DOMAINS_ON_SERVERS = f"{CLOUDFLARE.needs} Without it services have no domain."
DOMAINS_ON_THIS_MACHINE = (
    "Domains are for servers: on this machine each service is on localhost, and what is "
    "answered here counts once the app moves."
)


def ask_place(interview: Interview, answers: Answers) -> Answers:
    """Where it runs: the provider, the servers, and the key that reaches them."""
    prompts = interview.prompts
    prompts.say(INTRODUCTION)
    choices = [Choice(account.title, account) for account in ACCOUNTS]
    account = prompts.choose("Where does it run?", choices, get_account(answers.provider))
    if not interview.is_deployable(build_blank(account)):
        prompts.say(f"! {NOT_YET}")
    answers = replace(answers, provider=ask_account(prompts, account, answers.provider))
    if answers.is_local:
        # What a config says of servers counts for nothing here, and is not lost.
        before = interview.original or Answers()
        return replace(answers, groups=before.groups, ssh_keys=before.ssh_keys)
    return ask_keys(interview, ask_servers(interview, answers, account))


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
    """Names or addresses, each once."""
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
    choices = [
        Choice("make a new pair", "new"),
        Choice("use a key file of mine", "file"),
    ]
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
    """The pair of a private key in a file."""
    try:
        path = Path(text).expanduser()
        return derive_ssh_keys(read_file(path))
    except (NvoiError, RuntimeError) as error:
        raise RejectedError(str(error)) from None
    except KeyPairError as error:
        raise RejectedError(f"{text} {error}") from None


def ask_domains(interview: Interview, answers: Answers) -> Answers:
    """Cloudflare or not; without it no service keeps a domain."""
    prompts = interview.prompts
    about = DOMAINS_ON_THIS_MACHINE if answers.is_local else DOMAINS_ON_SERVERS
    prompts.say(f"  {about}")
    if not answers.is_local and interview.is_deployable(answers.provider):
        prompts.say(f"! {NO_DOMAINS_YET}")
    if prompts.confirm("Serve domains through Cloudflare?", default=bool(answers.cloudflare)):
        return replace(answers, cloudflare=ask_account(prompts, CLOUDFLARE, answers.cloudflare))
    if answers.is_local:
        return replace(answers, cloudflare=None)
    apps = tuple(replace(app, domain=None, subdomain=None) for app in answers.apps)
    return replace(answers, cloudflare=None, apps=apps)
