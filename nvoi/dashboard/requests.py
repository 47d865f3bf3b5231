"""Requests, as they were sent: their paths, queries and forms, and who sent them.

Paths are split into segments first and percent-decoded afterwards: a deploy id may hold any
character but control characters, ``/`` included, so a path that was decoded as a whole (as ASGI's
``path`` is) no longer tells where a segment ends.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import ipaddress
import math
import re
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from nvoi.dashboard.context import Settings
from nvoi.errors import UsageError
from nvoi.protocol import check_deploy_id

#: Bytes of a form, and seconds that it may take to arrive.
_MOST_BYTES, _READ_SECONDS = 16 * 1024, 10.0
#: More digits than any number of a query has, and few enough for SQLite.
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)

# RFC 9110, 7.2: Host = uri-host [ ":" port ]. An IPv6 address stands in brackets (RFC 3986).
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/?#@\s]+))(?::\d{0,5})?")

#: The bits of an IPv6 address that name one customer's network; the rest is theirs to choose.
_NETWORK_BITS = 64

#: What a proxy adds to the requests that it passes on.
_FORWARDING = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")
)


# -- paths ----------------------------------------------------------------------------------


class _Segment(Convertor[str | None]):
    """One segment of a path, decoded once it is known where it ends; None is no UTF-8."""

    regex = "[^/]+"

    def convert(self, value: str) -> str | None:
        try:
            return unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            return None


register_url_convertor("segment", _Segment())


# -- queries and ids ------------------------------------------------------------------------


def get_number(request: Request, name: str, default: int, *, most: int | None = None) -> int:
    """The number that the query gives ``name``, ``default`` without one, ``most`` at most."""
    number = find_number(request, name)
    if number is None:
        number = default
    return number if most is None else min(number, most)


def find_number(request: Request, name: str, *, least: int = 0, status: int = 422) -> int | None:
    """The number that the query gives ``name``; refuses by ``status`` what is none, or too low."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) < least:
        # 404 says enough: there is no page of that number.
        detail = None if status == HTTPStatus.NOT_FOUND else f"{name} must be a whole number"
        raise HTTPException(status, detail)
    return int(text)


def get_deploy_id(request: Request) -> str:
    try:
        return check_deploy_id(request.path_params["deploy_id"] or "")
    except UsageError:
        raise HTTPException(404, "there is no such deploy") from None


# -- bodies and passwords -------------------------------------------------------------------


async def read_body(
    request: Request, most: int, seconds: float, hold: Callable[[int], bool] = lambda _: True
) -> bytes:
    """The raw body, each part of which is held in memory if ``hold`` allows it."""
    too_large = HTTPException(413, f"the body is over {most} bytes")
    # HTTP allows nothing but digits there; the server has refused what is none.
    if int(request.headers.get("content-length", "0")) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                is_allowed = hold(len(chunk))
                if len(body) > most:
                    raise too_large
                if not is_allowed:
                    raise build_refusal(503, "too much is being sent at once", 1)
    except TimeoutError:
        # What comes of it later is no request.
        raise HTTPException(
            408, f"the body did not come in {seconds:.0f} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the request was cut off") from None
    return bytes(body)


def build_refusal(status: int, text: str, retry_after: float) -> HTTPException:
    return HTTPException(status, text, build_retry_header(retry_after))


def build_retry_header(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(seconds))}


async def read_form(request: Request) -> dict[str, str] | None:
    """The first value of each field; None where it is too large or no form."""
    try:
        body = await read_body(request, _MOST_BYTES, _READ_SECONDS)
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
    except HTTPException as error:
        if error.status_code == HTTPStatus.REQUEST_TIMEOUT:
            raise
        return None
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}


def find_basic_password(scope: Scope) -> str | None:
    """The password of HTTP Basic (RFC 7617), with any user's name."""
    scheme, _, code = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(code.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


# -- hosts and clients ----------------------------------------------------------------------


def is_this_machine(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is this machine's own.

    Only ``localhost`` and addresses are: any other name may be made to lead here, or elsewhere.
    """
    if host.rstrip(".").lower() == "localhost":
        return True
    address = _find_address(host)
    return address is not None and address.is_loopback


def find_host(scope: Scope) -> str | None:
    """The name in a request's ``Host``, without its port; None where there is not just one."""
    values = Headers(scope=scope).getlist("host")
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    return (match["address"] or match["name"]).lower() if match else None


def is_forwarded(scope: Scope) -> bool:
    return any(name in _FORWARDING for name, _ in scope["headers"])


def names_own_host(scope: Scope, public_url: str) -> bool:
    """Whether a request names the host of ``public_url``, or this machine, as its own."""
    host = find_host(scope) or ""
    own = _normalize(urlsplit(public_url).hostname or "")
    return is_this_machine(host) or _normalize(host) == own


def _normalize(name: str) -> str:
    """A host's name as it is compared: ASCII, in lower case, without the root's dot."""
    with contextlib.suppress(UnicodeError):
        name = name.encode("idna").decode()
    return name.rstrip(".").lower()


def find_client(scope: Scope, settings: Settings) -> str:
    """Who sent a request: an IPv4 address, or the network of an IPv6 one.

    Behind a trusted proxy it is the last hop of ``X-Forwarded-For``, which is the one that
    the proxy added: those before it are whatever the client wrote.
    """
    client = scope.get("client")
    address = _find_address(client[0]) if client else None
    if settings.trust_proxy:
        last = _find_last(scope, "x-forwarded-for")
        # Some proxies add the client's port.
        match = _HOST.fullmatch(last)
        host = (match["address"] or match["name"]) if match else last
        address = _find_address(host) or address
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    return str(address)


def _find_last(scope: Scope, name: str) -> str:
    """The last value of a header that every proxy adds to: the nearest one's."""
    return ",".join(Headers(scope=scope).getlist(name)).rpartition(",")[2].strip()


def is_encrypted(scope: Scope, settings: Settings) -> bool:
    """Whether the reader's browser speaks HTTPS, with this server or with the proxy before it."""
    if settings.public_url is not None:
        return settings.public_url.startswith("https://")
    scheme = str(scope.get("scheme", "http"))
    if settings.trust_proxy:
        scheme = _find_last(scope, "x-forwarded-proto").lower() or scheme
    return scheme == "https"


def is_foreign(scope: Scope, settings: Settings) -> bool:
    """Whether a browser says that another site's page sent the request.

    ``Sec-Fetch-Site`` (Fetch Metadata Request Headers) is sent over HTTPS and to loopback,
    ``Origin`` with every form that is posted. Browsers of today send one of them; an older one
    sends no Lax cookie with another site's form.
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


def _find_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
