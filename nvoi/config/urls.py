"""URLs that carry credentials: taking them apart and putting them together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from nvoi.secret import Secret

# A driver may follow the scheme, as in mysql+pymysql://.
SCHEMES = {"postgres": ("postgres", "postgresql"), "mysql": ("mysql", "mysql2")}
# Up to the last `@` of the authority, as RFC 3986's readers take it.
USERINFO = re.compile(r"://(?P<userinfo>[^/?#\s]*)@")
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


@dataclass(frozen=True)
class DatabaseAddress:
    """Where a database is and who may use it; None for what a URL leaves out."""

    host: str | None
    port: int | None
    user: str | None
    password: Secret | None
    database: str | None


def parse_database_url(url: str, engine: str) -> DatabaseAddress:
    """The parts of a URL of ``engine``, percent-decoded.

    Raises:
        ValueError: it is no such URL. The text does not repeat it.
    """
    schemes = SCHEMES[engine]
    allowed = (
        f"must be {schemes[0]}://USER:PASSWORD@HOST:PORT/NAME; "
        "special characters in the password need percent-encoding"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(allowed) from None
    misplaced = parts.fragment or "@" in parts.path or any(c.isspace() for c in url)
    if parts.scheme.partition("+")[0] not in schemes or misplaced or not url.isprintable():
        raise ValueError(allowed)
    return DatabaseAddress(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        database=unquote(parts.path.removeprefix("/")) or None,
    )


def build_database_url(engine: str, address: DatabaseAddress) -> str:
    """``postgresql://user:password@host:port/name``, or the same with ``mysql``.

    ``postgresql`` and not ``postgres``, which SQLAlchemy no longer takes; both are named
    by PostgreSQL's manual (libpq, Connection URIs).
    """
    scheme = "postgresql" if engine == "postgres" else engine
    user = quote(address.user or "", safe="")
    password = quote(address.password.reveal(), safe="") if address.password else ""
    name = quote(address.database or "", safe="")
    return f"{scheme}://{user}:{password}@{address.host}:{address.port}/{name}"


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


def find_userinfo(text: str) -> Iterator[str]:
    """The password before each URL's host; a user name without one is one too: it is a token."""
    for match in USERINFO.finditer(text):
        user, _, password = match["userinfo"].partition(":")
        yield from spellings(password or user)


def spellings(word: str) -> Iterator[str]:
    """``word`` as it is and percent-decoded, if there is any."""
    if word:
        yield word
        yield unquote(word)
