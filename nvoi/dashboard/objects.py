"""The records as JSON: the same names, times in Unix milliseconds. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from nvoi.dashboard.projects import ProjectSummary
from nvoi.dashboard.records import Attempt, StoredLine


def build_attempt(attempt: Attempt) -> dict[str, Any]:
    """An attempt."""
    tunnels = [tunnel._asdict() for tunnel in attempt.tunnels]
    return {**dataclasses.asdict(attempt), "tunnels": tunnels}


def build_line(line: StoredLine) -> dict[str, Any]:
    """A line."""
    return {
        "number": line.number,
        "place": line.place,
        "sequence": line.sequence,
        "level": line.level,
        "message": line.message,
        "logged_at": line.logged_at,
    }


def build_project(summary: ProjectSummary) -> dict[str, Any]:
    """A project and what it has sent. Its token is its senders' alone."""
    return {
        "name": summary.project.name,
        "created_at": summary.project.created_at,
        "deploys": summary.deploys,
        "attempts": summary.attempts,
        "last_seen_at": summary.last_seen_at,
    }


def encode(value: Any) -> bytes:
    """``value`` as compact JSON on one line, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def encode_lines(lines: Iterable[StoredLine]) -> bytes:
    """A list of lines."""
    return encode([build_line(line) for line in lines])
