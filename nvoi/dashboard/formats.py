"""How messages, times and names are shown. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from unicodedata import category
from urllib.parse import urlsplit

from nvoi.network import is_loopback

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000

#: Names that differ from their words with capitals: the ``ci_provider`` of a deploy in a CI.
_PROVIDERS = {
    "circleci": "CircleCI",
    "drone": "Drone",
    "github_actions": "GitHub Actions",
    "gitlab_ci": "GitLab CI",
    "travis_ci": "Travis CI",
}

#: What an ANSI terminal takes for a command: CSI (ECMA-48, 5.4), OSC up to BEL or ST, and the
#: short escapes. A CSI or OSC that never ends is shown as text.
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\^_`-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
#: What is not seen itself joins letters and pictures: zero width (non-)joiner.
_JOINERS = "\u200c\u200d"
_SHA = re.compile(r"[0-9a-f]{12,64}\Z", re.IGNORECASE)

#: RFC 3986, 3.2.2: a name, which may be an internationalised one, or an IPv6 address.
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?"
)
_LONGEST_HOST, _LARGEST_PORT = 253, 65535

#: Characters of a name that are shown.
_LONGEST_NAME = 120


def clean_text(text: str) -> str:
    """``text`` without ANSI sequences, other control characters as their visible pictures."""
    if text.isprintable():
        return text
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    return _CONTROL.sub(lambda match: _picture(match[0]), text)


def clean_name(text: str) -> str:
    """``text`` where a name is shown: on one line, the end of a very long one left out.

    What nobody sees is left out too: it may turn the text around it, or hide a link.
    """
    name = " ".join(clean_text(text).split())
    if not name.isprintable():
        # Cf: UAX 44, "Format".
        seen = (one for one in name if one in _JOINERS or category(one) != "Cf")
        name = "".join(seen).strip(f" {_JOINERS}")
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def is_web_url(url: str | None) -> bool:
    """Whether ``url`` may stand in a link: ``http`` or ``https``, with a host."""
    if not url or _CONTROL.search(url) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def build_app_url(hostname: str) -> str | None:
    """Where a tunnel's hostname is opened; None where it is no host name.

    This machine's own names have no certificate: they are ``http``, all others ``https``.
    """
    match = _HOST.fullmatch(hostname)
    if match is None or len(hostname) > _LONGEST_HOST or int(match["port"] or 0) > _LARGEST_PORT:
        return None
    host = match["address"] or match["name"]
    return f"{'http' if is_loopback(host) else 'https'}://{hostname}"


def name_provider(provider: str) -> str:
    """``github_actions`` as ``GitHub Actions``; a name that is not known as words."""
    words = provider.replace("_", " ").split()
    return _PROVIDERS.get(provider, " ".join(word[:1].upper() + word[1:] for word in words))


def shorten_sha(sha: str) -> str:
    """The first seven digits of a commit; whatever else was sent, as it is."""
    return sha[:7] if _SHA.match(sha) else sha


def format_duration(milliseconds: int) -> str:
    """``12.4 s`` and ``2 min 05 s``, as the console has it; ``1 h 02 min``."""
    tenths = (max(0, milliseconds) + 50) // 100
    if tenths < _MINUTE // 100:
        return f"{tenths / 10:.1f} s"
    seconds = (milliseconds + _SECOND // 2) // _SECOND
    if seconds < _HOUR // _SECOND:
        minutes, rest = divmod(seconds, 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(seconds // 60, 60)
    return f"{hours} h {rest:02d} min"


def format_ago(milliseconds: int) -> str:
    """How long ago something was, in its largest unit: ``just now`` to ``30 days ago``."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        count = milliseconds // unit
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def format_utc(moment: int) -> str:
    """``2026-01-31 12:00:00 UTC``."""
    return _read_moment(moment).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_iso(moment: int) -> str:
    """``2026-01-31T12:00:00.123Z``, as HTML's ``time`` reads it."""
    return _read_moment(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_moment(moment: int) -> datetime:
    try:
        return datetime.fromtimestamp(moment / _SECOND, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _picture(character: str) -> str:
    return "\u2421" if character == "\x7f" else chr(0x2400 + ord(character))
