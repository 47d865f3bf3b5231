"""Tells forms that our own pages sent from those that others make a browser send."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Scope

    from nvoi.dashboard.settings import Settings


def is_foreign(scope: Scope, settings: Settings) -> bool:
    """Whether a browser says that another site's page sent the request.

    ``Sec-Fetch-Site`` (Fetch Metadata Request Headers) is sent over HTTPS and to loopback,
    ``Origin`` with every form that is posted. A request without both is no browser's of today;
    the form's token still stands in its way.
    """
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return False
    own = {headers.get("host", "").lower()}
    if settings.public_url is not None:
        own.add(urlsplit(settings.public_url).netloc.lower())
    if settings.trust_proxy:
        own.add(headers.get("x-forwarded-host", "").lower())
    return origin.partition("://")[2].lower() not in own - {""}


def build_token(key: str | bytes, purpose: str) -> str:
    """What a form carries to show that it was made for whoever holds ``key``; hexadecimal."""
    secret = key.encode() if isinstance(key, str) else key
    return hmac.digest(secret, purpose.encode(), hashlib.sha256).hex()


def is_token(token: str, key: str | bytes, purpose: str) -> bool:
    """Whether ``token`` is the one that :func:`build_token` makes; in constant time."""
    return hmac.compare_digest(token.encode(errors="replace"), build_token(key, purpose).encode())
