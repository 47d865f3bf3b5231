"""Which host a request names, who sent it, and whether the way there is encrypted."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from nvoi.dashboard.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Scope

# RFC 9110, 7.2: Host = uri-host [ ":" port ]. An IPv6 address stands in brackets (RFC 3986).
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/?#@\s]+))(?::\d{0,5})?")

#: The bits of an IPv6 address that name one customer's network; the rest is theirs to choose.
_NETWORK_BITS = 64

#: What a proxy adds to the requests that it passes on.
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is this machine's own.

    Only ``localhost`` and addresses are: any other name may be made to lead here.
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
    """Whether a proxy says that it passed the request on."""
    headers = Headers(scope=scope)
    return any(name in headers for name in _FORWARDING)


def find_client(scope: Scope, settings: Settings) -> str:
    """Who sent a request: an IPv4 address, or the network of an IPv6 one.

    Behind a trusted proxy it is the last hop of ``X-Forwarded-For``, which is the one that
    the proxy added: those before it are whatever the client wrote.
    """
    client = scope.get("client")
    address = _find_address(client[0]) if client else None
    if settings.trust_proxy:
        last = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).rpartition(",")[2]
        address = _find_address(last.strip()) or address
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    return str(address)


def is_encrypted(scope: Scope, settings: Settings) -> bool:
    """Whether the reader's browser speaks HTTPS, with this server or with the proxy before it."""
    if settings.public_url is not None:
        return settings.public_url.startswith("https://")
    scheme = str(scope.get("scheme", "http"))
    if settings.trust_proxy:
        last = ",".join(Headers(scope=scope).getlist("x-forwarded-proto")).rpartition(",")[2]
        scheme = last.strip().lower() or scheme
    return scheme == "https"


def _find_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
