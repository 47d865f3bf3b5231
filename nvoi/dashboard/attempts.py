"""Reads deploys and their lines."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from nvoi.dashboard.clock import read_clock
from nvoi.dashboard.records import Attempt, Gap, Project, Status, StoredLine
from nvoi.protocol import LEVELS, Tunnel

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


def list_attempts(
    connection: sqlite3.Connection,
    project: Project,
    limit: int,
    before: int | None = None,
    *,
    now: int | None = None,
) -> tuple[Attempt, ...]:
    """A project's attempts of all its deploys, the newest first.

    Args:
        connection: reads.
        project: whose.
        limit: how many at most.
        before: an attempt's id; only attempts that are older are given.
        now: Unix milliseconds, the clock's where left out.
    """
    older = "" if before is None else "AND attempts.id < :before"
    return _read(
        connection,
        f"WHERE project_id = :project {older} ORDER BY attempts.id DESC LIMIT :limit",
        {"project": project.id, "before": before, "limit": limit},
        now,
    )


def list_runs(
    connection: sqlite3.Connection,
    project: Project,
    deploy_id: str,
    limit: int = 1000,
    *,
    now: int | None = None,
) -> tuple[Attempt, ...]:
    """The attempts of one deploy id, the newest first; none where it is not known."""
    return _read(
        connection,
        "WHERE project_id = :project AND deploy_id = :deploy ORDER BY number DESC LIMIT :limit",
        {"project": project.id, "deploy": deploy_id, "limit": limit},
        now,
    )


def find_attempt(
    connection: sqlite3.Connection,
    project: Project,
    deploy_id: str,
    number: int | None = None,
    *,
    now: int | None = None,
) -> Attempt | None:
    """An attempt of a deploy id by its number, the newest where left out."""
    which = "" if number is None else "AND number = :number"
    found = _read(
        connection,
        f"WHERE project_id = :project AND deploy_id = :deploy {which} ORDER BY number DESC LIMIT 1",
        {"project": project.id, "deploy": deploy_id, "number": number},
        now,
    )
    return found[0] if found else None


def find_attempt_by_id(
    connection: sqlite3.Connection, attempt_id: int, *, now: int | None = None
) -> Attempt | None:
    """The attempt with this id, None where it was deleted."""
    found = _read(connection, "WHERE attempts.id = :id", {"id": attempt_id}, now)
    return found[0] if found else None


def read_lines(
    connection: sqlite3.Connection, attempt_id: int, after: int, limit: int
) -> list[StoredLine]:
    """An attempt's lines in the order of their arrival.

    Args:
        connection: reads.
        attempt_id: whose.
        after: the number of the line before the first that is given; 0 begins with the first.
        limit: how many at most; fewer, but one at least, where they are very long.
    """
    rows = connection.execute(
        "SELECT number, place, sequence, level, message, logged_at FROM lines"
        " WHERE attempt_id = ? AND number > ? ORDER BY number LIMIT ?",
        (attempt_id, after, limit),
    )
    return _take_lines(rows)


#: Lines of one look into the database while a text is read.
_CHUNK = 1000


def read_text(connection: sqlite3.Connection, attempt_id: int) -> Iterator[StoredLine]:
    """An attempt's lines in the order of reading: by place, then by number."""
    last: StoredLine | None = None
    while chunk := read_places(connection, attempt_id, last, _CHUNK):
        yield from chunk
        last = chunk[-1]


def read_places(
    connection: sqlite3.Connection, attempt_id: int, after: StoredLine | None, limit: int
) -> list[StoredLine]:
    """An attempt's lines in the order of reading, those after ``after``.

    There are ``limit`` at most; fewer, but one at least, where they are very long.
    """
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
    connection: sqlite3.Connection, where: str, values: dict[str, Any], now: int | None
) -> tuple[Attempt, ...]:
    cursor = connection.execute(f"{_SELECT} {where}", values)
    names = [column[0] for column in cursor.description]
    moment = read_clock() if now is None else now
    return tuple(_build(dict(zip(names, row, strict=True)), moment) for row in cursor)


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
