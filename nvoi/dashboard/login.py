"""Logging in and out."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from nvoi.dashboard.access import COOKIE_SECONDS, LOGOUT, Access
from nvoi.dashboard.cookies import Purpose, build_cookie, find_cookie
from nvoi.dashboard.forgery import build_token, is_token
from nvoi.dashboard.paths import RawRoute
from nvoi.dashboard.templating import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

#: Bytes of a form, and seconds that it may take to arrive.
_MOST_BYTES, _READ_SECONDS = 16 * 1024, 10.0

#: Seconds that a login form may lie open.
_FORM_SECONDS = 24 * 3600

#: A path of this server. A browser takes `//` and `/\` for the beginning of a host's name.
_PATH = re.compile(r"/(?![/\\])[!-~]*")

_WRONG = "That is not the password."
_OLD = "This form was too old, or the browser keeps no cookies. Please try again."


class Login:
    """The routes of the login form; where no password is asked for, they lead to the pages.

    Args:
        access: the password and its sessions.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._settings = access.settings
        # A form of before a restart is refused, and shown again.
        self._key = secrets.token_bytes(32)

    async def show(self, request: Request) -> Response:
        """The form, or the page itself for whoever needs no form."""
        following = choose_next(request.query_params.get("next", ""))
        if self._access.sessions is None or self._access.find_session(request.scope):
            return RedirectResponse(following, 303)
        return self._build_form(request, following, 200, "")

    async def log_in(self, request: Request) -> Response:
        """Open a session for whoever knows the password."""
        fields = await _read_form(request)
        if fields is None:
            return PlainTextResponse("this is no login\n", 400)
        following = choose_next(fields.get("next", ""))
        sessions = self._access.sessions
        if sessions is None:
            return RedirectResponse(following, 303)
        mark = find_cookie(request.scope, self._settings, "form")
        if mark is None or not is_token(fields.get("token", ""), self._key, mark):
            return self._build_form(request, following, 403, _OLD)
        wait = self._access.try_password(request.scope, fields.get("password", ""))
        if wait is not None:
            return self._build_form(request, following, 429 if wait else 403, _describe(wait), wait)
        if earlier := find_cookie(request.scope, self._settings, "session"):
            await sessions.end(earlier)
        response = RedirectResponse(following, 303)
        self._set_cookie(response, request, "session", await sessions.open(), COOKIE_SECONDS)
        self._set_cookie(response, request, "form", "", 0)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session of whoever asks by our own form."""
        fields = await _read_form(request) or {}
        session = find_cookie(request.scope, self._settings, "session")
        if self._access.sessions is None or session is None:
            return RedirectResponse("/", 303)
        if not is_token(fields.get("token", ""), session, LOGOUT):
            return PlainTextResponse("this form is not of this session: reload its page\n", 403)
        if not await self._access.sessions.end(session):
            text = "logged out until the dashboard starts again: its database takes nothing\n"
            return PlainTextResponse(text, 503)
        response = RedirectResponse("/login", 303)
        self._set_cookie(response, request, "session", "", 0)
        return response

    def _build_form(
        self, request: Request, following: str, status: int, problem: str, wait: float = 0.0
    ) -> Response:
        mark = find_cookie(request.scope, self._settings, "form") or secrets.token_urlsafe(32)
        response = render(
            "login.html",
            status_code=status,
            token=build_token(self._key, mark),
            next=following,
            problem=problem,
        )
        if wait:
            response.headers["Retry-After"] = str(math.ceil(wait))
        self._set_cookie(response, request, "form", mark, _FORM_SECONDS)
        return response

    def _set_cookie(
        self,
        response: Response,
        request: Request,
        purpose: Purpose,
        value: str,
        seconds: int,
    ) -> None:
        cookie = build_cookie(request.scope, self._settings, purpose, value, seconds)
        response.headers.append("Set-Cookie", cookie)


def build_routes(access: Access) -> list[BaseRoute]:
    """GET and POST ``/login``, POST ``/logout``."""
    login = Login(access)

    async def answer_login(request: Request) -> Response:
        return await (login.log_in if request.method == "POST" else login.show)(request)

    return [
        RawRoute("/login", answer_login, methods=("GET", "POST")),
        RawRoute("/logout", login.log_out, methods=("POST",)),
    ]


def choose_next(path: str) -> str:
    """Where a reader goes after the login: ``path`` if it is one of this server, else ``/``."""
    return path if _PATH.fullmatch(path) else "/"


def _describe(wait: float) -> str:
    if not wait:
        return _WRONG
    minutes = math.ceil(wait / 60)
    unit = "minute" if minutes == 1 else "minutes"
    return f"Too many wrong passwords. Please try again in {minutes} {unit}."


async def _read_form(request: Request) -> dict[str, str] | None:
    """The first value of each field; None where it is too large, too slow or no form."""
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return None
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
    except (TimeoutError, ValueError):
        return None
    return {name: values[0] for name, values in fields.items()}
