"""Results of a project for feed readers (RFC 4287) and for scripts."""

from __future__ import annotations

import re
from sqlite3 import Connection
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nvoi.dashboard import formats
from nvoi.dashboard.context import get_dashboard
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.history import History, read_history
from nvoi.dashboard.queries import get_project
from nvoi.dashboard.views import DeployView, ProjectView

_NAMESPACE = "http://www.w3.org/2005/Atom"
#: What XML 1.0 cannot hold (2.2, "Characters").
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


async def answer_feed(request: Request) -> Response:
    """The last results of a project, the newest first, as Atom."""
    project = await _read(request)
    return Response(
        build_feed(project, get_dashboard(request).url), media_type="application/atom+xml"
    )


async def answer_results(request: Request) -> Response:
    """The same as JSON, with what they come to."""
    project = await _read(request)
    return Response(msgspec.json.encode(build_results(project)), media_type="application/json")


async def _read(request: Request) -> ProjectView:
    name, now = request.path_params["project"], read_clock()

    def query(sql: Connection) -> ProjectView:
        project = get_project(sql, name)
        history = read_history(sql, project)
        views = [DeployView(run, now) for run in history.results]
        return ProjectView(project, views, history, now)

    return await get_dashboard(request).reader.read(query)


def build_results(project: ProjectView) -> dict[str, Any]:
    history = project.history
    assert isinstance(history, History)  # noqa: S101 - as it was read above
    return {
        "project": project.project.name,
        "live": history.live,
        "release": history.release,
        "last_success": history.last_success,
        "median_duration": history.duration,
        "success_rate": history.rate,
        "results": history.results,
    }


def build_feed(project: ProjectView, url: str) -> bytes:
    """The feed's document; ``url`` is the dashboard's."""
    feed = Element("feed", xmlns=_NAMESPACE)
    page = f"{url}{project.url}"
    updated = max((view.ended_at for view in project.deploys), default=project.project.created_at)
    _add(feed, "id", page)
    _add(feed, "title", f"Deploys of {project.name}")
    _add(feed, "updated", formats.format_iso(updated))
    SubElement(feed, "link", rel="alternate", type="text/html", href=page)
    SubElement(feed, "link", rel="self", type="application/atom+xml", href=f"{page}/feed.atom")
    _add(SubElement(feed, "author"), "name", "nvoi")
    for view in project.deploys:
        _add_entry(feed, view, url)
    return bytes(tostring(feed, encoding="utf-8", xml_declaration=True))


def _add_entry(feed: Element, view: DeployView, url: str) -> None:
    run = view.attempt
    entry = SubElement(feed, "entry")
    page = f"{url}{view.url}?attempt={run.number}"
    did = f"{view.command}: " if view.command else ""
    _add(entry, "id", page)
    _add(entry, "title", f"{view.badge.sign} {did}{view.name} {view.badge.word}")
    _add(entry, "updated", formats.format_iso(view.ended_at))
    _add(entry, "published", formats.format_iso(run.started_at))
    SubElement(entry, "link", rel="alternate", type="text/html", href=page)
    SubElement(entry, "category", term=run.status)
    if run.commit_author:
        _add(SubElement(entry, "author"), "name", formats.clean_name(run.commit_author))
    said = f"{view.badge.word} in {formats.format_duration(view.duration)}"
    _add(entry, "summary", f"{said}\n{formats.clean_text(run.error)}" if run.error else said)


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)


ROUTES = [
    Route("/projects/{project:segment}/feed.atom", answer_feed),
    Route("/api/projects/{project:segment}/results.json", answer_results),
]
