"""What a project's runs come to: what is live now, how the last ones ended, how long they took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from statistics import median

from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import Attempt, find_standing, list_attempts

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
