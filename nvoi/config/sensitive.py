"""What must not be shown of a config: its secrets, and the passwords inside its URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from urllib.parse import unquote

from nvoi.config.schema import Config
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

    All that the schema declares as secret, but ``database.url`` where it holds no password;
    registries' logins as engines have them; and the passwords inside all URLs, in front of the
    host or in a parameter, as written and percent-decoded.
    """
    database, registries = config.application.database, config.application.registries
    found = [value for value in list_texts(config) if isinstance(value, Secret)]
    if database and database.url and not any(find_passwords(database.url.reveal())):
        found.remove(database.url)
    found += [login.basic for login in registries.values()]
    secrets = [*(value.reveal() for value in found), *find_embedded(config)]
    yield from dict.fromkeys(filter(None, secrets))


def find_embedded(config: Config) -> Iterator[str]:
    """The passwords inside URLs, wherever a config has one."""
    yield from find_secrets(config.callback_url or "")
    for text in list_texts(config):
        yield from find_passwords(text.reveal() if isinstance(text, Secret) else text)


def list_texts(part: object) -> Iterator[str]:
    """Every text in a part of a config, with those in records, mappings and lists of it."""
    if isinstance(part, str):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from list_texts(getattr(part, field.name))
    elif isinstance(part, Mapping | tuple):
        for item in part.values() if isinstance(part, Mapping) else part:
            yield from list_texts(item)


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
