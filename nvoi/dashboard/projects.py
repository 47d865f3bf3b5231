"""Projects: who may send, and with which keys; and the options of the last start.

All of these work on a connection within a transaction, be it that of a command while the server
runs or the server's own. Nothing of them is kept in memory, so a change is seen with the next
request. Keys are encrypted, by AES-256-GCM under a key file that lies beside the database: a
copy of the database alone, such as a backup, gives nobody the means to send.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvoi.dashboard.database import Database, read_clock
from nvoi.errors import CredentialsError, UsageError
from nvoi.files import is_open_to_others, read_with_mode, write_private
from nvoi.secret import Secret

#: The project of ``/api/deploys``, which needs no token.
DEFAULT_PROJECT = "default"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_TOKEN_BYTES = 16  # 128 random bits
# NIST SP 800-38D, 5.2.1.1: 96 bits is the length to use.
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY = re.compile(rb"[0-9a-f]{64}\s*", re.ASCII)
_HINT = "put back the key file that was made with this database"


@dataclass(frozen=True, slots=True)
class Project:
    """Who may send. ``token`` is part of its callback URL; the default project has none.

    ``needs_webhook`` says that it has sent the webhook headers: what comes without them now was
    captured, and may be of a run that is no longer stored.
    """

    id: int
    name: str
    token: str | None
    created_at: int
    needs_webhook: bool = False


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """A project and what it has sent: ``deploys`` counts deploy ids, ``attempts`` their runs."""

    project: Project
    deploys: int
    attempts: int
    last_seen_at: int | None


def add_project(sql: Connection, keyring: Keyring, name: str, key: Secret) -> Project:
    """A new project; a UsageError where its name is no name, is taken, or is the default's."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{ascii(name)[:80]} cannot be a project's name",
            hint="1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or a digit",
        )
    if name == DEFAULT_PROJECT:
        raise UsageError(
            f"the project {name} is the one that needs no token", hint="choose another name"
        )
    if find_project(sql, name):
        raise UsageError(f"there is a project {name} already", hint="choose another name")
    project = _insert(sql, name, secrets.token_urlsafe(_TOKEN_BYTES))
    _add_key(sql, keyring, project, key)
    return project


def ensure_default_project(sql: Connection, keyring: Keyring, key: Secret) -> Project:
    """The project of ``/api/deploys``, which needs no token, with ``key`` as a valid one.

    Another key that it had ends at once, unless it was rotated to end later. A start with a key
    that was rotated does not undo that: the key ends when it was to end, or stays ended.
    """
    project = find_project(sql, DEFAULT_PROJECT)
    if project is None:
        project = _insert(sql, DEFAULT_PROJECT, None)
    elif key in get_keys(sql, keyring, project, now=0):
        return project
    sql.execute("DELETE FROM keys WHERE project_id = ? AND expires_at IS NULL", (project.id,))
    _add_key(sql, keyring, project, key)
    return project


def rotate_key(
    sql: Connection, keyring: Keyring, name: str, key: Secret, *, grace_seconds: float
) -> Project:
    """Give a project a new key; those before it stay valid for ``grace_seconds`` at most."""
    project = get_project(sql, name)
    now = read_clock()
    if key in get_keys(sql, keyring, project)[:1]:
        raise UsageError(
            f"this is the key that the project {name} has", hint="make another key first"
        )
    sql.execute(
        "UPDATE keys SET expires_at = min(coalesce(expires_at, :end), :end)"
        " WHERE project_id = :project_id",
        {"end": now + round(grace_seconds * 1000), "project_id": project.id},
    )
    _add_key(sql, keyring, project, key)
    return project


def remove_project(sql: Connection, name: str) -> Project:
    """Remove a project with its keys; its deploys are no longer found, and deleted later."""
    project = get_project(sql, name)
    sql.execute("UPDATE attempts SET project_id = NULL WHERE project_id = ?", (project.id,))
    sql.execute("DELETE FROM projects WHERE id = ?", (project.id,))
    return project


def get_keys(
    sql: Connection, keyring: Keyring, project: Project, *, now: int | None = None
) -> tuple[Secret, ...]:
    """The keys that are valid: the current one first, then those within their grace.

    Those whose time is over are kept, to be known again.
    """
    rows = sql.execute(
        "SELECT sealed FROM keys WHERE project_id = ? AND (expires_at IS NULL OR expires_at > ?)"
        " ORDER BY id DESC",
        (project.id, read_clock() if now is None else now),
    )
    return tuple(keyring.unseal(project.id, sealed) for (sealed,) in rows)


def find_project(sql: Connection, name: str) -> Project | None:
    return next(_read(sql, "WHERE name = ?", name), None)


def get_project(sql: Connection, name: str) -> Project:
    project = find_project(sql, name)
    if project is None:
        raise UsageError(
            f"there is no project {ascii(name)[:80]}",
            hint="'nvoi dashboard project list' shows them",
        )
    return project


def find_project_by_token(sql: Connection, token: str) -> Project | None:
    return next(_read(sql, "WHERE token = ?", token), None)


def list_projects(sql: Connection) -> tuple[Project, ...]:
    return tuple(_read(sql, "ORDER BY name"))


def list_summaries(sql: Connection) -> tuple[ProjectSummary, ...]:
    query = (
        "SELECT count(DISTINCT deploy_id), count(*), max(last_seen_at) FROM attempts"
        " WHERE project_id = ?"
    )
    return tuple(
        ProjectSummary(project, *sql.execute(query, (project.id,)).fetchone())
        for project in list_projects(sql)
    )


def note_webhook(sql: Connection, project_id: int) -> None:
    """A project has sent the webhook headers: it needs them from now on."""
    sql.execute("UPDATE projects SET needs_webhook = 1 WHERE id = ?", (project_id,))


def _read(sql: Connection, which: str, *values: str) -> Iterator[Project]:
    query = f"SELECT id, name, token, created_at, needs_webhook FROM projects {which}"  # noqa: S608 - constants
    for number, name, token, created_at, needs_webhook in sql.execute(query, values):
        yield Project(number, name, token, created_at, bool(needs_webhook))


def _insert(sql: Connection, name: str, token: str | None) -> Project:
    now = read_clock()
    cursor = sql.execute(
        "INSERT INTO projects (name, token, created_at) VALUES (?, ?, ?)", (name, token, now)
    )
    return Project(cursor.lastrowid or 0, name, token, now)


def _add_key(sql: Connection, keyring: Keyring, project: Project, key: Secret) -> None:
    sql.execute(
        "INSERT INTO keys (project_id, sealed) VALUES (?, ?)",
        (project.id, keyring.seal(project.id, key)),
    )


# -- keys ------------------------------------------------------------------------------------


class Keyring:
    """Seals keys, each bound to its project: one moved to another project does not open."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path = path
        self._cipher = AESGCM(bytes.fromhex(key.reveal()))

    def seal(self, project_id: int, key: Secret) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        text = key.reveal().encode()
        return nonce + self._cipher.encrypt(nonce, text, _bind(project_id))

    def unseal(self, project_id: int, sealed: bytes) -> Secret:
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return Secret(self._cipher.decrypt(nonce, text, _bind(project_id)).decode())
        except (InvalidTag, ValueError):
            raise CredentialsError(
                f"{self._path} does not fit the database's keys", hint=_HINT
            ) from None


def _bind(project_id: int) -> bytes:
    return f"nvoi dashboard project {project_id}".encode()


def name_key_file(database: Path) -> Path:
    """Where the key file of a database lies: ``NAME.key`` for ``NAME.sqlite3``.

    It is never ``deploy.key``: in an app's checkout that one is the app's.
    """
    path = database.with_suffix(".key")
    if path == database or path.name == "deploy.key":
        return database.with_name(f"{database.name}.key")
    return path


def open_keyring(database: Database) -> Keyring:
    """The keyring of a database; its key file is made where there are no keys yet.

    A CredentialsError says why a key file that is there, or should be, cannot be used.
    """
    path = name_key_file(database.path)
    with database.read() as sql:
        sealed = sql.execute("SELECT project_id, sealed FROM keys LIMIT 1").fetchone()
    if sealed is None and not path.exists():
        try:
            write_private(path, f"{secrets.token_hex(_KEY_BYTES)}\n".encode(), replace=False)
        except CredentialsError:
            # Another process may have been quicker; its file is as good.
            if not path.exists():
                raise
    keyring = Keyring(path, _read_key(path))
    if sealed:
        keyring.unseal(*sealed)
    return keyring


def _read_key(path: Path) -> Secret:
    if not path.exists():
        raise CredentialsError(
            f"{path} is missing: the keys in the database are encrypted with it", hint=_HINT
        )
    content, mode = read_with_mode(path)
    if is_open_to_others(mode):
        raise CredentialsError(f"{path} can be read by others", hint=f"chmod 600 {path}")
    if not _KEY.fullmatch(content):
        raise CredentialsError(f"{path} holds no key (64 hex digits)", hint=_HINT)
    return Secret(content.decode().strip())


# -- options ---------------------------------------------------------------------------------


def find_option(sql: Connection, name: str) -> str | None:
    row = sql.execute("SELECT value FROM options WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def store_option(sql: Connection, name: str, value: str) -> None:
    sql.execute("INSERT OR REPLACE INTO options (name, value) VALUES (?, ?)", (name, value))
