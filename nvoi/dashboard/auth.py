"""Who may read: who has logged in or knows the password, whom a proxy lets in, or this machine.

Sessions outlive a restart, and end with the password.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nvoi.dashboard.context import Settings
from nvoi.dashboard.database import StorageError, Writer, read_clock
from nvoi.dashboard.limits import (
    LONGEST_WAIT,
    WAITING_OF_ALL,
    WAITING_OF_ONE,
    Allowance,
    Guesses,
)
from nvoi.dashboard.pages import render
from nvoi.dashboard.requests import (
    build_retry_header,
    find_basic_password,
    find_client,
    find_host,
    is_encrypted,
    is_foreign,
    is_forwarded,
    is_this_machine,
    names_own_host,
    read_form,
)
from nvoi.secret import Secret

#: Milliseconds after its last use that a session ends.
IDLE = 30 * 24 * 3600 * 1000
#: Milliseconds after which a session's use is written down again, and its cookie renewed.
RENEWAL = 24 * 3600 * 1000

#: A path of this server. A browser takes `//` and `/\` for the beginning of a host's name.
_PATH = re.compile(r"/(?![/\\])[!-~]*")

_HINT = "start it with --password-file, or with --trust-proxy behind a proxy that decides who reads"
_PROXY_HINT = (
    "requests come through a proxy that is not trusted: all who are behind it count as one, also"
    " when they guess the password; if the proxy is yours, start the dashboard with --trust-proxy"
)
_ORIGIN_HINT = "a proxy must pass Host on, or --public-url must name the URL that readers open"

_log = logging.getLogger(__name__)


# -- the password ---------------------------------------------------------------------------


def is_same(password: Secret, guess: str) -> bool:
    """Whether ``guess`` is the password; takes as long where it is not."""
    # Of digests, as a comparison of unequal lengths tells the length.
    digests = (hashlib.sha256(text.encode()).digest() for text in (guess, password.reveal()))
    return hmac.compare_digest(*digests)


# -- sessions -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Session:
    used_at: int
    stored_at: int


class Sessions:
    """The sessions of one password: kept in memory, and in the database for the next start.

    A session is known by the HMAC-SHA256 of the password under the session's token: what is
    stored opens nothing, cannot be tried for the password without the token, and another
    password makes other digests, so that changing it ends every session.
    """

    def __init__(
        self, password: Secret, writer: Writer, clock: Callable[[], int] = read_clock
    ) -> None:
        self._password = password.reveal().encode()
        self._writer = writer
        self._clock = clock
        query = "SELECT digest, used_at FROM sessions"
        rows = writer.submit(lambda sql: sql.execute(query).fetchall()).result()
        self._sessions = {digest: _Session(used, used) for digest, used in rows}

    def find(self, token: str) -> bytes | None:
        """The digest of an open session; using it keeps it open."""
        digest = self._compute_digest(token)
        session = self._sessions.get(digest)
        now = self._clock()
        if session is None or now - session.used_at > IDLE:
            return None
        session.used_at = now
        return digest

    def is_open(self, digest: bytes) -> bool:
        return digest in self._sessions

    async def open(self) -> str:
        """Open a session, and give its token.

        Where the database takes nothing, as its disk is full, the session lasts until the
        dashboard is started again: somebody has to be able to look.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        digest = self._compute_digest(token)
        for old, session in list(self._sessions.items()):
            if now - session.used_at > IDLE:
                del self._sessions[old]
        self._sessions[digest] = _Session(now, now)
        await self._write("DELETE FROM sessions WHERE used_at < ?", now - IDLE)
        await self._write("INSERT INTO sessions VALUES (?, ?)", digest, now)
        return token

    async def renew(self, digest: bytes) -> bool:
        """Write down that it is used, where that was not done for a day; whether it was due."""
        session = self._sessions.get(digest)
        if session is None or session.used_at - session.stored_at < RENEWAL:
            return False
        session.stored_at = session.used_at
        await self._write(
            "UPDATE sessions SET used_at = ? WHERE digest = ?", session.used_at, digest
        )
        return True

    async def end(self, token: str) -> bool:
        """End a session; False where it may come back with the next start of the dashboard."""
        digest = self._compute_digest(token)
        if self._sessions.pop(digest, None) is None:
            return True
        return await self._write("DELETE FROM sessions WHERE digest = ?", digest)

    async def _write(self, statement: str, *values: bytes | int) -> bool:
        try:
            await self._writer.write(lambda sql: sql.execute(statement, values))
        except StorageError:
            return False
        return True

    def _compute_digest(self, token: str) -> bytes:
        return hmac.digest(token.encode(), self._password, hashlib.sha256)


class Auth:
    def __init__(self, settings: Settings, writer: Writer) -> None:
        self.settings = settings
        self.guesses = Guesses()
        self._waiting = Allowance(WAITING_OF_ALL, WAITING_OF_ONE)
        self.sessions = Sessions(settings.password, writer) if settings.password else None

    async def try_password(self, scope: Scope, receive: Receive, guess: str) -> float | None:
        """Compare a guess with the password: None where it is right, 0 where it is wrong.

        After many wrong ones it takes its time. Else the seconds after which this client may
        guess again; the guess was not looked at.
        """
        client = find_client(scope, self.settings)
        wait = self.guesses.find_wait(client)
        with self._waiting.reserve(client) as hold:
            if wait and not (hold(1) and await _stays(receive, wait)):
                return LONGEST_WAIT
            if self.settings.password is not None and is_same(self.settings.password, guess):
                self.guesses.add_right(client)
                return None
            self.guesses.add_wrong(client)
        _log.warning("wrong password from %s", client)
        return 0.0

    def find_token(self, scope: Scope) -> str | None:
        return HTTPConnection(scope).cookies.get(self._name_cookie(scope)) or None

    def find_session(self, scope: Scope) -> tuple[str, bytes] | None:
        """The token and the digest of the session that a request belongs to."""
        token = self.find_token(scope)
        if token is None or self.sessions is None:
            return None
        digest = self.sessions.find(token)
        return None if digest is None else (token, digest)

    def build_cookie(self, scope: Scope, token: str, seconds: int = IDLE // 1000) -> str:
        """A ``Set-Cookie`` header; 0 seconds delete the cookie.

        It is Lax, as a link in a chat should find its reader logged in.
        """
        response, secure = Response(), is_encrypted(scope, self.settings)
        name = self._name_cookie(scope)
        response.set_cookie(
            name, token, max_age=seconds, httponly=True, samesite="lax", secure=secure
        )
        return response.headers["set-cookie"]

    def _name_cookie(self, scope: Scope) -> str:
        # RFC 6265bis, 4.1.3.2: with this prefix neither an unencrypted page nor another host of
        # the domain can set it.
        prefix = "__Host-" if is_encrypted(scope, self.settings) else ""
        return f"{prefix}nvoi-session"


async def _stays(receive: Receive, seconds: float) -> bool:
    """Wait; False as soon as the client has gone. Its body is not read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            return False
    return True


# -- every request --------------------------------------------------------------------------


class AuthMiddleware:
    """Lets through what may be read, what is a deploy's own, and nothing else.

    With a session it puts ``logged_in`` on the request's state, for the form that ends it.
    """

    def __init__(self, app: ASGIApp, auth: Auth) -> None:
        self._app = app
        self._auth = auth
        self._awaits_proxy = not auth.settings.trust_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._awaits_proxy and is_forwarded(scope):
            self._awaits_proxy = False
            _log.warning("%s", _PROXY_HINT)
        if _is_delivery(scope):
            await self._app(scope, receive, send)
        elif refusal := self._find_refusal(scope):
            await refusal(scope, receive, send)
        elif self._auth.sessions is None or _is_open_to_all(scope):
            await self._app(scope, receive, send)
        elif session := self._auth.find_session(scope):
            await self._serve(self._auth.sessions, session, scope, receive, send)
        else:
            denial = await self._try_basic(scope, receive)
            await (denial or self._app)(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> Response | None:
        settings = self._auth.settings
        url = settings.public_url
        if url is not None and scope["path"] != "/healthz" and not names_own_host(scope, url):
            return _refuse(scope, 421, f"this dashboard is read at {url}: {_ORIGIN_HINT}")
        if scope["method"] not in {"GET", "HEAD"} and is_foreign(scope, settings):
            return _refuse(scope, 403, f"another site's page sent this: {_ORIGIN_HINT}")
        if settings.password is not None or settings.trust_proxy or _is_open_to_all(scope):
            return None
        if not is_this_machine(find_host(scope) or ""):
            # A name that leads here may be one that another site's owner made to lead here.
            return _refuse(scope, 421, f"this dashboard is read on this machine only: {_HINT}")
        if is_forwarded(scope):
            return _refuse(scope, 403, f"this dashboard does not trust a proxy: {_HINT}")
        return None

    async def _try_basic(self, scope: Scope, receive: Receive) -> Response | None:
        guess = find_basic_password(scope)
        wait = 0.0 if guess is None else await self._auth.try_password(scope, receive, guess)
        if wait is None:
            return None
        if wait:
            return _refuse(scope, 429, "too many wrong passwords", retry_after=wait)
        return _ask_for_password(scope)

    async def _serve(
        self,
        sessions: Sessions,
        session: tuple[str, bytes],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Pass on a request of a session; what still streams when the session ends, ends too."""
        token, digest = session
        scope.setdefault("state", {})["logged_in"] = True
        cookie = self._auth.build_cookie(scope, token) if await sessions.renew(digest) else ""
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


def _is_delivery(scope: Scope) -> bool:
    """What deploys send, and whatever comes where they do: no answer there tells what is stored."""
    path: str = scope["path"]
    is_theirs = scope["method"] == "POST" or path.endswith(("/logs", "/status"))
    return is_theirs and path.startswith("/api/")


def _is_open_to_all(scope: Scope) -> bool:
    path: str = scope["path"]
    return path in {"/login", "/healthz", "/favicon.ico"} or path.startswith("/static/")


def _ask_for_password(scope: Scope) -> Response:
    headers = Headers(scope=scope)
    path = scope["path"]
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
    headers = build_retry_header(retry_after) if retry_after else None
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": error}, status, headers)
    return PlainTextResponse(f"{error}\n", status, headers)


# -- logging in and out ---------------------------------------------------------------------


def build_routes(auth: Auth) -> list[BaseRoute]:
    """GET and POST ``/login``, POST ``/logout``; without a password they lead to the pages."""
    return [
        Route("/login", partial(_log_in, auth), methods=("GET", "POST")),
        Route("/logout", partial(_log_out, auth), methods=("POST",)),
    ]


async def _log_in(auth: Auth, request: Request) -> Response:
    if request.method != "POST":
        following = choose_next(request.query_params.get("next", ""))
        if auth.sessions is None or auth.find_session(request.scope):
            return RedirectResponse(following, 303)
        return render("login.html", next=following, problem="")
    fields = await read_form(request)
    if fields is None:
        return PlainTextResponse("this is no login\n", 400)
    following = choose_next(fields.get("next", ""))
    if auth.sessions is None:
        return RedirectResponse(following, 303)
    guess = fields.get("password", "")
    wait = await auth.try_password(request.scope, request.receive, guess)
    if wait is not None:
        status = 429 if wait else 403
        response = render("login.html", status_code=status, next=following, problem=_describe(wait))
        if wait:
            response.headers.update(build_retry_header(wait))
        return response
    if earlier := auth.find_token(request.scope):
        await auth.sessions.end(earlier)
    cookie = auth.build_cookie(request.scope, await auth.sessions.open())
    return RedirectResponse(following, 303, {"Set-Cookie": cookie})


async def _log_out(auth: Auth, request: Request) -> Response:
    token = auth.find_token(request.scope)
    if auth.sessions is None or token is None:
        return RedirectResponse("/", 303)
    if not await auth.sessions.end(token):
        text = "logged out until the dashboard starts again: its database takes nothing\n"
        return PlainTextResponse(text, 503)
    cookie = auth.build_cookie(request.scope, "", 0)
    return RedirectResponse("/login", 303, {"Set-Cookie": cookie})


def choose_next(path: str) -> str:
    """Where a reader goes after the login: ``path`` if it is one of this server, else ``/``."""
    return path if _PATH.fullmatch(path) else "/"


def _describe(wait: float) -> str:
    if not wait:
        return "That is not the password."
    return f"Too many passwords are being tried. Please try again in {math.ceil(wait)} s."
