"""Deploys and their lines, as they are read from the database.

Times are Unix milliseconds, UTC. A *place* orders the lines of an attempt for reading: it is a
line's sequence number where the sender gave one, else that of the line that came before it. A
*number* counts an attempt's lines from 1 in the order of their arrival; it never changes, so it
is what permalinks and resumed streams name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.exceptions import HTTPException

from nvoi.dashboard.database import read_clock
from nvoi.dashboard.deliveries import Tunnel
from nvoi.dashboard.projects import Project, find_project
from nvoi.protocol import LEVELS

#: What an attempt is shown as; ``lost`` is one that went silent without an end.
Status = Literal["running", "completed", "failed", "lost"]

#: How long a running deploy may be silent before it counts as lost, in milliseconds.
LOST_AFTER = 10 * 60 * 1000

#: Characters of lines that are in memory at one time, but for those of the last line: one may
#: have a megabyte, and an answer thousands of them.
MOST_CHARACTERS = 8 << 20

_LEVEL_COUNTS = ", ".join(f"{level}_count" for level in LEVELS)
_SELECT = f"""
    SELECT attempts.id, projects.name AS project, deploy_id, number, outcome,
        started_at, last_seen_at, ended_at, duration_seconds,
        git_sha, git_ref, ci_provider, ci_run_url, error, tunnels, lines,
        log_count, log_dropped, {_LEVEL_COUNTS},
        (
            SELECT group_concat(first || '-' || last) FROM gaps WHERE attempt_id = attempts.id
        ) AS gaps,
        EXISTS (
            SELECT 1 FROM attempts AS newer WHERE newer.project_id = attempts.project_id
            AND newer.deploy_id = attempts.deploy_id AND newer.number > attempts.number
        ) AS superseded
    FROM attempts JOIN projects ON projects.id = attempts.project_id
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class StoredLine:
    number: int
    place: int
    sequence: int | None
    level: str
    message: str
    logged_at: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers, both included, whose lines were never received."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a deploy: everything about it but its lines.

    ``number`` counts the attempts of the deploy id from 1. ``status`` takes silence into account.
    ``started_at`` and ``ended_at`` are when the dashboard first heard of it and of its end;
    ``last_seen_at`` is when it last heard anything. ``lines`` is how many are kept, so also the
    highest line number. ``superseded`` says that a newer attempt exists.
    """

    id: int
    project: str
    deploy_id: str
    number: int
    status: Status
    started_at: int
    last_seen_at: int
    ended_at: int | None
    duration_seconds: int | None
    git_sha: str | None
    git_ref: str | None
    ci_provider: str | None
    ci_run_url: str | None
    error: str | None
    tunnels: tuple[Tunnel, ...]
    lines: int
    counts: Mapping[str, int]
    log_count: int | None
    log_dropped: int | None
    gaps: tuple[Gap, ...]
    superseded: bool


def list_attempts(
    connection: sqlite3.Connection, project: Project, limit: int, before: int | None = None
) -> tuple[Attempt, ...]:
    """A project's attempts of all its deploys, the newest first; those before an attempt's id."""
    older = "" if before is None else "AND attempts.id < :before"
    return _read(
        connection,
        f"WHERE project_id = :project {older} ORDER BY attempts.id DESC LIMIT :limit",
        {"project": project.id, "before": before, "limit": limit},
    )


def list_runs(
    connection: sqlite3.Connection, project: Project, deploy_id: str, limit: int = 1000
) -> tuple[Attempt, ...]:
    return _read(
        connection,
        "WHERE project_id = :project AND deploy_id = :deploy ORDER BY number DESC LIMIT :limit",
        {"project": project.id, "deploy": deploy_id, "limit": limit},
    )


def find_attempt_by_id(connection: sqlite3.Connection, attempt_id: int) -> Attempt | None:
    found = _read(connection, "WHERE attempts.id = :id", {"id": attempt_id})
    return found[0] if found else None


def get_project(connection: sqlite3.Connection, name: str | None) -> Project:
    """The project of a path.

    Raises:
        HTTPException: 404: there is none.
    """
    project = find_project(connection, name) if name else None
    if project is None:
        raise HTTPException(404, "there is no such project")
    return project


def get_attempt(
    connection: sqlite3.Connection, name: str | None, deploy_id: str, number: int | None
) -> Attempt:
    """An attempt of the deploy of a path, its newest where ``number`` is None.

    Raises:
        HTTPException: 404: there is none.
    """
    runs = list_runs(connection, get_project(connection, name), deploy_id)
    attempt = next((run for run in runs if number in {None, run.number}), None)
    if attempt is None:
        raise HTTPException(404, "there is no such deploy")
    return attempt


def read_lines(
    connection: sqlite3.Connection, attempt_id: int, after: int, limit: int
) -> list[StoredLine]:
    """An attempt's lines in the order of their arrival, those after the number ``after``.

    There are ``limit`` at most; fewer, but one at least, where they are very long.
    """
    rows = connection.execute(
        "SELECT number, place, sequence, level, message, logged_at FROM lines"
        " WHERE attempt_id = ? AND number > ? ORDER BY number LIMIT ?",
        (attempt_id, after, limit),
    )
    return _take_lines(rows)


def read_places(
    connection: sqlite3.Connection, attempt_id: int, after: StoredLine | None, limit: int
) -> list[StoredLine]:
    """As :func:`read_lines`, in the order of reading: by place, then by number."""
    rows = connection.execute(
        "SELECT number, place, sequence, level, message, logged_at FROM lines"
        " WHERE attempt_id = ? AND (place, number) > (?, ?) ORDER BY place, number LIMIT ?",
        (attempt_id, after.place if after else -1, after.number if after else 0, limit),
    )
    return _take_lines(rows)


def _take_lines(rows: Iterable[tuple[Any, ...]]) -> list[StoredLine]:
    lines: list[StoredLine] = []
    size = 0
    for row in rows:
        lines.append(StoredLine(*row))
        size += len(lines[-1].message)
        if size >= MOST_CHARACTERS:
            break
    return lines


def _read(
    connection: sqlite3.Connection, where: str, values: dict[str, Any]
) -> tuple[Attempt, ...]:
    cursor = connection.execute(f"{_SELECT} {where}", values)
    names = [column[0] for column in cursor.description]
    now = read_clock()
    return tuple(_build(dict(zip(names, row, strict=True)), now) for row in cursor)


def _build(row: dict[str, Any], now: int) -> Attempt:
    counts = {level: row.pop(f"{level}_count") for level in LEVELS}
    superseded = bool(row.pop("superseded"))
    tunnels = tuple(Tunnel(*each) for each in json.loads(row.pop("tunnels")))
    return Attempt(
        status=_judge(row.pop("outcome"), row["last_seen_at"], superseded, now),
        gaps=_parse_gaps(row.pop("gaps")),
        counts=counts,
        tunnels=tunnels,
        superseded=superseded,
        **row,
    )


def _judge(outcome: Status | None, last_seen_at: int, superseded: bool, now: int) -> Status:
    if outcome:
        return outcome
    return "lost" if superseded or now - last_seen_at >= LOST_AFTER else "running"


def _parse_gaps(text: str | None) -> tuple[Gap, ...]:
    pairs = (each.split("-") for each in text.split(",")) if text else ()
    return tuple(sorted((Gap(int(a), int(b)) for a, b in pairs), key=lambda gap: gap.first))
