"""Command lines, ports and checks of other tools, as nvoi's config has them. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from nvoi.config.fields import find_bytes
from nvoi.config.nodes import Node, Scalar, Sequence
from nvoi.config.schema import Healthcheck
from nvoi.onboarding.proposals.tree import Section, list_texts
from nvoi.onboarding.shell import join_words, read_line

# Go's durations, which Compose and fly.toml have: `1m30s`, `1.5h`, `300ms`.
DURATION = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)(?P<unit>h|ms|us|m|s)")
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
# Docker's and fly's amounts of memory count in 1024s, whatever their case.
MEMORY = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[kmgt]?)i?b?", re.IGNORECASE)
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
ASKED = re.compile(r"https?://[^\s'\"|;&)]+")
ASKING = re.compile(r"\b(?:curl|wget|http-?get)\b")
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104 - compared with


def read_words(node: Node | None) -> str:
    """A command for a shell, of a text or of a list of words; "" where there is none."""
    if isinstance(node, Sequence):
        return join_words([item.text for item in list_texts(node)])
    return read_line(node.text) if isinstance(node, Scalar) else ""


def find_count(text: str) -> int | None:
    """A whole number; None for what is none, or more than there can be of anything."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def read_seconds(text: str) -> float | None:
    """Seconds of a duration; None for what is none, or not above 0."""
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text):
        seconds = float(text)
    elif text and DURATION.sub("", text) == "":
        seconds = sum(float(m["number"]) * SECONDS[m["unit"]] for m in DURATION.finditer(text))
    else:
        return None
    return round(seconds, 3) or None


def read_times(found: Healthcheck, *checks: Section) -> Healthcheck:
    """A check with its interval and time-out, each of the first section that has one."""
    interval, timeout = (
        read_seconds(next(filter(None, [check.text(name) for check in checks]), ""))
        for name in ("interval", "timeout")
    )
    return replace(found, interval=interval or found.interval, timeout=timeout or found.timeout)


def read_memory(text: str) -> str | None:
    """An amount of memory as Kubernetes writes it; None for what is none, or too little."""
    match = MEMORY.fullmatch(text.strip())
    if match is None:
        return None
    mebibytes = int(float(match["number"]) * UNITS[match["unit"].lower()]) >> 20
    amount = f"{mebibytes >> 10}Gi" if mebibytes and not mebibytes % 1024 else f"{mebibytes}Mi"
    return amount if (find_bytes(amount) or 0) >= 6 << 20 else None


def read_cpus(text: str) -> str | None:
    """Processor time in cores, as in ``0.50``."""
    try:
        thousandths = round(float(text) * 1000)
    except (ValueError, OverflowError):
        return None
    return f"{thousandths}m" if 0 < thousandths < 10**7 else None


def build_check(command: str, port: int | None) -> Healthcheck:
    """The check that a command makes: one that asks a page of this service is of type http."""
    try:
        found = [(url, url.port or 80) for url in map(urlsplit, ASKED.findall(command))]
    except ValueError:
        found = []
    if ASKING.search(command) and len(found) == 1:
        [(url, asked)] = found
        path = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
        if url.hostname in LOCAL_HOSTS and path.isascii() and "$" not in path:
            return Healthcheck(path=path, port=None if asked == port else asked)
    return Healthcheck(type="exec", command=command)
