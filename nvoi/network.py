"""What the environment says of the network: proxies and CA bundles.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` as the standard library's
``urllib.request`` has them, and networks in ``NO_PROXY`` as Go's ``x/net/http/httpproxy``;
``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` as OpenSSL, ``REQUESTS_CA_BUNDLE`` and
``CURL_CA_BUNDLE`` as their programs.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit, urlunsplit

if TYPE_CHECKING:
    import urllib3

Environ = Mapping[str, str]

_PORTS = {"http": 80, "https": 443}
_PORT = re.compile(r":(\d{1,5})\Z", re.ASCII)


class NetworkError(Exception):
    """The environment names a proxy or a CA bundle that cannot be used."""


def build_manager(url: str, environ: Environ, *, connections: int = 1) -> urllib3.PoolManager:
    """What connects to the host of ``url``: directly or by a proxy, TLS verified.

    Args:
        connections: how many are kept for the next requests.

    Raises:
        NetworkError: a proxy or CA bundle that ``environ`` names cannot be used.
    """
    # 90 ms, which commands that ask nobody spare.
    import urllib3  # noqa: PLC0415

    proxy = find_proxy(url, environ)
    options: dict[str, Any] = {"num_pools": 2, "maxsize": connections}
    try:
        if "https" in {urlsplit(url).scheme, urlsplit(proxy or "").scheme}:
            options["ssl_context"] = build_tls(environ)
        if proxy is None:
            return urllib3.PoolManager(**options)
        if not urlsplit(proxy).hostname or urlsplit(proxy).port == 0:
            raise ValueError(proxy)  # noqa: TRY301 - told as every other is that cannot be used
        auth = find_auth(proxy)
        return urllib3.ProxyManager(
            urllib3.util.parse_url(proxy)._replace(auth=None).url,
            proxy_headers={"Proxy-Authorization": auth} if auth else None,
            proxy_ssl_context=options.get("ssl_context"),
            **options,
        )
    except (urllib3.exceptions.HTTPError, ValueError):
        # The text is ours: theirs would show a password in the URL.
        text = "the proxy that the environment names is no http or https URL"
        raise NetworkError(text) from None


def find_auth(url: str) -> str | None:
    """The value of an ``Authorization`` header for the user and password in ``url``, if any.

    They are percent-encoded in a URL and are not in the header. The colon between them is
    there without a password too (RFC 7617, section 2).
    """
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    user, _, password = map(unquote_to_bytes, userinfo.partition(":"))
    return f"Basic {base64.b64encode(user + b':' + password).decode()}" if userinfo else None


def find_secrets(url: str) -> list[str]:
    """The password in ``url``, or the user's name alone, which is a token: as written, decoded."""
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    secret = password or user
    return [secret, unquote(secret)] if secret else []


def strip_auth(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def find_proxy(url: str, environ: Environ) -> str | None:
    """The URL of the proxy before the host of ``url``, or None.

    This machine's own addresses are reached directly, as Go's net/http does it
    (ProxyFromEnvironment): to a proxy they would be the proxy's.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS[parts.scheme]
    exceptions = re.split(r"[\s,]+", _find_variable("no_proxy", environ).lower())
    if is_loopback(host) or any(_is_covered(host, port, each) for each in exceptions if each):
        return None
    proxy = _find_variable(f"{parts.scheme}_proxy", environ) or _find_variable("all_proxy", environ)
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _find_variable(name: str, environ: Environ) -> str:
    """The variable ``name``, or that in upper case; an empty one switches the other off."""
    if name in environ:
        return environ[name]
    # A CGI script's HTTP_PROXY is the visitor's header "Proxy" (httpoxy.org).
    is_visitors = name == "http_proxy" and "REQUEST_METHOD" in environ
    return "" if is_visitors else environ.get(name.upper(), "")


def _is_covered(host: str, port: int, exception: str) -> bool:
    """Whether an entry of ``NO_PROXY`` names ``host``, or a domain or network that it is in."""
    network = _find_network(exception)
    if network is None and (match := _PORT.search(exception)):
        if int(match[1]) != port:
            return False
        exception = exception[: match.start()]
        network = _find_network(exception)
    if network is not None:
        address = _find_network(host)
        return address is not None and address.network_address in network
    domain = exception.strip("*.")
    return exception == "*" or host == domain or host.endswith(f".{domain}")


def _find_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A network in CIDR notation, or an address as a network of one; in brackets or not."""
    bare = re.sub(r"^\[([^]]*)\](?=/\d+$|$)", r"\1", text)
    try:
        return ipaddress.ip_network(bare, strict=False)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: its name (RFC 6761, 6.3) or a loopback address."""
    network = _find_network(host)
    if network is not None:
        return network.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def build_tls(environ: Environ) -> ssl.SSLContext:
    """A context that verifies, by the system's CAs and those that ``environ`` names.

    Raises:
        NetworkError: these cannot be read.
    """
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    bundle = next((environ[name] for name in names if environ.get(name)), None)
    # OpenSSL itself asks the environment of the process where the system's are.
    system = ssl.get_default_verify_paths()
    states = _read_state(bundle), _read_state(system.cafile)
    return _load_tls(bundle, environ.get("SSL_CERT_DIR") or None, system, states)


def _read_state(file: str | None) -> object:
    """What is another one once the file is; a folder's files are read when they are needed."""
    try:
        status = os.stat(file or "")  # noqa: PTH116 - a plain question, too
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


# To read the system's CAs takes 30 ms, and each new connection asks for them.
@functools.lru_cache(maxsize=8)
def _load_tls(bundle: str | None, folder: str | None, *_: object) -> ssl.SSLContext:
    """The context with these CAs as they are now; ``bundle`` may be a folder, too."""
    context = ssl.create_default_context()
    if bundle is not None and os.path.isdir(bundle):  # noqa: PTH112 - a plain question
        bundle, folder = None, bundle
    try:
        if bundle or folder:
            context.load_verify_locations(bundle, folder)
    except (OSError, ssl.SSLError) as error:
        text = f"the CA bundle {bundle or folder} that the environment names cannot be read"
        raise NetworkError(f"{text}: {error}") from error
    return context
