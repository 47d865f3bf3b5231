"""The answers as the summary shows them: a secret is dots. Pure."""

from __future__ import annotations

from collections.abc import Callable

from nvoi.config.schema import AppService, LocalProvider, SSHProvider
from nvoi.config.sensitive import find_embedded
from nvoi.log.masking import REDACTED, Masker
from nvoi.log.rendering import format_count
from nvoi.naming import build_hostnames
from nvoi.onboarding.accounts import LISTED, get_account
from nvoi.onboarding.answers import Answers, build_config
from nvoi.onboarding.dashboards import hide_password
from nvoi.onboarding.databases import find_kind
from nvoi.onboarding.layout import find_head
from nvoi.onboarding.prompts import DOTS

# Longer lines are cut: nobody reads a value of thousands of letters here.
LONGEST = 240
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


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


def describe_domains(answers: Answers) -> list[str]:
    if answers.ingress is not None:
        return ["the servers themselves", f"certificates for {answers.ingress.email}"]
    if answers.cloudflare is None:
        return ["none"]
    return [f"Cloudflare, account {answers.cloudflare.account_id}", f"API token {DOTS}"]


def describe_services(answers: Answers) -> list[str]:
    return [line for app in answers.apps for line in describe_service(app)] or ["none"]


def describe_service(app: AppService) -> list[str]:
    """A service's name and command, then what else it has."""
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


def describe_database(answers: Answers) -> list[str]:
    database = answers.database
    if database is None:
        return ["none"]
    kind = find_kind(database)
    lines = [kind.title if kind else "a database"]
    if database.url:
        lines.append(f"URL {DOTS}")
    elif database.secrets:
        lines.append(f"{', '.join(database.secrets)}: {DOTS}")
    if answers.volume and not database.url:
        size = "" if answers.is_local else f", {answers.volume.size} GB"
        lines.append(f"volume {answers.volume.name}{size}")
    return lines


def describe_variables(answers: Answers) -> list[str]:
    """Variables as they are, secrets as dots."""
    lines = [f"{name}={value}" for name, value in answers.env.items()]
    return [*lines, *(f"{name}={DOTS}" for name in answers.secrets)] or ["none"]


def describe_streaming(answers: Answers) -> list[str]:
    return [hide_password(answers.callback_url) if answers.callback_url else "none"]


def build_cleaner(answers: Answers) -> Callable[[str], str]:
    """What makes a line fit to be shown: no password of a URL, no control character, not long."""
    passwords = list(find_embedded(build_config(answers)))
    masker = Masker(passwords)

    def clean(line: str) -> str:
        for password in passwords:
            # Short ones too, which are words that occur elsewhere.
            line = line.replace(f":{password}@", f":{DOTS}@")
        line = masker.mask_text(line).replace(REDACTED, DOTS)
        shown = "".join(letter if letter.isprintable() else REPLACEMENT for letter in line)
        return shown if len(shown) <= LONGEST else f"{find_head(shown, LONGEST)}…"

    return clean
