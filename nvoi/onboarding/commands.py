"""Command lines, ports, amounts and checks that were written elsewhere, as nvoi has them. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from collections.abc import Sequence as AnySequence
from dataclasses import replace
from urllib.parse import urlsplit

from nvoi.config.fields import LARGEST_PORT, find_bytes
from nvoi.config.nodes import Node, Scalar, Sequence
from nvoi.config.schema import Healthcheck
from nvoi.onboarding.proposals.tree import Stanza, find_text, list_texts

SHELLS = (["/bin/sh", "-c"], ["sh", "-c"], ["/bin/bash", "-c"], ["bash", "-c"])
#: Characters of a command: the kernel takes no longer word (execve(2), MAX_ARG_STRLEN), and a
#: word of n characters costs shlex n² steps.
LONGEST = 128 << 10
# What more than a program and its arguments has: a shell's own signs and words.
SIGNS = re.compile(r"[;&|<>()`\n]|^\s*(?:\w+=|(?:exec|cd|\.|source|export|if|for|while)\s)")
# Below it only root may listen (ip(7), ip_unprivileged_port_start); an image's port often is.
UNPRIVILEGED_PORT = 1024
#: As EXPOSE, `ports` and others have it; what is not TCP is none.
PORT = re.compile(r"(\d{1,5})(?:-\d{1,5})?(?:/tcp)?", re.IGNORECASE)
TOLD_PORT = re.compile(
    r"(?:--?(?:port|p|http-port)[= ]|--?(?:bind|b|listen)[= ]\S{0,255}:|\s[\d.]{1,15}:)"
    r"(\d{2,5})(?![\w.:])"
)
# Go's durations, which Compose and fly.toml have: `1m30s`, `1.5h`, `300ms`.
DURATION = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)(?P<unit>h|ms|us|m|s)")
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
# Docker's and fly's amounts of memory count in 1024s, whatever their case.
MEMORY = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[kmgt]?)i?b?", re.IGNORECASE)
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
ASKED = re.compile(r"https?://[^\s'\"|;&)]+")
ASKING = re.compile(r"\b(?:curl|wget|http-?get)\b")
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104 - compared with


def join_words(words: AnySequence[str]) -> str:
    """The command line of a program and its arguments; a shell that is given a text is that."""
    if list(words[:2]) in SHELLS and len(words) == 3:  # noqa: PLR2004 - a shell, -c, and its text
        return words[2].strip()
    return shlex.join(words)


def read_command(text: str) -> str:
    """A command line of the exec form (a JSON list) or the shell form, as Dockerfiles have both."""
    if not text.startswith("["):
        return text
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    return join_words(words)


def read_line(text: str) -> str:
    """A command that no shell reads there: several lines are one, and a shell in it is left out."""
    text = text.strip()
    if len(text) > LONGEST:
        return text
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    is_shell = words[:2] in SHELLS and len(words) == 3  # noqa: PLR2004 - as above
    return join_words(words) if is_shell or "\n" in text else text


def is_simple(command: str) -> bool:
    """Whether a command is a program and its arguments, which may take the shell's place."""
    return not SIGNS.search(command)


def find_port(text: str) -> int | None:
    """The TCP port of a text, the first of a range."""
    match = PORT.fullmatch(text.strip())
    port = int(match[1]) if match else 0
    return port if 1 <= port <= LARGEST_PORT else None


def find_told_port(command: str) -> int | None:
    """The port that a command is told to listen on, where that can be seen."""
    match = TOLD_PORT.search(command)
    return find_port(match[1]) if match else None


def use_port(command: str, port: int | None) -> str:
    """``command`` with ``$PORT`` in the place of the port that it is told to listen on."""
    if port is None or "'" in command:
        return command
    told = r"((?:^|\s)(?:--?(?:port|p|listen|bind|b|http-port|server\.port)[= ]|-p)|:)"
    return re.sub(rf"{told}{port}(?![\w.:/])", r"\1$PORT", command)


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


def read_times(found: Healthcheck, *checks: Stanza) -> Healthcheck:
    """A check with its interval and time-out, each of the first stanza that has one."""
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


def read_amount(
    stanza: Stanza, key: str, read: Callable[[str], str | None] = read_memory
) -> str | None:
    """An amount of memory, or what ``read`` reads; what is none is told."""
    node = stanza.take(key, Scalar)
    found = read(find_text(node))
    if node is not None and found is None:
        stanza.add_note(node, f"{key}: is no amount that a service can have")
    return found


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
