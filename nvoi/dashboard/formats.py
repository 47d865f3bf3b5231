"""How the pages show a log, its messages, times and names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from nvoi.dashboard.queries import Gap, Status, StoredLine
from nvoi.dashboard.requests import is_loopback

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
#: What ends a step: ``Build: 1.2 s`` or ``Build: failed after 2 min 05 s`` of the step ``Build``.
_STEP_TIME = re.compile(r": (failed after )?[0-9][0-9a-z. ]*", re.ASCII)
#: What begins the end of a run: its times, its URLs, or what was done.
_SUMMARY = re.compile(r"Where the time went:\Z|Running at https?://|\w+ of .+ done(:| in) ")
#: Unicode's Bidi_Control characters (UAX 9): they would turn the text around them.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^]+", re.IGNORECASE)
_SHA = re.compile(r"[0-9a-f]{12,64}\Z", re.IGNORECASE)

#: RFC 3986, 3.2.2: a name, which may be an internationalised one, or an IPv6 address.
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?"
)
_LONGEST_HOST, _LARGEST_PORT = 253, 65535

#: Characters of a name that are shown.
_LONGEST_NAME = 120

#: The links of a message, at most: it may be a megabyte of them.
_MOST_LINKS = 250


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a message; ``url`` is set where it is to be a link."""

    text: str
    url: str | None = None


def clean_text(text: str) -> str:
    """``text`` without ANSI sequences, other control characters as their visible pictures."""
    if text.isprintable():
        return text
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    return _CONTROL.sub(lambda match: _picture(match[0]), text)


def clean_name(text: str) -> str:
    """``text`` where a name is shown: on one line, the end of a very long one left out."""
    name = " ".join(clean_text(text).split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def clean_title(text: str) -> str:
    """``text`` for a window's title, which nothing isolates: a name, read in one direction."""
    return _BIDI.sub("", clean_name(text))


def split_links(text: str) -> list[Piece]:
    """A clean message in pieces, its web addresses apart."""
    pieces: list[Piece] = []
    end = 0
    for match in _URL.finditer(text):
        url = _trim_url(match[0])
        if not is_web_url(url):
            continue
        if len(pieces) >= 2 * _MOST_LINKS:
            break
        pieces += [Piece(text[end : match.start()]), Piece(url, url)]
        end = match.start() + len(url)
    return [piece for piece in (*pieces, Piece(text[end:])) if piece.text]


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
    # Names below localhost are this machine's too (RFC 6761, 6.3).
    is_local = is_loopback(host) or host.endswith(".localhost")
    return f"{'http' if is_local else 'https'}://{hostname}"


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


def format_clock(moment: int) -> str:
    """``12:00:00.123``, UTC."""
    return _read_moment(moment).strftime("%H:%M:%S.") + f"{moment % _SECOND:03d}"


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


def _trim_url(url: str) -> str:
    """Without the punctuation of the sentence around it, and a bracket it did not open."""
    # Counted once: a message may be a megabyte of brackets.
    unopened = {")": url.count(")") - url.count("("), "]": url.count("]") - url.count("[")}
    end = len(url)
    while end and (url[end - 1] in ".,:;!?*" or unopened.get(url[end - 1], 0) > 0):
        if url[end - 1] in unopened:
            unopened[url[end - 1]] -= 1
        end -= 1
    return url[:end]


# -- sections of a log ----------------------------------------------------------------------


@dataclass(slots=True)
class Section:
    """A step's line and what follows it.

    ``head`` is None for what comes before the first step, and for what is ``closing``: it follows
    the end of the last one. ``began`` and ``ended`` are Unix milliseconds of the sender's clock;
    ``ended`` is None while it is running.
    """

    head: StoredLine | None
    items: list[StoredLine | Gap] = field(default_factory=list)
    began: int = 0
    ended: int | None = None
    open: bool = True
    running: bool = False
    failed: bool = False
    closing: bool = False

    @property
    def errors(self) -> int:
        lines = [item for item in self.items if isinstance(item, StoredLine)]
        return sum(line.level == "error" for line in lines)

    @property
    def missing(self) -> int:
        return sum(item.last - item.first + 1 for item in self.items if isinstance(item, Gap))

    @property
    def duration(self) -> int:
        return max(0, (self.began if self.ended is None else self.ended) - self.began)


def build_sections(
    lines: Iterable[StoredLine], gaps: Sequence[Gap], status: Status, *, complete: bool = True
) -> list[Section]:
    """The sections of an attempt's lines, ordered for reading.

    Gaps outside of ``lines`` are left out, but for those at the end where ``complete`` says that
    they go up to the attempt's last one; ``status`` decides which sections are open.
    """
    ordered = sorted(lines, key=lambda line: (line.place, line.number))
    sections = [Section(None)]
    for item in _merge(ordered, gaps, complete=complete):
        if isinstance(item, StoredLine) and item.level == "step":
            sections.append(Section(item))
        else:
            sections[-1].items.append(item)
    sections = [section for section in sections if section.head or section.items]
    if complete and sections and sections[-1].head:
        sections += _split_closing(sections[-1], sections[-1].head)
    _set_times(sections)
    if sections:
        _set_states(sections, status)
    return sections


def is_end(name: str, level: str, message: str) -> bool:
    """Whether a line tells the end of the step ``name``."""
    if level not in {"ok", "warning"} or not message.startswith(f"{name}: "):
        return False
    return bool(_STEP_TIME.fullmatch(message, len(name)))


def is_summary(level: str, message: str) -> bool:
    """Whether a line begins what nvoi says of a whole run, where no step told its end."""
    return level in {"info", "success"} and bool(_SUMMARY.match(message))


def _split_closing(section: Section, head: StoredLine) -> list[Section]:
    """Take what follows the end of a step out of its section."""
    name = clean_text(head.message)
    for index, item in enumerate(section.items):
        if isinstance(item, Gap):
            continue
        message = clean_text(item.message)
        ends = is_end(name, item.level, message)
        if ends or is_summary(item.level, message):
            rest = section.items[index + ends :]
            del section.items[index + ends :]
            return [Section(None, rest, closing=True)] if rest else []
    return []


def _merge(
    lines: Sequence[StoredLine], gaps: Sequence[Gap], *, complete: bool
) -> Iterable[StoredLine | Gap]:
    """Lines and gaps, each gap before the first line whose place is above its own."""
    waiting = sorted(gaps, key=lambda gap: gap.first)
    if lines and lines[0].number > 1:
        waiting = [gap for gap in waiting if gap.first > lines[0].place]
    for line in lines:
        while waiting and waiting[0].first < line.place:
            yield waiting.pop(0)
        yield line
    if complete:
        yield from waiting


def _set_times(sections: Sequence[Section]) -> None:
    end: int | None = None
    for section in reversed(sections):
        items = (section.head, *section.items)
        times = [item.logged_at for item in items if isinstance(item, StoredLine)]
        section.began = times[0] if times else end or 0
        section.ended = end if end is not None else max(times, default=section.began)
        end = None if section.closing else section.began


def _set_states(sections: Sequence[Section], status: Status) -> None:
    last = sections[-2] if sections[-1].closing else sections[-1]
    last.running = status == "running" and last is sections[-1]
    last.failed = status == "failed"
    if last.running:
        last.ended = None
    if status != "running":
        for section in sections:
            section.open = section is last or not section.head
