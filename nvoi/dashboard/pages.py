"""The pages for people: projects, their deploys, and a deploy with its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sqlite3 import Connection
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nvoi.dashboard import formats
from nvoi.dashboard.context import get_dashboard
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.projects import DEFAULT_PROJECT, Project, list_projects
from nvoi.dashboard.queries import (
    Attempt,
    Status,
    StoredLine,
    get_attempt,
    get_project,
    list_attempts,
    list_runs,
    read_lines,
)
from nvoi.dashboard.requests import find_number, get_deploy_id

#: Deploys of a page, and of each project where a page has several.
PAGE_DEPLOYS, PROJECT_DEPLOYS = 50, 5
#: Lines that a page has without JavaScript, which reads all of them; and characters, but for
#: those of one line.
PAGE_LINES, PAGE_CHARACTERS = 1000, 1 << 20

#: What a file's name had better not have on any system.
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80


# -- what the templates show ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Badge:
    sign: str
    word: str
    icon: str


BADGES: dict[Status, Badge] = {
    "running": Badge("▶", "running", "favicon-running.svg"),
    "completed": Badge("✓", "completed", "favicon-completed.svg"),
    "failed": Badge("✗", "failed", "favicon-failed.svg"),
    "lost": Badge("?", "lost contact", "favicon-lost.svg"),
}


@dataclass(frozen=True, slots=True)
class DeployView:
    """An attempt with what the templates need to know beside it.

    ``now`` is the time of the page, Unix milliseconds; ``attempts`` are the numbers of all the
    deploy's attempts that are kept, from the first.
    """

    attempt: Attempt
    now: int
    attempts: Sequence[int] = ()

    @property
    def badge(self) -> Badge:
        return BADGES[self.attempt.status]

    @property
    def title(self) -> str:
        """The window's title: what a tab in the background tells."""
        attempt = self.attempt
        name = formats.clean_title(f"{attempt.git_ref or ''} {attempt.deploy_id}")
        return f"{self.badge.sign} {name} {self.badge.word} · {name_project(attempt.project)}"

    @property
    def url(self) -> str:
        """The deploy's page, which shows its newest attempt."""
        return build_deploy_url(self.attempt.project, self.attempt.deploy_id)

    @property
    def api_url(self) -> str:
        """Where the deploy's data is; ``.json`` or ``/lines.json`` follows."""
        return f"/api{self.url}"

    @property
    def since(self) -> int | None:
        return self.attempt.started_at if self.attempt.status == "running" else None

    @property
    def duration(self) -> int:
        """How long it took, or has taken so far, in milliseconds."""
        attempt = self.attempt
        if attempt.duration_seconds is not None:
            return attempt.duration_seconds * 1000
        end = self.now if attempt.status == "running" else attempt.ended_at or attempt.last_seen_at
        return max(0, end - attempt.started_at)

    @property
    def age(self) -> int:
        return max(0, self.now - self.attempt.started_at)

    @property
    def silence(self) -> int:
        return max(0, self.now - self.attempt.last_seen_at)

    @property
    def file_name(self) -> str:
        """What its log is called when it is saved."""
        attempt = self.attempt
        names = [name_project(attempt.project), attempt.deploy_id]
        if attempt.number > 1:
            names.append(str(attempt.number))
        name = _UNSAFE.sub("_", "-".join(names))
        return f"{name[:_LONGEST_NAME].strip('.')}.txt"


@dataclass(frozen=True, slots=True)
class ProjectView:
    project: Project
    deploys: Sequence[DeployView]

    @property
    def name(self) -> str:
        return name_project(self.project.name)

    @property
    def url(self) -> str:
        return build_project_url(self.project.name)

    @property
    def callback_path(self) -> str | None:
        """Where its deploys are sent to; None where it is its senders' secret."""
        return "/api/deploys" if self.project.token is None else None


def name_project(name: str) -> str:
    """A project's name for people; the one that needs no name is ``deploys``."""
    return "deploys" if name == DEFAULT_PROJECT else name


def build_project_url(name: str) -> str:
    return f"/projects/{quote(name, safe='')}"


def build_deploy_url(project: str, deploy_id: str) -> str:
    return f"{build_project_url(project)}/deploys/{quote(deploy_id, safe='')}"


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
        clock=formats.format_clock,
        duration=formats.format_duration,
        iso=formats.format_iso,
        name=formats.clean_name,
        provider=formats.name_provider,
        short_sha=formats.shorten_sha,
        split_links=formats.split_links,
        utc=formats.format_utc,
    )
    environment.tests.update(web_url=formats.is_web_url)
    return environment


# -- routes ---------------------------------------------------------------------------------


async def show_projects(request: Request) -> Response:
    now = read_clock()

    def query(sql: Connection) -> list[ProjectView]:
        projects = list_projects(sql)
        limit = PROJECT_DEPLOYS if len(projects) > 1 else PAGE_DEPLOYS
        return [
            ProjectView(project, _list_deploys(sql, project, limit, None, now))
            for project in projects
        ]

    projects = await get_dashboard(request).reader.read(query)
    return _render(request, "projects.html", projects=projects, now=now)


async def show_project(request: Request) -> Response:
    """The deploys of a project, the newest first; ``?before=ID`` those before an attempt."""
    now, before = read_clock(), find_number(request, "before", least=1, status=404)

    def query(sql: Connection) -> ProjectView:
        project = get_project(sql, request.path_params["project"])
        deploys = _list_deploys(sql, project, PAGE_DEPLOYS + 1, before, now)
        return ProjectView(project, deploys)

    found = await get_dashboard(request).reader.read(query)
    shown = ProjectView(found.project, found.deploys[:PAGE_DEPLOYS])
    following = shown.deploys[-1].attempt.id if len(found.deploys) > PAGE_DEPLOYS else None
    return _render(
        request, "project.html", project=shown, now=now, older=before is not None, next=following
    )


async def show_deploy(request: Request) -> Response:
    """A deploy: ``?attempt=N`` of its attempts, ``?before=NUMBER`` its lines before that one.

    With ``?part=summary`` it is all but the log, as a part of a page.
    """
    now, part = read_clock(), request.query_params.get("part") == "summary"
    before = find_number(request, "before", least=1, status=404)
    number = find_number(request, "attempt", least=1, status=404)

    name, deploy_id = request.path_params["project"], get_deploy_id(request)

    def query(sql: Connection) -> tuple[Project, DeployView, list[StoredLine]]:
        attempt = get_attempt(sql, name, deploy_id, number)
        project = get_project(sql, name)
        numbers = sorted(run.number for run in list_runs(sql, project, deploy_id))
        end = min(before or attempt.lines + 1, attempt.lines + 1)
        lines = [] if part else _read_page(sql, attempt, end)
        return project, DeployView(attempt, now, numbers), lines

    project, view, lines = await get_dashboard(request).reader.read(query)
    if part:
        return render("summary.html", view=view)
    return _render_deploy(request, project, view, lines)


def _render_deploy(
    request: Request, project: Project, view: DeployView, lines: Sequence[StoredLine]
) -> Response:
    attempt = view.attempt
    last = lines[-1].number if lines else 0
    complete = last == attempt.lines
    return _render(
        request,
        "deploy.html",
        view=view,
        project=ProjectView(project, ()),
        sections=formats.build_sections(lines, attempt.gaps, attempt.status, complete=complete),
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


def _list_deploys(
    sql: Connection, project: Project, limit: int, before: int | None, now: int
) -> list[DeployView]:
    attempts = list_attempts(sql, project, limit, before)
    return [DeployView(attempt, now) for attempt in attempts]


def _render(request: Request, name: str, **values: Any) -> Response:
    logged_in, url = getattr(request.state, "logged_in", False), get_dashboard(request).url
    return render(name, logged_in=logged_in, dashboard_url=url, **values)


ROUTES = [
    Route("/", show_projects),
    Route("/projects/{project:segment}", show_project),
    Route("/projects/{project:segment}/deploys/{deploy_id:segment}", show_deploy),
    Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
]
