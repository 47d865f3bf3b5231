"""Puts the dashboard's routes and its middleware together."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response

from nvoi.dashboard import api, login, pages, receiver, streams
from nvoi.dashboard.access import Access, AccessMiddleware
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.errors import Complaints, StorageError
from nvoi.dashboard.headers import SECURITY_HEADERS, SecurityHeadersMiddleware
from nvoi.dashboard.paths import RawRoute
from nvoi.dashboard.templating import render

if TYPE_CHECKING:
    from starlette.requests import Request

#: Seconds after which a sender may try again when the database did not take it.
RETRY_SECONDS = 2


def build_app(dashboard: Dashboard) -> Starlette:
    """The ASGI application; its routes find ``dashboard`` on ``app.state.dashboard``."""
    access = Access(dashboard.settings, dashboard.writer)
    app = Starlette(
        routes=[
            RawRoute("/healthz", answer_health),
            *receiver.build_routes(dashboard),
            *streams.build_routes(dashboard),
            *api.build_routes(dashboard),
            *login.build_routes(access),
            *pages.build_routes(dashboard),
        ],
        middleware=[
            Middleware(SecurityHeadersMiddleware, settings=dashboard.settings),
            Middleware(AccessMiddleware, access=access),
        ],
        exception_handlers={
            HTTPException: answer_http_error,
            StorageError: answer_storage_error,
            Exception: answer_fault,
        },
    )
    # A slash more or less is another deploy's path, or none.
    app.router.redirect_slashes = False
    app.state.dashboard = dashboard
    app.state.complaints = Complaints(logging.getLogger(__name__))
    return app


async def answer_health(request: Request) -> Response:
    """200 where the database answers."""
    dashboard: Dashboard = request.app.state.dashboard
    await dashboard.reader.read(lambda connection: connection.execute("SELECT 1").fetchone())
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Routing's own refusals (404, 405), and those that routes raise; in JSON but for people."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as it is registered above
    accepted = request.headers.get("accept", "")
    if error.status_code == HTTPStatus.NOT_FOUND and "text/html" in accepted:
        token = getattr(request.state, "logout_token", "")
        text = "There is no such page here."
        return render("unknown.html", status_code=404, logout_token=token, text=text)
    text = error.detail.lower()
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def answer_storage_error(request: Request, error: Exception) -> Response:
    """The database is locked, full or gone: a sender keeps what it has and tries again."""
    complaints: Complaints = request.app.state.complaints
    complaints.warn(str(error))
    return JSONResponse(
        {"error": str(error)}, status_code=503, headers={"Retry-After": str(RETRY_SECONDS)}
    )


async def answer_fault(_request: Request, _error: Exception) -> Response:
    """A fault of the dashboard's own; the server's log has its traceback, the answer has not."""
    # It is made outside all middleware.
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return JSONResponse({"error": "internal error"}, status_code=500, headers=headers)
