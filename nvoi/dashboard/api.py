"""What the dashboard knows, for scripts and feed readers: JSON, text, and Atom (RFC 4287)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from sqlite3 import Connection
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from nvoi.dashboard import projects
from nvoi.dashboard.context import get_dashboard
from nvoi.dashboard.database import Reader, read_clock
from nvoi.dashboard.formats import clean_name, clean_text, format_duration, format_iso
from nvoi.dashboard.lines import (
    MOST_MATCHES,
    StoredLine,
    find_matches,
    find_position,
    format_lines,
    is_match,
    read_lines,
    read_outline,
    read_places,
    read_positions,
)
from nvoi.dashboard.queries import (
    Attempt,
    get_attempt,
    get_project,
    list_attempts,
    list_runs,
    read_history,
)
from nvoi.dashboard.requests import find_number, get_deploy_id, get_number
from nvoi.dashboard.views import DeployView, ProjectView
from nvoi.protocol import LEVELS

#: Attempts of an answer: without, and with the query's ``limit`` at most.
ATTEMPTS, MOST_ATTEMPTS = 50, 200
#: Lines of an answer, likewise.
LINES, MOST_LINES = 1000, 5000
#: Characters of a text that is looked for.
LONGEST_TEXT = 1000
#: Lines that are read at a time, so that an answer's text is never in memory as a whole.
TEXT_LINES = 200


async def answer_projects(request: Request) -> Response:
    def query(sql: Connection) -> Any:
        summaries = projects.list_summaries(sql)
        return {"projects": [build_project(each) for each in summaries]}

    return await _answer(request, query)


async def answer_deploys(request: Request) -> Response:
    """A project's attempts, the newest first; ``next`` is the ``before`` of what follows."""
    name = request.path_params["project"]
    limit = get_number(request, "limit", ATTEMPTS, most=MOST_ATTEMPTS)
    before = find_number(request, "before")

    def query(sql: Connection) -> Any:
        found = list_attempts(sql, get_project(sql, name), limit + 1, before)
        shown = found[:limit]
        following = shown[-1].id if shown and len(found) > limit else None
        return {"deploys": shown, "next": following}

    return await _answer(request, query)


async def answer_deploy(request: Request) -> Response:
    name, deploy_id = request.path_params["project"], get_deploy_id(request)

    def query(sql: Connection) -> Any:
        runs = list_runs(sql, get_project(sql, name), deploy_id)
        if not runs:
            raise HTTPException(404, "there is no such deploy")
        return {"attempts": runs}

    return await _answer(request, query)


async def answer_lines(request: Request) -> Response:
    """Lines of an attempt in the order of their arrival; ``more`` says that some follow.

    With ``position`` they are in the order of reading, from that one on.
    """
    after, position = get_number(request, "after", 0), find_number(request, "position")
    limit = get_number(request, "limit", LINES, most=MOST_LINES)

    def query(sql: Connection, attempt: Attempt) -> Any:
        if position is None:
            lines = read_lines(sql, attempt.id, after, limit)
            last = lines[-1].number if lines else after
        else:
            lines = read_positions(sql, attempt, max(1, position), limit)
            last = max(1, position) - 1 + len(lines)
        return {"attempt": attempt.number, "lines": lines, "more": last < attempt.lines}

    return await _answer_attempt(request, query)


async def answer_outline(request: Request) -> Response:
    """The steps of a log, its errors, and what never came, by position."""
    return await _answer_attempt(request, read_outline)


async def answer_position(request: Request) -> Response:
    """The position of the line with the ``number``."""
    number = get_number(request, "number", 0)

    def query(sql: Connection, attempt: Attempt) -> Any:
        return {"attempt": attempt.number, "position": find_position(sql, attempt, number)}

    return await _answer_attempt(request, query)


async def answer_matches(request: Request) -> Response:
    """The positions of the lines with a ``text``, of a ``level`` or above; ``more`` as above."""
    text, levels = _get_filter(request)

    def query(sql: Connection, attempt: Attempt) -> Any:
        found = find_matches(sql, attempt, text, levels)
        return {
            "attempt": attempt.number,
            "positions": found[:MOST_MATCHES],
            "more": len(found) > MOST_MATCHES,
        }

    async with get_dashboard(request).searches:
        if await request.is_disconnected():
            # Who typed on has asked for something else since.
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return await _answer_attempt(request, query)


def _get_filter(request: Request) -> tuple[str, tuple[str, ...]]:
    """The text and the levels that the query asks for: all, where it asks for none."""
    level = request.query_params.get("level", "debug")
    if level not in LEVELS:
        raise HTTPException(422, f"level must be one of {', '.join(LEVELS)}")
    least = LEVELS[level]
    text = request.query_params.get("text", "")[:LONGEST_TEXT]
    return text, tuple(name for name, number in LEVELS.items() if number >= least)


async def answer_text(request: Request) -> Response:
    """An attempt's lines in the order of reading, fit for a terminal; filtered as matches are."""
    name, deploy_id = request.path_params["project"], get_deploy_id(request)
    number = find_number(request, "attempt")
    text, levels = _get_filter(request)
    attempt = await get_dashboard(request).reader.read(
        lambda sql: get_attempt(sql, name, deploy_id, number)
    )
    is_whole = not text and len(levels) == len(LEVELS)
    passes = None if is_whole else partial(is_match, text=text, levels=levels)
    return StreamingResponse(
        _write_text(get_dashboard(request).reader, attempt, passes),
        media_type="text/plain; charset=utf-8",
    )


async def _write_text(
    reader: Reader, attempt: Attempt, passes: Callable[[StoredLine], bool] | None
) -> AsyncIterator[str]:
    """``passes`` says which lines are wanted; gaps are told where all are."""
    last: StoredLine | None = None
    while True:
        after = last

        def query(sql: Connection, after: StoredLine | None = after) -> list[StoredLine]:
            return read_places(sql, attempt.id, after, TEXT_LINES)

        lines = await reader.read(query)
        if passes is None:
            begin, end = last.place if last else 0, lines[-1].place if lines else None
            yield "".join(format_lines(lines, attempt.gaps, begin, end))
        else:
            yield "".join(format_lines(filter(passes, lines)))
        if not lines:
            return
        last = lines[-1]


async def _answer(request: Request, query: Callable[[Connection], Any]) -> Response:
    """What ``query`` gives, as JSON; a reader's thread encodes it."""
    reader = get_dashboard(request).reader
    content = await reader.read(lambda sql: msgspec.json.encode(query(sql)))
    return Response(content, media_type="application/json")


async def _answer_attempt(
    request: Request, query: Callable[[Connection, Attempt], Any]
) -> Response:
    """What ``query`` gives of the attempt that a request names, as JSON."""
    name, deploy_id = request.path_params["project"], get_deploy_id(request)
    number = find_number(request, "attempt")
    return await _answer(request, lambda sql: query(sql, get_attempt(sql, name, deploy_id, number)))


def build_project(summary: projects.ProjectSummary) -> dict[str, Any]:
    """A project and what it has sent. Its token is its senders' alone."""
    return {
        "name": summary.project.name,
        "created_at": summary.project.created_at,
        "deploys": summary.deploys,
        "attempts": summary.attempts,
        "last_seen_at": summary.last_seen_at,
    }


# -- results ---------------------------------------------------------------------------------

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
    _add(feed, "title", f"nvoi: {project.name}")
    _add(feed, "updated", format_iso(updated))
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
    _add(entry, "id", page)
    _add(entry, "title", f"{view.sign} {view.what} {run.status}")
    _add(entry, "updated", format_iso(view.ended_at))
    _add(entry, "published", format_iso(run.started_at))
    SubElement(entry, "link", rel="alternate", type="text/html", href=page)
    SubElement(entry, "category", term=run.status)
    if run.commit_author:
        _add(SubElement(entry, "author"), "name", clean_name(run.commit_author))
    said = f"{run.status} in {format_duration(view.duration)}"
    _add(entry, "summary", f"{said}\n{clean_text(run.error)}" if run.error else said)


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)


_DEPLOY = "/api/projects/{project:segment}/deploys/{deploy_id:segment}"
ROUTES = [
    Route("/projects/{project:segment}/feed.atom", answer_feed),
    Route("/api/projects.json", answer_projects),
    Route("/api/projects/{project:segment}/results.json", answer_results),
    Route("/api/projects/{project:segment}/deploys.json", answer_deploys),
    Route(f"{_DEPLOY}.json", answer_deploy),
    Route(f"{_DEPLOY}/lines.json", answer_lines),
    Route(f"{_DEPLOY}/outline.json", answer_outline),
    Route(f"{_DEPLOY}/position.json", answer_position),
    Route(f"{_DEPLOY}/matches.json", answer_matches),
    Route(f"{_DEPLOY}/log.txt", answer_text),
]
