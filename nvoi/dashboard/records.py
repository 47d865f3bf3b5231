"""What the dashboard is sent, what it keeps and what it shows, as frozen records.

Times are Unix milliseconds, UTC. A *place* orders the lines of an attempt for reading: it is a
line's sequence number where the sender gave one, else that of the line that came before it. A
*number* counts an attempt's lines from 1 in the order of their arrival; it never changes, so it
is what permalinks and resumed streams name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nvoi.protocol import Tunnel

#: What an attempt is shown as; ``lost`` is one that went silent without an end.
Status = Literal["running", "completed", "failed", "lost"]

#: The project of ``/api/deploys``, which needs no token.
DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Line:
    """A log line as it was sent."""

    level: str
    message: str
    logged_at: int


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A log line as it is kept."""

    number: int
    place: int
    sequence: int | None
    level: str
    message: str
    logged_at: int


@dataclass(frozen=True, slots=True)
class LogBatch:
    """The body of a ``logs`` request. ``first`` is None where the sender gave no numbers."""

    lines: tuple[Line, ...]
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The body of a ``started`` status; what the sender did not know is None."""

    git_sha: str | None = None
    git_ref: str | None = None
    ci_provider: str | None = None
    ci_run_url: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The body of a ``completed`` status, and the counts of its headers where it had them."""

    tunnels: tuple[Tunnel, ...]
    duration_seconds: int
    log_count: int | None = None
    log_dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The body of a ``failed`` status, and the counts of its headers where it had them."""

    error: str
    log_count: int | None = None
    log_dropped: int | None = None


#: What a request brings.
Body = LogBatch | Started | Completed | Failed


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified request.

    Args:
        project_id: whose key signed it.
        deploy_id: the id in its path.
        webhook_id: its Standard Webhooks id, None where it had no such headers.
        digest: SHA-256 of the raw body.
        received_at: when it was received.
        body: what it brings.
    """

    project_id: int
    deploy_id: str
    webhook_id: str | None
    digest: bytes
    received_at: int
    body: Body


@dataclass(frozen=True, slots=True)
class Receipt:
    """What storing a delivery did.

    ``attempt_id`` is the attempt it belongs to; None where there is nothing to store (a batch
    without lines for an id that is not known, which is how a sender tries a URL out).
    ``duplicate`` says that it was stored before.
    """

    attempt_id: int | None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """Who may send. ``token`` is part of its callback URL; the default project has none."""

    id: int
    name: str
    token: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers, both included, whose lines were never received."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a deploy: everything about it but its lines.

    ``number`` counts the attempts of the deploy id from 1. ``status`` takes silence into account.
    ``started_at`` and ``ended_at`` are when the dashboard first heard of it and of its end;
    ``last_seen_at`` is when it last heard anything. ``lines`` is how many are kept, so also the
    highest line number. ``superseded`` says that a newer attempt exists.
    """

    id: int
    project: str
    deploy_id: str
    number: int
    status: Status
    started_at: int
    last_seen_at: int
    ended_at: int | None
    duration_seconds: int | None
    git_sha: str | None
    git_ref: str | None
    ci_provider: str | None
    ci_run_url: str | None
    error: str | None
    tunnels: tuple[Tunnel, ...]
    lines: int
    counts: Mapping[str, int]
    log_count: int | None
    log_dropped: int | None
    gaps: tuple[Gap, ...]
    superseded: bool
