"""Projects: who may send, and with which keys; and the options of the last start.

All of these work on a connection within a transaction, be it that of a command while the server
runs or the server's own. Nothing of them is kept in memory, so a change is seen with the next
request.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from dataclasses import dataclass

from nvoi.dashboard.database import read_clock
from nvoi.dashboard.keyring import Keyring
from nvoi.errors import UsageError
from nvoi.secret import Secret

#: The project of ``/api/deploys``, which needs no token.
DEFAULT_PROJECT = "default"

#: How long a rotated key stays valid beside its successor, in seconds.
GRACE_SECONDS = 24 * 60 * 60

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_TOKEN_BYTES = 16
_SELECT = "SELECT id, name, token, created_at FROM projects"
_LIST_HINT = "'nvoi dashboard project list' shows them"


@dataclass(frozen=True, slots=True)
class Project:
    """Who may send. ``token`` is part of its callback URL; the default project has none."""

    id: int
    name: str
    token: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """A project and what it has sent: ``deploys`` counts deploy ids, ``attempts`` their runs.

    ``last_seen_at`` is None where nothing came yet.
    """

    project: Project
    deploys: int
    attempts: int
    last_seen_at: int | None


def check_name(name: str) -> str:
    """``name`` itself where a project may be called so.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{ascii(name)[:80]} cannot be a project's name",
            hint="1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or a digit",
        )
    return name


def add_project(
    connection: sqlite3.Connection, keyring: Keyring, name: str, key: Secret
) -> Project:
    """A new project, with a token of 128 random bits; ``key`` is its deploy key's text.

    Raises:
        UsageError: the name is no name, is taken, or is the default project's.
    """
    check_name(name)
    if name == DEFAULT_PROJECT:
        raise UsageError(
            f"the project {name} is the one that needs no token", hint="choose another name"
        )
    if find_project(connection, name):
        raise UsageError(f"there is a project {name} already", hint="choose another name")
    project = _insert(connection, name, secrets.token_urlsafe(_TOKEN_BYTES))
    _add_key(connection, keyring, project, key)
    return project


def ensure_default_project(
    connection: sqlite3.Connection, keyring: Keyring, key: Secret
) -> Project:
    """The project of ``/api/deploys``, which needs no token, with ``key`` as a valid one.

    Another key that it had ends at once, unless it was rotated to end later. A key that was
    rotated to end later stays so: a start with it does not undo the rotation.
    """
    project = find_project(connection, DEFAULT_PROJECT)
    if project is None:
        project = _insert(connection, DEFAULT_PROJECT, None)
    elif key in get_keys(connection, keyring, project):
        return project
    now = read_clock()
    connection.execute(
        "DELETE FROM keys WHERE project_id = ? AND (expires_at IS NULL OR expires_at <= ?)",
        (project.id, now),
    )
    _add_key(connection, keyring, project, key)
    return project


def rotate_key(
    connection: sqlite3.Connection,
    keyring: Keyring,
    name: str,
    key: Secret,
    *,
    grace_seconds: float = GRACE_SECONDS,
) -> Project:
    """Give a project a new key; those before it stay valid for ``grace_seconds`` at most.

    Raises:
        UsageError: there is no such project, or the key is its current one.
    """
    project = get_project(connection, name)
    now = read_clock()
    if key in get_keys(connection, keyring, project)[:1]:
        raise UsageError(
            f"this is the key that the project {name} has", hint="make another key first"
        )
    connection.execute(
        "DELETE FROM keys WHERE project_id = ? AND expires_at <= ?", (project.id, now)
    )
    connection.execute(
        "UPDATE keys SET expires_at = min(coalesce(expires_at, :end), :end)"
        " WHERE project_id = :project_id",
        {"end": now + round(grace_seconds * 1000), "project_id": project.id},
    )
    _add_key(connection, keyring, project, key)
    return project


def remove_project(connection: sqlite3.Connection, name: str) -> Project:
    """Remove a project with its keys; its deploys are no longer found, and deleted later.

    Raises:
        UsageError: there is no such project.
    """
    project = get_project(connection, name)
    connection.execute("UPDATE attempts SET project_id = NULL WHERE project_id = ?", (project.id,))
    connection.execute("DELETE FROM projects WHERE id = ?", (project.id,))
    return project


def get_keys(
    connection: sqlite3.Connection,
    keyring: Keyring,
    project: Project,
    *,
    now: int | None = None,
) -> tuple[Secret, ...]:
    """The keys that are valid: the current one first, then those within their grace.

    Raises:
        CredentialsError: the keyring does not fit.
    """
    rows = connection.execute(
        "SELECT sealed FROM keys WHERE project_id = ? AND (expires_at IS NULL OR expires_at > ?)"
        " ORDER BY id DESC",
        (project.id, read_clock() if now is None else now),
    )
    return tuple(keyring.unseal(project.id, sealed) for (sealed,) in rows)


def find_project(connection: sqlite3.Connection, name: str) -> Project | None:
    row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return Project(*row) if row else None


def get_project(connection: sqlite3.Connection, name: str) -> Project:
    """The project of this name.

    Raises:
        UsageError: there is none.
    """
    project = find_project(connection, name)
    if project is None:
        raise UsageError(f"there is no project {ascii(name)[:80]}", hint=_LIST_HINT)
    return project


def find_project_by_token(connection: sqlite3.Connection, token: str) -> Project | None:
    row = connection.execute(f"{_SELECT} WHERE token = ?", (token,)).fetchone()
    return Project(*row) if row else None


def list_projects(connection: sqlite3.Connection) -> tuple[Project, ...]:
    return tuple(Project(*row) for row in connection.execute(f"{_SELECT} ORDER BY name"))


def list_summaries(connection: sqlite3.Connection) -> tuple[ProjectSummary, ...]:
    rows = connection.execute(
        "SELECT projects.id, name, token, created_at, count(DISTINCT deploy_id),"
        " count(attempts.id), max(last_seen_at)"
        " FROM projects LEFT JOIN attempts ON attempts.project_id = projects.id"
        " GROUP BY projects.id ORDER BY name"
    )
    return tuple(ProjectSummary(Project(*row[:4]), *row[4:]) for row in rows)


def _insert(connection: sqlite3.Connection, name: str, token: str | None) -> Project:
    now = read_clock()
    cursor = connection.execute(
        "INSERT INTO projects (name, token, created_at) VALUES (?, ?, ?)", (name, token, now)
    )
    return Project(cursor.lastrowid or 0, name, token, now)


def _add_key(
    connection: sqlite3.Connection, keyring: Keyring, project: Project, key: Secret
) -> None:
    connection.execute(
        "INSERT INTO keys (project_id, sealed) VALUES (?, ?)",
        (project.id, keyring.seal(project.id, key)),
    )


def find_option(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM options WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def store_option(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Store ``value`` under ``name``; None removes it."""
    if value is None:
        connection.execute("DELETE FROM options WHERE name = ?", (name,))
        return
    connection.execute(
        "INSERT INTO options (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
