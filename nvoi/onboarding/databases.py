"""Asks for the database; one that nvoi runs is given passwords and a volume."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from nvoi.config.environment import SECRETS, parse_database_url
from nvoi.config.fields import RejectedError, parse_positive
from nvoi.config.schema import Database, Volume
from nvoi.onboarding.answers import Answers, find_home
from nvoi.onboarding.prompts import DOTS, Choice, Interview, ask, ask_secret
from nvoi.secret import Secret

VOLUME = "database"
KEEP, NO_DATABASE = "keep", "none"
PASSWORD_BYTES = 24
# Short enough that it is not masked as a secret wherever a log has the word.
OWNER = "app"


@dataclass(frozen=True)
class DatabaseKind:
    """A kind of database.

    ``folder`` is where its image keeps the data; ``root`` is the variable of a password that it
    needs beside those of ``SECRETS``.
    """

    title: str
    adapter: str
    image: str | None
    folder: str
    root: str | None = None

    @property
    def passwords(self) -> list[str]:
        """The variables of the passwords that are made for it."""
        own = SECRETS[self.adapter][1] if self.adapter in SECRETS else None
        return [*filter(None, (own, self.root))]


POSTGRES = DatabaseKind("PostgreSQL", "postgres", "postgres:17", "/var/lib/postgresql/data")
PGVECTOR = replace(POSTGRES, title="PostgreSQL with pgvector", image="pgvector/pgvector:pg17")
# The image does not start without the last (Docker Hub, mysql, "Environment Variables").
MYSQL = DatabaseKind("MySQL", "mysql", "mysql:8.4", "/var/lib/mysql", "MYSQL_ROOT_PASSWORD")
SQLITE = DatabaseKind("SQLite", "sqlite3", None, "/data")
KINDS = (POSTGRES, PGVECTOR, MYSQL, SQLITE)

ON_THIS_MACHINE = (
    "On this machine SQLite needs nothing, and is a file that outlives releases. nvoi runs no "
    "PostgreSQL or MySQL here: give the URL of a server that runs already."
)
ON_SERVERS = "A database is given a user, generated passwords and a volume on the first server."


def ask_database(interview: Interview, answers: Answers) -> Answers:
    """The database, or none; one of the same kind as before keeps all that it has."""
    prompts = interview.prompts
    prompts.say(f"  {ON_THIS_MACHINE if answers.is_local else ON_SERVERS}")
    choices: list[Choice[DatabaseKind | str]] = [Choice("none", NO_DATABASE)]
    choices += [Choice(kind.title, kind) for kind in KINDS]
    default: DatabaseKind | None = None
    if is_unreachable(answers):
        default = find_kind(answers.database)
    elif answers.database:
        choices.insert(0, Choice("keep the one it has", KEEP))
    kind = prompts.choose("Database:", choices, default)
    if kind == KEEP:
        return answers
    if isinstance(kind, str):
        return replace(answers, database=None, volume=None)
    known = find_kind(answers.database)
    before = answers.database if kind == known else None
    if kind is not SQLITE and (answers.is_local or (before and before.url)):
        return ask_running(interview, answers, kind, before)
    return ask_volume(interview, answers, kind, before)


def is_unreachable(answers: Answers) -> bool:
    """Whether the database is one that this machine does not run, without an address."""
    database = answers.database
    return bool(answers.is_local and database and database.engine in SECRETS and not database.url)


def find_kind(database: Database | None) -> DatabaseKind | None:
    if database is None or database.engine is None:
        return None
    if database.engine == "postgres":
        return PGVECTOR if "pgvector" in (database.image or "") else POSTGRES
    return MYSQL if database.engine == "mysql" else SQLITE


def ask_running(
    interview: Interview, answers: Answers, kind: DatabaseKind, before: Database | None
) -> Answers:
    if kind is PGVECTOR:
        interview.prompts.say("  The server must have the extension `vector`.")
    message = f"URL ({kind.adapter}://USER:PASSWORD@HOST/NAME)"
    kept = before.url if before else None
    url = ask_secret(interview.prompts, message, build_url_parser(kind), kept)
    database = replace(before or Database(adapter=kind.adapter), url=url)
    if before is None:
        # So that it is still known when the app moves.
        database = replace(database, image=kind.image if kind is PGVECTOR else None)
    return replace(answers, database=database, volume=answers.volume if before else None)


def build_url_parser(kind: DatabaseKind) -> Callable[[str], object]:

    def parse(text: str) -> object:
        try:
            address = parse_database_url(text, kind.adapter)
        except ValueError as error:
            raise RejectedError(str(error)) from None
        if not address.host:
            raise RejectedError("must name the server's host")
        return address

    return parse


def ask_volume(
    interview: Interview, answers: Answers, kind: DatabaseKind, before: Database | None
) -> Answers:
    database = complete(before or Database(), kind)
    volume = Volume(next(iter(database.mount)))
    if answers.volume and before:
        volume = answers.volume
    elif home := find_home(answers):
        volume = home.volumes.get(volume.name, volume)
    if not answers.is_local:
        size = ask(interview.prompts, "Size of its volume in GB:", parse_positive, str(volume.size))
        volume = replace(volume, size=size)
    return replace(answers, database=database, volume=volume)


def complete(database: Database, kind: DatabaseKind) -> Database:
    """``database`` with what it lacks to be run; what it has stays."""
    wanted = {key: Secret(secrets.token_hex(PASSWORD_BYTES)) for key in kind.passwords}
    if kind.adapter in SECRETS:
        user, _, name = SECRETS[kind.adapter]
        wanted = {user: Secret(OWNER), name: Secret(OWNER), **wanted}
    given = {key: value for key, value in database.secrets.items() if value}
    return replace(
        database,
        adapter=database.adapter or kind.adapter,
        image=database.image or kind.image,
        mount=database.mount or {VOLUME: kind.folder},
        secrets={**wanted, **given},
    )


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
