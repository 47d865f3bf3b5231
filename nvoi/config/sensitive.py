"""What must not be shown of a config: its secrets, and the passwords inside its URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import unquote

from nvoi.config.schema import Application, Config
from nvoi.network import find_secrets
from nvoi.secret import Secret

AUTHORITY = re.compile(r"[^/?#]*")
PARAMETER = re.compile(
    r"[?&;][\w.%-]*(?:password|passwd|pwd|passphrase|token|secret|api_?key)=(?P<value>[^&\s]+)",
    re.IGNORECASE,
)
# What may follow a parameter where the URL stands in quotes, brackets or a list.
CLOSING = re.compile(r"[#;,\"'<>)\]}]")
PORT = re.compile(r"[0-9]{1,5}[/?#]?")
# More ends than this are tried of no password, so that no text takes long.
ENDS = 8


def collect_secrets(config: Config) -> Iterator[str]:
    """Every secret value, each once: for whoever masks them.

    Tokens and keys of the providers, ``secrets``, ``database.secrets``, the private SSH key as
    a whole, ``database.url`` as a whole where it holds a password, and the passwords inside all
    URLs, in front of the host or in a parameter, as written and percent-decoded.
    """
    found = [*find_declared(config.application), *find_embedded(config)]
    yield from dict.fromkeys(value for value in found if value)


def find_declared(application: Application) -> Iterator[str]:
    """The values whose keys say that they are secret."""
    holders = (application.compute_provider, application.cloudflare, application.ssh_keys)
    for holder in holders:
        values = [getattr(holder, field.name) for field in fields(holder)] if holder else []
        yield from (value.reveal() for value in values if isinstance(value, Secret))
    yield from (value.reveal() for value in application.secrets.values())
    for login in application.registries.values():
        yield from (login.password.reveal(), login.basic.reveal())
    if application.database:
        yield from (value.reveal() for value in application.database.secrets.values())


def find_embedded(config: Config) -> Iterator[str]:
    """The passwords inside URLs, wherever a config may hold one."""
    application = config.application
    yield from find_secrets(config.callback_url or "")
    if application.database and application.database.url:
        url = application.database.url.reveal()
        passwords = list(find_passwords(url))
        yield from ([url, *passwords] if passwords else [])
    texts = list(application.env.values())
    for app in application.app.values():
        texts += [*app.env.values(), app.command or "", app.pre_run_command or ""]
        texts += [app.healthcheck.command or ""] if app.healthcheck else []
    for auxiliary in application.services.values():
        texts += [*auxiliary.env.values(), auxiliary.command or ""]
    for text in [*texts, *(value.reveal() for value in application.secrets.values())]:
        yield from find_passwords(text)


def find_passwords(text: str) -> Iterator[str]:
    """The passwords of every URL in ``text``, as written and percent-decoded.

    Meant for masking: where a password holds ``/``, ``?``, ``#`` or ``@`` unescaped, programs
    differ on where it ends, so each end that one may see is among them. So are the values of
    parameters such as ``password=`` and ``token=``.
    """
    for word in text.split():
        urls = word.split("://")[1:]
        for url in urls:
            yield from find_password(url)
        if len(urls) > 1:
            yield from find_password("://".join(urls))
        if urls:
            yield from find_parameters(word)


def find_password(url: str) -> Iterator[str]:
    """The passwords that ``url``, from its authority on, may be taken to hold."""
    _, colon, tail = url.partition(":")
    # A shorter end than that of RFC 3986 would take a piece of the password for all of it.
    authority = AUTHORITY.match(url)
    least = authority[0].rfind("@") if authority else -1
    before = len(url) - len(tail)
    ends = [match.start() for match in re.finditer("@", url) if match.start() >= max(least, before)]
    for end in dict.fromkeys([*ends[:ENDS], *ends[-1:]]) if colon else ():
        if end == least or not PORT.fullmatch(url, before, end):
            yield from spellings(url[before:end])


def find_parameters(text: str) -> Iterator[str]:
    """The values of parameters whose names say that they are secret."""
    for match in PARAMETER.finditer(text):
        yield from spellings(match["value"])
        yield from spellings(CLOSING.split(match["value"])[0])


def spellings(word: str) -> Iterator[str]:
    """``word`` as it is and percent-decoded, if there is any."""
    if word:
        yield word
        yield unquote(word)
