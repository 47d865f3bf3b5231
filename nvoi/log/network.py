"""What the environment says of the network: proxies and CA bundles.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in either case, by the rules
of the standard library's ``urllib.request``; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` as
OpenSSL has them, ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` as their programs do.
"""

from __future__ import annotations

import base64
import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import parse_url

from nvoi.log.addresses import is_loopback

Environ = Mapping[str, str]


class NetworkError(Exception):
    """The environment names a proxy or a CA bundle that cannot be used."""


def build_manager(url: str, environ: Environ) -> urllib3.PoolManager:
    """What connects to the host of ``url``: directly or by a proxy, TLS verified.

    Raises:
        NetworkError: a proxy or CA bundle that ``environ`` names cannot be used.
    """
    parts = urlsplit(url)
    proxy = find_proxy(parts.scheme, parts.hostname or "", environ)
    options: dict[str, Any] = {"num_pools": 2, "maxsize": 1}
    if "https" in {parts.scheme, urlsplit(proxy or "").scheme}:
        options["ssl_context"] = build_tls(environ)
    if proxy is None:
        return urllib3.PoolManager(**options)
    try:
        auth = find_auth(proxy)
        return urllib3.ProxyManager(
            parse_url(proxy)._replace(auth=None).url,
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

    They are percent-encoded in a URL and are not in the header (RFC 7617, section 2).
    """
    auth = parse_url(url).auth
    return f"Basic {base64.b64encode(unquote(auth).encode()).decode()}" if auth else None


def find_proxy(scheme: str, host: str, environ: Environ) -> str | None:
    """The proxy's URL for ``host``, or None.

    This machine's own addresses are reached directly, as Go's net/http does it
    (ProxyFromEnvironment): to a proxy they would be the proxy's.
    """
    if is_loopback(host):
        return None
    proxies = {
        name.lower().removesuffix("_proxy"): value
        for name, value in environ.items()
        if value and name.lower().endswith("_proxy")
    }
    # A CGI script's HTTP_PROXY is the visitor's header "Proxy" (httpoxy.org).
    if "REQUEST_METHOD" in environ:
        proxies.pop("http", None)
    if urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined]  # not in the stubs
        return None
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def build_tls(environ: Environ) -> ssl.SSLContext:
    """A context that verifies, by the system's CAs and those that ``environ`` names.

    Raises:
        NetworkError: these cannot be read.
    """
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    bundle = next((environ[name] for name in names if environ.get(name)), None)
    folder = environ.get("SSL_CERT_DIR") or None
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
