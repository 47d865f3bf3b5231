"""Deploys, as they are read from the database, and what a project's come to.

Times are Unix milliseconds, UTC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from statistics import median
from typing import Any, Literal

from starlette.exceptions import HTTPException

from nvoi.dashboard.database import read_clock
from nvoi.dashboard.projects import Project, find_project
from nvoi.protocol import CANCELLED, TunnelObject

#: What an attempt is shown as; ``cancelled`` is one that a signal ended, ``lost`` one that went
#: silent without an end.
Status = Literal["running", "completed", "failed", "cancelled", "lost"]

#: How long a running deploy may be silent before it counts as lost, in milliseconds.
LOST_AFTER = 10 * 60 * 1000

_SELECT = """
    SELECT attempts.id, projects.name AS project, deploy_id, number, outcome,
        started_at, last_seen_at, ended_at, duration_seconds,
        app, command, commit_title, commit_author, dirty, reason,
        git_sha, git_ref, ci_provider, ci_run_url, error, tunnels, lines, late,
        first_logged_at, last_logged_at, log_count, log_dropped,
        (
            SELECT group_concat(first || '-' || last) FROM gaps WHERE attempt_id = attempts.id
        ) AS gaps,
        EXISTS (
            SELECT 1 FROM attempts AS newer WHERE newer.project_id = attempts.project_id
            AND newer.deploy_id = attempts.deploy_id AND newer.number > attempts.number
        ) AS superseded,
        outcome IS NULL AND EXISTS (
            SELECT 1 FROM attempts AS newer WHERE newer.project_id = attempts.project_id
            AND newer.app = attempts.app AND newer.id > attempts.id
            AND newer.started_at >= attempts.last_seen_at
        ) AS overtaken
    FROM attempts JOIN projects ON projects.id = attempts.project_id
"""


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
    ``last_seen_at`` is when it last heard anything. ``duration`` is in milliseconds, None while
    it runs. ``lines`` is how many are kept, so also the highest line number; ``late`` how often
    lines came between others: where it is 0, a line's number is its position in the order of
    reading too. ``superseded`` says that a newer attempt exists.
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
    duration: int | None
    app: str | None
    command: str | None
    commit_title: str | None
    commit_author: str | None
    dirty: bool
    git_sha: str | None
    git_ref: str | None
    ci_provider: str | None
    ci_run_url: str | None
    error: str | None
    tunnels: tuple[TunnelObject, ...]
    lines: int
    late: int
    log_count: int | None
    log_dropped: int | None
    gaps: tuple[Gap, ...]
    superseded: bool


def list_attempts(
    sql: Connection,
    project: Project,
    limit: int,
    before: int | None = None,
    *,
    completed: bool = False,
    app: str | None = None,
) -> tuple[Attempt, ...]:
    """A project's attempts of all its deploys, the newest first; those before an attempt's id.

    With ``completed`` those that did; with ``app`` those of that app: a run whose app is not
    known may be any's.
    """
    where = "WHERE project_id = :project"
    where += "" if before is None else " AND attempts.id < :before"
    where += " AND outcome = 'completed'" if completed else ""
    where += "" if app is None else " AND (app = :app OR app IS NULL)"
    return _read(
        sql,
        f"{where} ORDER BY attempts.id DESC LIMIT :limit",
        {"project": project.id, "before": before, "limit": limit, "app": app},
    )


def find_standing(sql: Connection, project: Project) -> Attempt | None:
    """The newest run that completed and whose app was not deleted since."""
    found = _read(
        sql,
        "WHERE project_id = :project AND outcome = 'completed' AND command IS NOT 'delete'"
        # Gone once; where an app is not known, it may be any.
        " AND attempts.id > coalesce((SELECT max(id) FROM ("
        "SELECT app, max(id) AS id FROM attempts AS gone WHERE project_id = :project"
        " AND outcome = 'completed' AND command = 'delete' GROUP BY app) AS gone"
        " WHERE gone.app = attempts.app OR gone.app IS NULL OR attempts.app IS NULL), 0)"
        " ORDER BY attempts.id DESC LIMIT 1",
        {"project": project.id},
    )
    return found[0] if found else None


def list_runs(
    sql: Connection, project: Project, deploy_id: str, limit: int = 1000
) -> tuple[Attempt, ...]:
    return _read(
        sql,
        "WHERE project_id = :project AND deploy_id = :deploy ORDER BY number DESC LIMIT :limit",
        {"project": project.id, "deploy": deploy_id, "limit": limit},
    )


def find_attempt_by_id(sql: Connection, attempt_id: int) -> Attempt | None:
    found = _read(sql, "WHERE attempts.id = :id", {"id": attempt_id})
    return found[0] if found else None


def get_project(sql: Connection, name: str | None) -> Project:
    """The project of a path; without one the answer is 404."""
    project = find_project(sql, name) if name else None
    if project is None:
        raise HTTPException(404, "there is no such project")
    return project


def get_attempt(sql: Connection, name: str | None, deploy_id: str, number: int | None) -> Attempt:
    """An attempt of the deploy of a path, its newest where ``number`` is None; else 404."""
    runs = list_runs(sql, get_project(sql, name), deploy_id)
    attempt = next((run for run in runs if number in {None, run.number}), None)
    if attempt is None:
        raise HTTPException(404, "there is no such deploy")
    return attempt


def _read(sql: Connection, where: str, values: dict[str, Any]) -> tuple[Attempt, ...]:
    cursor = sql.execute(f"{_SELECT} {where}", values)
    names = [column[0] for column in cursor.description]
    now = read_clock()
    return tuple(_build(dict(zip(names, row, strict=True)), now) for row in cursor)


def _build(row: dict[str, Any], now: int) -> Attempt:
    superseded, overtaken = bool(row.pop("superseded")), bool(row.pop("overtaken"))
    tunnels = tuple(
        TunnelObject(service_name=name, hostname=hostname)
        for name, hostname in json.loads(row.pop("tunnels"))
    )
    logged = (row.pop("first_logged_at"), row.pop("last_logged_at"))
    status = _judge(
        row.pop("outcome"),
        row.pop("reason"),
        is_silent=superseded or overtaken or now - row["last_seen_at"] >= LOST_AFTER,
    )
    return Attempt(
        status=status,
        duration=None if status == "running" else _measure(row, logged),
        dirty=bool(row.pop("dirty")),
        gaps=_parse_gaps(row.pop("gaps")),
        tunnels=tunnels,
        superseded=superseded,
        **row,
    )


def _judge(outcome: Status | None, reason: str | None, *, is_silent: bool) -> Status:
    """What a run is; one that is silent may be heard of again, and runs again then."""
    if outcome == "failed" and reason == CANCELLED:
        return "cancelled"
    return outcome or ("lost" if is_silent else "running")


def _measure(row: Mapping[str, Any], logged: tuple[int | None, int | None]) -> int:
    """How long a run took: the time between its first and its last line, as its console says.

    Lines may be missing: where its sender counts other seconds, those hold.
    """
    told = row["duration_seconds"]
    first, last = logged
    if first is not None and last is not None and (told is None or _agree(last - first, told)):
        return max(0, last - first)
    if told is not None:
        return int(told) * 1000
    return max(0, int(row["ended_at"] or row["last_seen_at"]) - int(row["started_at"]))


def _agree(milliseconds: int, seconds: int) -> bool:
    """Whether a time is the one that was rounded to whole seconds, give or take a moment."""
    return abs(milliseconds - seconds * 1000) <= 1000  # noqa: PLR2004 - half a second twice


def _parse_gaps(text: str | None) -> tuple[Gap, ...]:
    pairs = (each.split("-") for each in text.split(",")) if text else ()
    return tuple(sorted((Gap(int(a), int(b)) for a, b in pairs), key=lambda gap: gap.first))


# -- what a project's runs come to ------------------------------------------------------------

#: Results that are told of a project.
RESULTS = 30
#: Lines at both ends of a log in which its release is looked for.
_ENDS = 500

#: What nvoi logs of the release that a run has made, or gone back to.
_RELEASE = re.compile(
    r"release (\d{14}): |Release (\d{14}) is kept|Going back from \S+ to (\d{14})"
    r"|.* done: release (\d{14})\b"
)


@dataclass(frozen=True, slots=True)
class History:
    """The last results of a project, the newest first, and what they come to.

    ``live`` is the run that what is live comes from, None where nothing is known to be:
    ``deleted`` is the run that took it away, if one did. ``before`` is the deploy before it, where
    both were deploys. ``release`` is as its log has it. ``duration`` is the median of the deploys
    that completed, in milliseconds; ``rate`` the share of deploys that did, those that were
    cancelled left out.
    """

    results: Sequence[Attempt]
    live: Attempt | None
    deleted: Attempt | None
    before: Attempt | None
    release: str | None
    last_success: Attempt | None
    duration: int | None
    rate: float | None


def read_history(sql: Connection, project: Project) -> History:
    recent = list_attempts(sql, project, 2 * RESULTS)
    results = [run for run in recent if run.status != "running"][:RESULTS]
    deploys = [run for run in results if is_deploy(run)]
    times = [run.duration for run in deploys if run.status == "completed" and run.duration]
    judged = [run for run in deploys if run.status != "cancelled"]
    newest = next(iter(list_attempts(sql, project, 1, completed=True)), None)
    # A project may have several apps, of branches for instance.
    live = find_standing(sql, project) if newest and newest.command == "delete" else newest
    before = find_previous(sql, project, live) if live else None
    succeeded = [run for run in recent if run.status == "completed" and run.command != "delete"]
    return History(
        results,
        live,
        None if live else newest,
        before,
        find_release(sql, live) if live else None,
        live or next(iter(succeeded), None),
        round(median(times)) if times else None,
        len([run for run in judged if run.status == "completed"]) / len(judged) if judged else None,
    )


def is_deploy(run: Attempt) -> bool:
    """Whether it is a deploy; a sender that says nothing of it is taken to be one."""
    return run.command in {None, "deploy"}


def find_previous(sql: Connection, project: Project, run: Attempt) -> Attempt | None:
    """The deploy that served before one; None where something else was done since."""
    if not is_deploy(run):
        return None
    found = list_attempts(sql, project, 1, run.id, completed=True, app=run.app)
    return found[0] if found and is_deploy(found[0]) else None


def find_release(sql: Connection, run: Attempt) -> str | None:
    """The release that a run's log names as the one that it put in place."""
    rows = sql.execute(
        "SELECT message FROM lines WHERE attempt_id = ? AND (number <= ? OR number > ?)"
        " AND (message LIKE '%release %' OR message LIKE 'Going back from %') ORDER BY number DESC",
        (run.id, _ENDS, run.lines - _ENDS),
    )
    for (message,) in rows:
        if match := _RELEASE.match(message):
            return str(next(filter(None, match.groups())))
    return None
