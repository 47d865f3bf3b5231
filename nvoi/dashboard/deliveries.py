"""Stores what was received: once, and with the attempt it belongs to."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence

from nvoi.dashboard.lines import TAIL, Tail, add_gap, add_lines
from nvoi.dashboard.records import Completed, Delivery, Failed, LogBatch, Receipt, Started

#: Bytes of SHA-256 by which a body or a webhook-id is known again.
DIGEST_BYTES = 16


def store_delivery(connection: sqlite3.Connection, delivery: Delivery) -> Receipt:
    """Store a verified request; a job of the :class:`~nvoi.dashboard.writer.Writer`.

    Args:
        connection: within a transaction.
        delivery: what was received. Its numbers are those of 64 bits, its text is valid Unicode.

    Raises:
        sqlite3.Error: it cannot be stored.
    """
    known = _find_known(connection, delivery)
    if known is not None:
        return Receipt(known, duplicate=True)
    body = delivery.body
    if isinstance(body, LogBatch):
        receipt = _store_lines(connection, delivery, body)
    elif isinstance(body, Started):
        receipt = Receipt(_store_start(connection, delivery, body))
    else:
        receipt = Receipt(_store_end(connection, delivery, body))
    if receipt.attempt_id is not None:
        _remember(connection, delivery, receipt.attempt_id)
    return receipt


# -- what was received before ---------------------------------------------------------------


def _find_known(connection: sqlite3.Connection, delivery: Delivery) -> int | None:
    """The attempt that this very request was stored with before."""
    if delivery.webhook_id is not None:
        row = connection.execute(
            "SELECT attempt_id FROM deliveries WHERE project_id = ? AND webhook = ?",
            (delivery.project_id, _shorten(delivery.webhook_id)),
        ).fetchone()
        return int(row[0]) if row else None
    row = connection.execute(
        "SELECT attempt_id, webhook IS NOT NULL FROM deliveries"
        " WHERE project_id = ? AND digest = ? ORDER BY webhook IS NULL, id DESC LIMIT 1",
        (delivery.project_id, delivery.digest[:DIGEST_BYTES]),
    ).fetchone()
    if row is None:
        return None
    attempt_id, had_webhook = row
    # A request that had its webhook headers and comes without them was captured and replayed.
    # Two runs may well begin or end in the same words, but no two log the same at the same time.
    if had_webhook or isinstance(delivery.body, LogBatch):
        return int(attempt_id)
    newest = _find_newest(connection, delivery)
    is_retry = newest and newest.id == attempt_id and not isinstance(delivery.body, Started)
    return int(attempt_id) if is_retry else None


def _remember(connection: sqlite3.Connection, delivery: Delivery, attempt_id: int) -> None:
    webhook = None if delivery.webhook_id is None else _shorten(delivery.webhook_id)
    connection.execute(
        "INSERT INTO deliveries (project_id, attempt_id, webhook, digest) VALUES (?, ?, ?, ?)",
        (delivery.project_id, attempt_id, webhook, delivery.digest[:DIGEST_BYTES]),
    )


def _shorten(webhook_id: str) -> bytes:
    return hashlib.sha256(webhook_id.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


# -- which attempt --------------------------------------------------------------------------


def _find_newest(connection: sqlite3.Connection, delivery: Delivery) -> Tail | None:
    row = connection.execute(
        f"SELECT {TAIL} FROM attempts WHERE project_id = ? AND deploy_id = ?"  # noqa: S608 - constants
        " ORDER BY number DESC LIMIT 1",
        (delivery.project_id, delivery.deploy_id),
    ).fetchone()
    return Tail(*row) if row else None


def _add_attempt(connection: sqlite3.Connection, delivery: Delivery, number: int) -> Tail:
    cursor = connection.execute(
        "INSERT INTO attempts (project_id, deploy_id, number, started_at, last_seen_at)"
        " VALUES (:project_id, :deploy_id, :number, :now, :now)",
        {
            "project_id": delivery.project_id,
            "deploy_id": delivery.deploy_id,
            "number": number,
            "now": delivery.received_at,
        },
    )
    return Tail(cursor.lastrowid or 0, number, 0, 0, 0, None)


def _ensure_attempt(connection: sqlite3.Connection, delivery: Delivery) -> Tail:
    return _find_newest(connection, delivery) or _add_attempt(connection, delivery, 1)


# -- lines ----------------------------------------------------------------------------------


def _store_lines(connection: sqlite3.Connection, delivery: Delivery, batch: LogBatch) -> Receipt:
    newest = _find_newest(connection, delivery)
    if newest is None:
        if not batch.lines:
            return Receipt(None)
        newest = _add_attempt(connection, delivery, 1)
    tail = _find_earlier(connection, delivery, batch, newest) or newest
    added = add_lines(connection, tail, batch, delivery.received_at)
    return Receipt(tail.id, duplicate=bool(batch.lines) and not added)


def _find_earlier(
    connection: sqlite3.Connection, delivery: Delivery, batch: LogBatch, newest: Tail
) -> Tail | None:
    """The earlier attempt that misses just these lines, which were logged before the newest."""
    if batch.first is None or not batch.lines or newest.number == 1:
        return None
    logged_at = batch.lines[0].logged_at
    if newest.first_logged_at is not None and logged_at >= newest.first_logged_at:
        return None
    key = (delivery.project_id, delivery.deploy_id, newest.number, batch.first)
    row = connection.execute(
        f"SELECT {TAIL}, gaps.last FROM attempts JOIN gaps ON gaps.attempt_id = attempts.id"  # noqa: S608 - constants
        " WHERE project_id = ? AND deploy_id = ? AND number < ?"
        " AND ? BETWEEN gaps.first AND gaps.last ORDER BY number DESC LIMIT 1",
        key,
    ).fetchone()
    if row is None:
        return _find_broken_off(connection, key, newest)
    *columns, gap_last = row
    tail = Tail(*columns)
    if newest.first_logged_at is None and not _is_before(connection, tail.id, gap_last, logged_at):
        return None
    return tail


def _find_broken_off(
    connection: sqlite3.Connection, key: tuple[int, str, int, int], newest: Tail
) -> Tail | None:
    """The earlier attempt without an end whose lines break off before these: they are its rest.

    It comes so late where ``nvoi resend`` sends it once the next run has begun.
    """
    row = connection.execute(
        f"SELECT {TAIL} FROM attempts WHERE project_id = ? AND deploy_id = ? AND number < ?"  # noqa: S608 - constants
        " AND outcome IS NULL AND last_sequence BETWEEN 1 AND ? - 1 ORDER BY number DESC LIMIT 1",
        key,
    ).fetchone()
    tail = Tail(*row) if row else None
    if tail and newest.first_logged_at is None and key[-1] != tail.last_sequence + 1:
        # Nothing tells when the newest began; its own first lines would have lower numbers.
        return None
    return tail


def _is_before(connection: sqlite3.Connection, attempt_id: int, place: int, logged_at: int) -> bool:
    """Whether the attempt has a line after ``place`` that was logged after ``logged_at``."""
    row = connection.execute(
        "SELECT logged_at FROM lines WHERE attempt_id = ? AND place > ? ORDER BY place LIMIT 1",
        (attempt_id, place),
    ).fetchone()
    return row is not None and logged_at <= row[0]


# -- states ---------------------------------------------------------------------------------


def _store_start(connection: sqlite3.Connection, delivery: Delivery, body: Started) -> int:
    tail = _ensure_attempt(connection, delivery)
    had_start, outcome = connection.execute(
        "SELECT has_started, outcome FROM attempts WHERE id = ?", (tail.id,)
    ).fetchone()
    if had_start and (outcome or tail.lines):
        tail = _add_attempt(connection, delivery, tail.number + 1)
    connection.execute(
        "UPDATE attempts SET has_started = 1, last_seen_at = max(last_seen_at, ?),"
        " git_sha = coalesce(?, git_sha), git_ref = coalesce(?, git_ref),"
        " ci_provider = coalesce(?, ci_provider), ci_run_url = coalesce(?, ci_run_url)"
        " WHERE id = ?",
        (
            delivery.received_at,
            body.git_sha,
            body.git_ref,
            body.ci_provider,
            body.ci_run_url,
            tail.id,
        ),
    )
    return tail.id


def _store_end(connection: sqlite3.Connection, delivery: Delivery, body: Completed | Failed) -> int:
    newest = _ensure_attempt(connection, delivery)
    rows = connection.execute(
        f"SELECT {TAIL} FROM attempts WHERE project_id = ? AND deploy_id = ? AND outcome IS NULL"  # noqa: S608 - constants
        " ORDER BY number DESC",
        (delivery.project_id, delivery.deploy_id),
    ).fetchall()
    if not rows:
        return newest.id
    tail = _choose_ended([Tail(*row) for row in rows], body.log_count)
    completed = body if isinstance(body, Completed) else None
    last_sequence = _note_missing(connection, tail, body.log_count)
    connection.execute(
        "UPDATE attempts SET outcome = ?, ended_at = ?, last_seen_at = max(last_seen_at, ?),"
        " duration_seconds = ?, tunnels = ?, error = ?, log_count = ?, log_dropped = ?,"
        " last_sequence = ? WHERE id = ?",
        (
            "completed" if completed else "failed",
            delivery.received_at,
            delivery.received_at,
            completed.duration_seconds if completed else None,
            json.dumps(completed.tunnels if completed else []),
            body.error if isinstance(body, Failed) else None,
            body.log_count,
            body.log_dropped,
            last_sequence,
            tail.id,
        ),
    )
    return tail.id


def _choose_ended(running: Sequence[Tail], log_count: int | None) -> Tail:
    """Of the attempts that have not ended, the newest first, the one that an end belongs to."""
    fitting = [tail for tail in running if tail.last_sequence == log_count]
    return fitting[0] if len(fitting) == 1 else running[0]


def _note_missing(connection: sqlite3.Connection, tail: Tail, log_count: int | None) -> int:
    """Note the lines at the end that never came; gives the highest sequence number."""
    # A sender that gives its lines no numbers counts them all the same.
    is_numbered = tail.last_sequence > 0 or tail.lines == 0
    if log_count is None or log_count <= tail.last_sequence or not is_numbered:
        return tail.last_sequence
    add_gap(connection, tail.id, tail.last_sequence + 1, log_count)
    return log_count
