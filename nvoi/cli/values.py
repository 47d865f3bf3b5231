"""Values of options that argparse has no type for."""

from __future__ import annotations

import argparse
import re
from urllib.parse import urlsplit

from nvoi.errors import UsageError

MOST_PORT = 65535

#: A host and a port, whose names may be those of any language.
_AUTHORITY = re.compile(r"[\w.:\[\]-]+")


def parse_url(text: str) -> str:
    """``--public-url`` without a slash at its end.

    Raises:
        UsageError: it is no address of a server.
    """
    try:
        parts = urlsplit(text)
        is_right = bool(parts.scheme in {"http", "https"} and parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    # What was typed is not repeated: it may have a password.
    if not is_right or not text.isprintable() or " " in text:
        raise UsageError("--public-url is no URL", hint="as https://deploys.example.com")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            "--public-url has more than a scheme, a host and a port",
            hint="the dashboard needs a host name of its own",
        )
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise UsageError("--public-url has a host that cannot be one")
    return f"{parts.scheme}://{parts.netloc}"


def parse_port(text: str) -> int:
    """A port, or 0."""
    number = parse_count(text)
    if number > MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number


def parse_count(text: str) -> int:
    """A whole number of 0 or more."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:  # noqa: PLR2004 - enough for all
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def parse_amount(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:  # noqa: PLR2004 - neither infinite nor no number at all
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def parse_hours(text: str) -> float:
    """A number of hours, 0 or more."""
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < 1e6:  # noqa: PLR2004 - neither infinite nor no number at all
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours")
    return hours
