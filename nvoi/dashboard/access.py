"""Who may read: the readers of a session, those who know the password, or this machine."""

from __future__ import annotations

import base64
import binascii
import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from nvoi.dashboard.cookies import build_cookie, find_cookie
from nvoi.dashboard.forgery import build_token, is_foreign
from nvoi.dashboard.hosts import find_client, find_host, is_forwarded, is_loopback
from nvoi.dashboard.passwords import Guesses, is_same
from nvoi.dashboard.paths import get_raw_path
from nvoi.dashboard.sessions import IDLE, Sessions

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nvoi.dashboard.settings import Settings
    from nvoi.dashboard.writer import Writer

_log = logging.getLogger(__name__)

#: Seconds that a browser keeps the cookie of a session.
COOKIE_SECONDS = IDLE // 1000

#: What a token of the logout form is for.
LOGOUT = "logout"


class Access:
    """The password of a dashboard, its sessions, and the guesses at it.

    Args:
        settings: what the dashboard was started with.
        writer: what writes sessions down.

    Raises:
        StorageError: the sessions of before cannot be read.
    """

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self.settings = settings
        self.guesses = Guesses()
        self.sessions = Sessions(settings.password, writer) if settings.password else None

    def try_password(self, scope: Scope, guess: str) -> float | None:
        """Compare a guess with the password.

        Returns:
            None where it is right; 0 where it is wrong; else the seconds until this client may
            guess again, and the guess was not looked at.
        """
        client = find_client(scope, self.settings)
        wait = self.guesses.find_wait(client)
        if wait:
            return wait
        if self.settings.password is not None and is_same(self.settings.password, guess):
            self.guesses.add_right(client)
            return None
        self.guesses.add_wrong(client)
        _log.warning("wrong password from %s", client)
        return 0.0

    def find_session(self, scope: Scope) -> tuple[str, bytes] | None:
        """The token and the digest of the session that a request belongs to."""
        token = find_cookie(scope, self.settings, "session")
        if token is None or self.sessions is None:
            return None
        digest = self.sessions.find(token)
        return None if digest is None else (token, digest)


class AccessMiddleware:
    """Lets through what may be read, what is a deploy's own, and nothing else.

    With a session it puts ``logout_token`` on the request's state, for the form that ends it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or _is_delivery(scope):
            await self._app(scope, receive, send)
        elif refusal := self._find_refusal(scope):
            await refusal(scope, receive, send)
        elif self._access.sessions is None or _is_free(scope):
            await self._app(scope, receive, send)
        elif session := self._access.find_session(scope):
            await self._serve(session, scope, receive, send)
        else:
            denial = self._try_basic(scope)
            await (denial or self._app)(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> Response | None:
        settings = self._access.settings
        if scope["method"] not in {"GET", "HEAD"} and is_foreign(scope, settings):
            return _refuse(scope, 403, f"another site's page sent this: {_ORIGIN_HINT}")
        if settings.password is not None or settings.trust_proxy or _is_free(scope):
            return None
        if not is_loopback(find_host(scope) or ""):
            # A name that leads here may be one that another site's owner made to lead here.
            return _refuse(scope, 421, f"this dashboard is read on this machine only: {_HINT}")
        if is_forwarded(scope):
            return _refuse(scope, 403, f"this dashboard does not trust a proxy: {_HINT}")
        return None

    def _try_basic(self, scope: Scope) -> Response | None:
        """None where the request has the password."""
        guess = _find_basic_password(scope)
        wait = 0.0 if guess is None else self._access.try_password(scope, guess)
        if wait is None:
            return None
        if wait:
            return _refuse(scope, 429, "too many wrong passwords", retry_after=wait)
        return _ask_for_password(scope)

    async def _serve(
        self, session: tuple[str, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass on a request of a session; what still streams when the session ends, ends too."""
        token, digest = session
        sessions = self._access.sessions
        assert sessions is not None  # noqa: S101 - there is a session
        scope.setdefault("state", {})["logout_token"] = build_token(token, LOGOUT)
        cookie = ""
        if await sessions.renew(digest):
            settings = self._access.settings
            cookie = build_cookie(scope, settings, "session", token, COOKIE_SECONDS)
        is_cut = False

        async def send_while_open(message: Message) -> None:
            nonlocal is_cut
            if cookie and message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            if message.get("more_body") and not sessions.is_open(digest):
                is_cut = True
                # As a server does whose client has gone: the stream is to end.
                raise OSError
            await send(message)

        try:
            await self._app(scope, receive, send_while_open)
        except Exception:
            if not is_cut:
                raise
        if is_cut:
            await send({"type": "http.response.body", "body": b""})


_HINT = "start it with --password-file, or with --trust-proxy behind a proxy that decides who reads"
_ORIGIN_HINT = "a proxy has to pass Host on, or --public-url has to name what readers open"


def _is_delivery(scope: Scope) -> bool:
    """What deploys send, and whatever comes where they do: no answer there tells what is stored."""
    path = get_raw_path(scope)
    is_theirs = scope["method"] == "POST" or path.endswith(("/logs", "/status"))
    return is_theirs and path.startswith("/api/")


def _is_free(scope: Scope) -> bool:
    path = get_raw_path(scope)
    return path in {"/login", "/healthz"} or path.startswith("/static/")


def _find_basic_password(scope: Scope) -> str | None:
    """The password of HTTP Basic (RFC 7617), with any user's name."""
    scheme, _, code = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(code.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _ask_for_password(scope: Scope) -> Response:
    headers = Headers(scope=scope)
    path = get_raw_path(scope)
    if not path.startswith("/api/") and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        following = f"{path}?{query}" if query else path
        where = urlencode({"next": following}, quote_via=quote) if following != "/" else ""
        return RedirectResponse(f"/login?{where}" if where else "/login", 303)
    # A page whose session has ended would make the browser ask for the password by itself.
    is_page = "sec-fetch-mode" in headers or "referer" in headers
    scheme = "Session" if is_page else "Basic"
    response = _refuse(scope, 401, "the password is needed")
    response.headers["WWW-Authenticate"] = f'{scheme} realm="nvoi dashboard", charset="UTF-8"'
    return response


def _refuse(scope: Scope, status: int, error: str, *, retry_after: float = 0.0) -> Response:
    headers = {"Retry-After": str(math.ceil(retry_after))} if retry_after else None
    if get_raw_path(scope).startswith("/api/"):
        return JSONResponse({"error": error}, status, headers)
    return PlainTextResponse(f"{error}\n", status, headers)
