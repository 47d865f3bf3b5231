"""Projects: who may send, and with which keys; and the options of the last start.

All of these work on a connection within a transaction, be it that of a command while the server
runs or the server's own. Nothing of them is kept in memory, so a change is seen with the next
request.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from nvoi.dashboard.database import read_clock
from nvoi.dashboard.keyring import Keyring
from nvoi.errors import UsageError
from nvoi.secret import Secret

#: The project of ``/api/deploys``, which needs no token.
DEFAULT_PROJECT = "default"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_TOKEN_BYTES = 16  # 128 random bits
_SELECT = "SELECT id, name, token, created_at, needs_webhook FROM projects"


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
    elif key in (*get_keys(sql, keyring, project), *_get_rotated(sql, keyring, project)):
        return project
    sql.execute("DELETE FROM keys WHERE project_id = ? AND expires_at IS NULL", (project.id,))
    _add_key(sql, keyring, project, key)
    return project


def _get_rotated(sql: Connection, keyring: Keyring, project: Project) -> tuple[Secret, ...]:
    """The keys that others have taken the place of: they are kept, to be known again."""
    query = "SELECT sealed FROM keys WHERE project_id = ? AND expires_at IS NOT NULL"
    rows = sql.execute(query, (project.id,))
    return tuple(keyring.unseal(project.id, sealed) for (sealed,) in rows)


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
    """The keys that are valid: the current one first, then those within their grace."""
    rows = sql.execute(
        "SELECT sealed FROM keys WHERE project_id = ? AND (expires_at IS NULL OR expires_at > ?)"
        " ORDER BY id DESC",
        (project.id, read_clock() if now is None else now),
    )
    return tuple(keyring.unseal(project.id, sealed) for (sealed,) in rows)


def find_project(sql: Connection, name: str) -> Project | None:
    row = sql.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return _build(row) if row else None


def get_project(sql: Connection, name: str) -> Project:
    project = find_project(sql, name)
    if project is None:
        raise UsageError(
            f"there is no project {ascii(name)[:80]}",
            hint="'nvoi dashboard project list' shows them",
        )
    return project


def find_project_by_token(sql: Connection, token: str) -> Project | None:
    row = sql.execute(f"{_SELECT} WHERE token = ?", (token,)).fetchone()
    return _build(row) if row else None


def list_projects(sql: Connection) -> tuple[Project, ...]:
    return tuple(map(_build, sql.execute(f"{_SELECT} ORDER BY name")))


def list_summaries(sql: Connection) -> tuple[ProjectSummary, ...]:
    rows = sql.execute(
        "SELECT projects.id, name, token, created_at, needs_webhook, count(DISTINCT deploy_id),"
        " count(attempts.id), max(last_seen_at)"
        " FROM projects LEFT JOIN attempts ON attempts.project_id = projects.id"
        " GROUP BY projects.id ORDER BY name"
    )
    return tuple(ProjectSummary(_build(row[:5]), *row[5:]) for row in rows)


def note_webhook(sql: Connection, project_id: int) -> None:
    """A project has sent the webhook headers: it needs them from now on."""
    sql.execute("UPDATE projects SET needs_webhook = 1 WHERE id = ?", (project_id,))


def _build(row: tuple[Any, ...]) -> Project:
    number, name, token, created_at, needs_webhook = row
    return Project(number, name, token, created_at, bool(needs_webhook))


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


def find_option(sql: Connection, name: str) -> str | None:
    row = sql.execute("SELECT value FROM options WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def store_option(sql: Connection, name: str, value: str) -> None:
    sql.execute("INSERT OR REPLACE INTO options (name, value) VALUES (?, ?)", (name, value))
