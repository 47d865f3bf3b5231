"""The cookies of readers: that of a session, and that of the form which opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from starlette.requests import HTTPConnection

from nvoi.dashboard.hosts import is_encrypted

if TYPE_CHECKING:
    from starlette.types import Scope

    from nvoi.dashboard.settings import Settings

#: ``session`` holds a session's token, ``form`` what the token of the login form is made from.
Purpose = Literal["session", "form"]


def find_cookie(scope: Scope, settings: Settings, purpose: Purpose) -> str | None:
    """A cookie's value, None where the request has none."""
    value = HTTPConnection(scope).cookies.get(_get_name(scope, settings, purpose))
    # What is longer was not made here.
    return value if value and len(value) <= 128 else None  # noqa: PLR2004


def build_cookie(
    scope: Scope, settings: Settings, purpose: Purpose, value: str, seconds: int
) -> str:
    """A ``Set-Cookie`` header; 0 seconds delete the cookie.

    It is Lax, as a link in a chat should find its reader logged in.
    """
    cookie = f"{_get_name(scope, settings, purpose)}={value}; Path=/; Max-Age={seconds}"
    secure = "; Secure" if is_encrypted(scope, settings) else ""
    return f"{cookie}; HttpOnly; SameSite=Lax{secure}"


def _get_name(scope: Scope, settings: Settings, purpose: Purpose) -> str:
    # RFC 6265bis, 4.1.3.2: with this prefix neither an unencrypted page nor another host of the
    # domain can set it.
    prefix = "__Host-" if is_encrypted(scope, settings) else ""
    return f"{prefix}nvoi-{purpose}"
