"""The headers that tell a browser what a page of the dashboard may do: little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from nvoi.dashboard.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class SecurityHeadersMiddleware:
    """Adds them to every answer that does not say otherwise itself.

    What is read may be kept by nobody; files of the pages are asked for again each time, unless
    their URL names their version (``?v=``).
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if (settings.public_url or "").startswith("https://"):
            self._headers["Strict-Transport-Security"] = _STRICT_TRANSPORT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

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
    versioned = scope["query_string"].startswith(b"v=")
    return "public, max-age=31536000, immutable" if versioned else "public, no-cache"
