"""The ASGI application: routes, middleware, security headers, and the answers to what fails."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nvoi.dashboard import api, auth, pages, receiver, streams
from nvoi.dashboard.context import Dashboard, Settings
from nvoi.dashboard.database import StorageError
from nvoi.dashboard.deliveries import ProtocolViolation
from nvoi.dashboard.pages import get_version, render
from nvoi.dashboard.requests import build_retry_header

#: Seconds after which a sender may try again when the database did not take it.
RETRY_SECONDS = 2
#: Bytes of an answer that are sent at a time.
PIECE_BYTES = 16 * 1024
#: Seconds between two complaints of the same.
PAUSE_SECONDS = 60.0

#: Bytes from which on an answer is worth to be made smaller, and how hard that is tried.
LEAST_GZIP, GZIP_LEVEL = 1000, 4

#: RFC 9110, 14.1.2: the first and the last byte, or how many at the end.
_RANGE = re.compile(rb"bytes=([0-9]{0,15})-([0-9]{0,15})", re.IGNORECASE)

#: Nothing from elsewhere, nothing inline, in nobody's frame (Content Security Policy Level 3).
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

#: What every answer has.
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not `no-referrer`: with it a browser sends `Origin: null` with our own forms (Fetch
    # Standard, "append a request Origin header"), and they could not be told from others'.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: A year, as RFC 6797 has it in its examples.
_STRICT_TRANSPORT = "max-age=31536000"


def build_app(dashboard: Dashboard) -> Starlette:
    """The ASGI application; its routes find ``dashboard`` on ``app.state.dashboard``."""
    access = auth.Auth(dashboard.settings, dashboard.writer)
    app = Starlette(
        routes=[
            Route("/healthz", answer_health),
            *receiver.build_routes(dashboard),
            *streams.ROUTES,
            *api.ROUTES,
            *auth.build_routes(access),
            *pages.ROUTES,
        ],
        middleware=[
            Middleware(PieceMiddleware),
            Middleware(SecurityHeadersMiddleware, settings=dashboard.settings),
            Middleware(RequestMiddleware),
            Middleware(auth.AuthMiddleware, auth=access),
            # Server-sent events are left as they are: what is sent is to arrive.
            Middleware(GZipMiddleware, minimum_size=LEAST_GZIP, compresslevel=GZIP_LEVEL),
        ],
        exception_handlers={
            HTTPException: answer_http_error,
            ProtocolViolation: answer_violation,
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
    dashboard: Dashboard = request.app.state.dashboard
    await dashboard.reader.read(lambda sql: sql.execute("SELECT 1").fetchone())
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Routing's own refusals (404, 405), and those that routes raise; in JSON but for people."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as it is registered above
    is_page = request.scope["path"].startswith("/projects/")
    is_for_people = is_page or "text/html" in request.headers.get("accept", "")
    text = error.detail.lower()
    if error.status_code == HTTPStatus.NOT_FOUND and is_for_people:
        what = "there is no such page" if text == "not found" else text
        logged_in = getattr(request.state, "logged_in", False)
        values = {"logged_in": logged_in, "text": f"{what.capitalize()} here."}
        return render("unknown.html", status_code=404, **values)
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def answer_violation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProtocolViolation)  # noqa: S101 - as it is registered above
    content = {"error": error.message} | ({"field": error.field} if error.field else {})
    return JSONResponse(content, status_code=422)


async def answer_storage_error(request: Request, error: Exception) -> Response:
    """The database is locked, full or gone: a sender keeps what it has and tries again."""
    complaints: Complaints = request.app.state.complaints
    complaints.warn(str(error))
    headers = build_retry_header(RETRY_SECONDS)
    return JSONResponse({"error": str(error)}, status_code=503, headers=headers)


async def answer_fault(_request: Request, _error: Exception) -> Response:
    """A fault of the dashboard's own; the server's log has its traceback, the answer has not."""
    # It is made outside all middleware.
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return JSONResponse({"error": "internal error"}, status_code=500, headers=headers)


class PieceMiddleware:
    """Sends what is long in pieces, each once the reader has taken most of the one before it.

    The server would copy the whole of it for a reader who takes nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body: bytes = message.get("body", b"")
            last = max(0, len(body) - 1) // PIECE_BYTES * PIECE_BYTES
            for start in range(0, last, PIECE_BYTES):
                piece = body[start : start + PIECE_BYTES]
                await send({"type": message["type"], "body": piece, "more_body": True})
            await send({**message, "body": body[last:]} if last else message)

        await self._app(scope, receive, send_in_pieces)


class RequestMiddleware:
    """Has all that follows see a request's path as it was sent, and one request alone.

    One that two readers may read as two is refused: a proxy may have read a body by the one of
    its two lengths that this server does not (RFC 9112, 6.1). A range in another unit, one of
    several, and one that is none are ignored (RFC 9110, 14.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # ASGI 3, "HTTP connection scope": raw_path is optional, path is there always.
        raw: bytes | None = scope.get("raw_path")
        if raw is not None:
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")
        names = {name for name, _ in scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:
            text = "a body with both Content-Length and Transfer-Encoding is refused"
            refusal = JSONResponse({"error": text}, 400, {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        if b"range" in names:
            headers = scope["headers"]
            scope["headers"] = [one for one in headers if one[0] != b"range" or _is_range(one[1])]
        await self._app(scope, receive, send)


def _is_range(value: bytes) -> bool:
    match = _RANGE.fullmatch(value)
    if match is None or not any(match.groups()):
        return False
    first, last = match.groups()
    return not (first and last) or int(first) <= int(last)


class SecurityHeadersMiddleware:
    """Adds them to every answer that does not say otherwise itself.

    What is read may be kept by nobody; files of the pages are asked for again each time, unless
    their path names their version, as the paths of the pages do.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if (settings.public_url or "").startswith("https://"):
            self._headers["Strict-Transport-Security"] = _STRICT_TRANSPORT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _choose_caching(scope, message["status"]))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _choose_caching(scope: Scope, status: int) -> str:
    if status >= 400 or not scope["path"].startswith("/static/"):  # noqa: PLR2004 - RFC 9110, 15
        return "no-store"
    versioned = scope["path"].startswith(f"/static/{get_version()}/")
    return "public, max-age=31536000, immutable" if versioned else "public, no-cache"


class Complaints:
    """Warnings of what may come with every request: each said once a minute."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, float] = {}

    def warn(self, text: str) -> None:
        now = self._clock()
        self._told = {known: at for known, at in self._told.items() if now - at < PAUSE_SECONDS}
        if text not in self._told:
            self._told[text] = now
            self._log.warning("%s", text)
