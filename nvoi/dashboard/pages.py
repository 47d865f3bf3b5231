"""The pages for people: projects, their deploys, and a deploy with its log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nvoi.dashboard import formats, views
from nvoi.dashboard.context import get_dashboard
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.lines import StoredLine, format_lines, read_lines
from nvoi.dashboard.projects import Project, list_projects
from nvoi.dashboard.queries import (
    Attempt,
    find_previous,
    get_attempt,
    get_project,
    list_attempts,
    list_runs,
    read_history,
)
from nvoi.dashboard.requests import find_number, get_deploy_id
from nvoi.dashboard.views import DeployView, ProjectView

#: Deploys of a page, and of each project where a page has several.
PAGE_DEPLOYS, PROJECT_DEPLOYS = 50, 1
#: Lines that a page has without JavaScript, which reads all of them; and characters, but for
#: those of one line.
PAGE_LINES, PAGE_CHARACTERS = 200, 1 << 18

_STATIC = Path(__file__).with_name("static")


def render(name: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """The template ``name`` as an answer. Every value is escaped."""
    text = _load_environment().get_template(name).render(**values)
    # Lone surrogates have no bytes; what was stored has none, a query may.
    return HTMLResponse(text.encode("utf-8", "replace"), status_code)


@cache
def _load_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nvoi.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ago=formats.format_ago,
        app_url=formats.build_app_url,
        clean=formats.clean_text,
        duration=formats.format_duration,
        iso=formats.format_iso,
        name=formats.clean_name,
        provider=formats.name_provider,
        short_sha=formats.shorten_sha,
        utc=formats.format_utc,
    )
    environment.tests.update(web_url=formats.is_web_url)
    environment.globals.update(static=f"/static/{get_version()}", views=views)
    return environment


@cache
def get_version() -> str:
    """What names these static files: others have another address, so browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(_STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


async def show_projects(request: Request) -> Response:
    """All projects, each with its newest deploy; of a single one, its own page."""
    now = read_clock()

    def query(sql: Connection) -> list[ProjectView]:
        return [
            _build_project(sql, project, list_attempts(sql, project, PROJECT_DEPLOYS), now)
            for project in list_projects(sql)
        ]

    projects = await get_dashboard(request).reader.read(query)
    if len(projects) == 1:
        return await _show_project(request, projects[0].project.name)
    return _render(request, "projects.html", projects=projects, now=now)


async def show_project(request: Request) -> Response:
    return await _show_project(request, request.path_params["project"])


async def _show_project(request: Request, name: str | None) -> Response:
    """The deploys of a project, the newest first; ``?before=ID`` those before an attempt."""
    now, before = read_clock(), find_number(request, "before", least=1, status=404)

    def query(sql: Connection) -> tuple[ProjectView, int | None]:
        project = get_project(sql, name)
        found = list_attempts(sql, project, PAGE_DEPLOYS + 1, before)
        shown = found[:PAGE_DEPLOYS]
        following = shown[-1].id if len(found) > PAGE_DEPLOYS else None
        return _build_project(sql, project, shown, now), following

    project, following = await get_dashboard(request).reader.read(query)
    return _render(
        request, "project.html", project=project, now=now, older=before is not None, next=following
    )


def _build_project(
    sql: Connection, project: Project, deploys: Sequence[Attempt], now: int
) -> ProjectView:
    views = [DeployView(attempt, now) for attempt in deploys]
    return ProjectView(project, views, read_history(sql, project), now)


async def show_deploy(request: Request) -> Response:
    """A deploy: ``?attempt=N`` of its attempts, ``?before=NUMBER`` its lines before that one.

    With ``?part=summary`` it is all but the log, as a part of a page.
    """
    now, part = read_clock(), request.query_params.get("part") == "summary"
    before = find_number(request, "before", least=1, status=404)
    number = find_number(request, "attempt", least=1, status=404)

    name, deploy_id = request.path_params["project"], get_deploy_id(request)

    def query(sql: Connection) -> tuple[DeployView, list[StoredLine]]:
        attempt = get_attempt(sql, name, deploy_id, number)
        project = get_project(sql, name)
        numbers = sorted(run.number for run in list_runs(sql, project, deploy_id))
        end = min(before or attempt.lines + 1, attempt.lines + 1)
        lines = [] if part else _read_page(sql, attempt, end)
        return DeployView(attempt, now, numbers, find_previous(sql, project, attempt)), lines

    view, lines = await get_dashboard(request).reader.read(query)
    if part:
        return render("part.html", view=view)
    return _render_deploy(request, view, lines)


def _render_deploy(request: Request, view: DeployView, lines: Sequence[StoredLine]) -> Response:
    attempt = view.attempt
    last = lines[-1].number if lines else 0
    complete = last == attempt.lines
    ordered = sorted(lines, key=lambda line: (line.place, line.number))
    begin = ordered[0].place if lines and lines[0].number > 1 else 0
    end = None if complete else max((line.place for line in lines), default=0)
    return _render(
        request,
        "deploy.html",
        view=view,
        text="".join(format_lines(ordered, attempt.gaps, begin, end)),
        first=lines[0].number if lines else 0,
        last=last,
        earlier=bool(lines) and lines[0].number > 1,
        later=not complete,
    )


def _read_page(sql: Connection, attempt: Attempt, end: int) -> list[StoredLine]:
    """The lines before the one with the number ``end``: as many as a page has."""
    count = PAGE_LINES
    while True:
        first = max(1, end - count)
        lines = read_lines(sql, attempt.id, first - 1, end - first)
        size = sum(len(line.message) for line in lines)
        # Of very long lines fewer are read than were asked for.
        if size <= PAGE_CHARACTERS or end - first <= 1:
            return lines
        count = min(count, end - first) // 2


def _render(request: Request, name: str, **values: Any) -> Response:
    logged_in, url = getattr(request.state, "logged_in", False), get_dashboard(request).url
    return render(name, logged_in=logged_in, dashboard_url=url, **values)


async def answer_icon(_request: Request) -> Response:
    """What browsers ask for where a page names no icon, as one of JSON does."""
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(_STATIC / "favicon.svg", media_type="image/svg+xml", headers=headers)


ROUTES = [
    Route("/", show_projects),
    Route("/projects/{project:segment}", show_project),
    Route("/projects/{project:segment}/deploys/{deploy_id:segment}", show_deploy),
    Route("/favicon.ico", answer_icon),
    # A page of an earlier version may just be loading: it gets the files that there are.
    Mount("/static/{version}", StaticFiles(directory=_STATIC)),
    Mount("/static", StaticFiles(directory=_STATIC)),
]
