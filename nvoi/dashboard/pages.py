"""The pages for people: projects, their deploys, and a deploy with its log."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from nvoi.dashboard.attempts import list_attempts, list_runs, read_lines
from nvoi.dashboard.clock import read_clock
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.paths import RawRoute
from nvoi.dashboard.projects import find_project, list_projects
from nvoi.dashboard.records import Attempt, Project, StoredLine
from nvoi.dashboard.sections import build_sections
from nvoi.dashboard.templating import render
from nvoi.dashboard.views import DeployView, ProjectView

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: Deploys of a page, and of each project where a page has several.
PAGE_DEPLOYS, PROJECT_DEPLOYS = 50, 5
#: Lines that a page has without JavaScript, which reads all of them; and characters, but for
#: those of one line.
PAGE_LINES, PAGE_CHARACTERS = 1000, 1 << 20

_NUMBER = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


def build_routes(_dashboard: Dashboard) -> list[BaseRoute]:
    """The pages, and the files that they are made of."""
    static = StaticFiles(directory=Path(__file__).with_name("static"))
    return [
        RawRoute("/", show_projects),
        RawRoute("/projects/{project}", show_project),
        RawRoute("/projects/{project}/deploys/{deploy_id}", show_deploy),
        Mount("/static", static),
    ]


async def show_projects(request: Request) -> Response:
    """All projects, each with its newest deploys."""
    now = read_clock()

    def query(connection: sqlite3.Connection) -> list[ProjectView]:
        projects = list_projects(connection)
        limit = PROJECT_DEPLOYS if len(projects) > 1 else PAGE_DEPLOYS
        return [
            ProjectView(project, _list_deploys(connection, project, limit, None, now))
            for project in projects
        ]

    projects = await _get_dashboard(request).reader.read(query)
    return _render(request, "projects.html", projects=projects, now=now)


async def show_project(request: Request) -> Response:
    """The deploys of a project, the newest first; ``?before=ID`` those before an attempt."""
    now, before = read_clock(), _find_number(request, "before")

    def query(connection: sqlite3.Connection) -> ProjectView | None:
        project = find_project(connection, request.path_params["project"] or "")
        if project is None:
            return None
        deploys = _list_deploys(connection, project, PAGE_DEPLOYS + 1, before, now)
        return ProjectView(project, deploys)

    found = await _get_dashboard(request).reader.read(query)
    if found is None:
        return _answer_unknown(request, "There is no such project here.")
    shown = ProjectView(found.project, found.deploys[:PAGE_DEPLOYS])
    following = shown.deploys[-1].attempt.id if len(found.deploys) > PAGE_DEPLOYS else None
    return _render(
        request, "project.html", project=shown, now=now, older=before is not None, next=following
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A deploy as the database has it; ``lines`` are at most a page of them."""

    project: Project
    attempt: Attempt
    attempts: list[int]
    lines: list[StoredLine]


async def show_deploy(request: Request) -> Response:
    """A deploy: ``?attempt=N`` of its attempts, ``?before=NUMBER`` its lines before that one.

    With ``?part=summary`` it is all but the log, as a part of a page.
    """
    now, before = read_clock(), _find_number(request, "before")
    number, part = _find_number(request, "attempt"), request.query_params.get("part") == "summary"

    def query(connection: sqlite3.Connection) -> _Found | None:
        project = find_project(connection, request.path_params["project"] or "")
        deploy_id = request.path_params["deploy_id"]
        if project is None or deploy_id is None:
            return None
        runs = list_runs(connection, project, deploy_id, now=now)
        attempt = next((run for run in runs if number in {None, run.number}), None)
        if attempt is None:
            return None
        end = min(before or attempt.lines + 1, attempt.lines + 1)
        lines = [] if part else _read_page(connection, attempt, end)
        return _Found(project, attempt, sorted(run.number for run in runs), lines)

    found = await _get_dashboard(request).reader.read(query)
    if found is None:
        return _answer_unknown(request, "There is no such deploy here.")
    view = DeployView(found.attempt, now, found.attempts)
    if part:
        return render("summary.html", view=view)
    return _render_deploy(request, found, view)


def _render_deploy(request: Request, found: _Found, view: DeployView) -> Response:
    attempt, lines = found.attempt, found.lines
    last = lines[-1].number if lines else 0
    complete = last == attempt.lines
    return _render(
        request,
        "deploy.html",
        view=view,
        project=ProjectView(found.project, ()),
        sections=build_sections(lines, attempt.gaps, attempt.status, complete=complete),
        first=lines[0].number if lines else 0,
        last=last,
        earlier=bool(lines) and lines[0].number > 1,
        later=not complete,
    )


def _read_page(connection: sqlite3.Connection, attempt: Attempt, end: int) -> list[StoredLine]:
    """The lines before the one with the number ``end``: as many as a page has."""
    count = PAGE_LINES
    while True:
        first = max(1, end - count)
        lines = read_lines(connection, attempt.id, first - 1, end - first)
        size = sum(len(line.message) for line in lines)
        # Of very long lines fewer are read than were asked for.
        if size <= PAGE_CHARACTERS or end - first <= 1:
            return lines
        count = min(count, end - first) // 2


def _list_deploys(
    connection: sqlite3.Connection, project: Project, limit: int, before: int | None, now: int
) -> list[DeployView]:
    attempts = list_attempts(connection, project, limit, before, now=now)
    return [DeployView(attempt, now) for attempt in attempts]


def _get_dashboard(request: Request) -> Dashboard:
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard


def _find_number(request: Request, name: str) -> int | None:
    """A number of the query, None where it is not there.

    Raises:
        HTTPException: 404, it is no number.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise HTTPException(404)
    return int(text)


def _render(request: Request, name: str, *, status_code: int = 200, **values: object) -> Response:
    token, url = getattr(request.state, "logout_token", ""), _get_dashboard(request).url
    return render(name, status_code=status_code, logout_token=token, dashboard_url=url, **values)


def _answer_unknown(request: Request, text: str) -> Response:
    return _render(request, "unknown.html", status_code=404, text=text)
