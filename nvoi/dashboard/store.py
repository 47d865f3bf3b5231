"""Stores what was received: once, with the attempt it belongs to, its lines in their places.

Requests with the same ``X-Nvoi-Run-Id`` are of one attempt; those without it are of the attempt
that the last ``started`` without it began. Such an end that counts other lines than an attempt
has is not that attempt's: it may come late, when the next has begun.

Lines within a gap fill it; those above the highest sequence number leave a gap where numbers are
skipped. Of what is there already the same is not stored again, and something else is stored
without a sequence number: nothing is ever lost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from nvoi.dashboard.deliveries import About, Delivery, Line, LogBatch
from nvoi.protocol import STARTED_KEYS, CompletedBody, FailedBody, StartedBody

#: Bytes of SHA-256 by which a body or a webhook-id is known again.
DIGEST_BYTES = 16


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
class Tail:
    """An attempt as far as it decides where lines go. ``last_sequence`` is 0 before the first."""

    id: int
    lines: int
    last_place: int
    last_sequence: int


#: The columns of a :class:`Tail`, in its order.
_TAIL = "id, lines, last_place, last_sequence"

#: A line's place and sequence number, and the line.
_Placed = tuple[int, int | None, Line]


def store_delivery(sql: Connection, delivery: Delivery) -> Receipt:
    known = _find_known(sql, delivery)
    if known is not None:
        return Receipt(known, duplicate=True)
    body = delivery.body
    if isinstance(body, LogBatch):
        receipt = _store_lines(sql, delivery, body.lines)
    elif body["status"] == "started":
        receipt = Receipt(_store_start(sql, delivery, body))
    else:
        receipt = Receipt(_store_end(sql, delivery, body))
    if receipt.attempt_id is not None:
        _remember(sql, delivery, receipt.attempt_id)
    return receipt


# -- what was received before ---------------------------------------------------------------


def _find_known(sql: Connection, delivery: Delivery) -> int | None:
    if delivery.webhook_id is not None:
        row = sql.execute(
            "SELECT attempt_id FROM deliveries WHERE project_id = ? AND webhook = ?",
            (delivery.project_id, _shorten(delivery.webhook_id)),
        ).fetchone()
        return int(row[0]) if row else None
    row = sql.execute(
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
    own = _find_attempt(sql, delivery)
    may_repeat = delivery.about.run_id is not None or delivery.body["status"] != "started"
    return int(attempt_id) if may_repeat and own and own.id == attempt_id else None


def _remember(sql: Connection, delivery: Delivery, attempt_id: int) -> None:
    webhook = None if delivery.webhook_id is None else _shorten(delivery.webhook_id)
    sql.execute(
        "INSERT INTO deliveries (project_id, attempt_id, webhook, digest) VALUES (?, ?, ?, ?)",
        (delivery.project_id, attempt_id, webhook, delivery.digest[:DIGEST_BYTES]),
    )


def _shorten(webhook_id: str) -> bytes:
    return hashlib.sha256(webhook_id.encode()).digest()[:DIGEST_BYTES]


# -- which attempt --------------------------------------------------------------------------


_OF_DEPLOY = (
    f"SELECT {_TAIL} FROM attempts WHERE project_id = :project_id AND deploy_id = :deploy_id"  # noqa: S608 - constants
)
_OF_RUN = f"{_OF_DEPLOY} AND run_id = :run_id"
#: Without a run's id: the newest that has none either; else the newest of all.
_OF_NO_RUN = f"{_OF_DEPLOY} ORDER BY run_id IS NOT NULL, number DESC LIMIT 1"
_NEWEST = f"{_OF_DEPLOY} ORDER BY number DESC LIMIT 1"


def _find_attempt(sql: Connection, delivery: Delivery) -> Tail | None:
    """The attempt of the request's run; where its sender names no run, the one it may be of."""
    return _find(sql, delivery, _OF_NO_RUN if delivery.about.run_id is None else _OF_RUN)


def _find(sql: Connection, delivery: Delivery, query: str) -> Tail | None:
    row = sql.execute(query, _name_values(delivery)).fetchone()
    return Tail(*row) if row else None


def _add_attempt(sql: Connection, delivery: Delivery) -> Tail:
    cursor = sql.execute(
        "INSERT INTO attempts"
        " (project_id, deploy_id, run_id, app, command, started_at, last_seen_at, number)"
        " SELECT :project_id, :deploy_id, :run_id, :app, :command, :received_at, :received_at,"
        " coalesce(max(number), 0) + 1"
        " FROM attempts WHERE project_id = :project_id AND deploy_id = :deploy_id",
        _name_values(delivery),
    )
    return Tail(cursor.lastrowid or 0, lines=0, last_place=0, last_sequence=0)


def _name_values(delivery: Delivery) -> dict[str, object]:
    """What a request says beside its body, by the names of its fields."""
    return {
        "project_id": delivery.project_id,
        "deploy_id": delivery.deploy_id,
        "received_at": delivery.received_at,
        **dataclasses.asdict(delivery.about),
    }


# -- states ---------------------------------------------------------------------------------


def _store_start(sql: Connection, delivery: Delivery, body: StartedBody) -> int:
    tail = _find_attempt(sql, delivery) or _add_attempt(sql, delivery)
    if delivery.about.run_id is None:
        had_start, outcome, run_id = sql.execute(
            "SELECT has_started, outcome, run_id FROM attempts WHERE id = ?", (tail.id,)
        ).fetchone()
        is_newest = _find(sql, delivery, _NEWEST) == tail
        if run_id or not is_newest or (had_start and (outcome or tail.lines)):
            tail = _add_attempt(sql, delivery)
    unknown: dict[str, object] = dict.fromkeys(STARTED_KEYS)
    sql.execute(
        "UPDATE attempts SET has_started = 1, last_seen_at = max(last_seen_at, :received_at),"
        " git_sha = coalesce(:git_sha, git_sha), git_ref = coalesce(:git_ref, git_ref),"
        " ci_provider = coalesce(:ci_provider, ci_provider),"
        " ci_run_url = coalesce(:ci_run_url, ci_run_url) WHERE id = :id",
        {**unknown, **body, "received_at": delivery.received_at, "id": tail.id},
    )
    _store_about(sql, tail, delivery)
    return tail.id


def _store_end(sql: Connection, delivery: Delivery, body: CompletedBody | FailedBody) -> int:
    tail = _find_ended(sql, delivery)
    if tail is None:
        return _note_end(sql, delivery, body)
    has_ended = "SELECT outcome IS NOT NULL FROM attempts WHERE id = ?"
    if sql.execute(has_ended, (tail.id,)).fetchone()[0]:
        return tail.id
    completed = body if body["status"] == "completed" else None
    tunnels = completed["tunnels"] if completed else ()
    sql.execute(
        "UPDATE attempts SET outcome = :outcome, ended_at = :received_at,"
        " last_seen_at = max(last_seen_at, :received_at), duration_seconds = :duration_seconds,"
        " tunnels = :tunnels, error = :error, log_count = :count, log_dropped = :dropped,"
        " last_sequence = :last_sequence WHERE id = :id",
        {
            **_name_values(delivery),
            "outcome": body["status"],
            "duration_seconds": completed["duration_seconds"] if completed else None,
            "tunnels": json.dumps([(each["service_name"], each["hostname"]) for each in tunnels]),
            "error": body["error"] if body["status"] == "failed" else None,
            "last_sequence": _note_missing(sql, tail, delivery.about.count),
            "id": tail.id,
        },
    )
    _store_about(sql, tail, delivery)
    return tail.id


def _store_about(sql: Connection, tail: Tail, delivery: Delivery) -> None:
    """Keep what is said of a run; what is not said stays as it is."""
    sql.execute(
        "UPDATE attempts SET app = coalesce(:app, app), command = coalesce(:command, command),"
        " commit_title = coalesce(:commit_title, commit_title),"
        " commit_author = coalesce(:commit_author, commit_author),"
        " dirty = max(:dirty, dirty), reason = coalesce(:reason, reason) WHERE id = :id",
        {**_name_values(delivery), "id": tail.id},
    )


def _find_ended(sql: Connection, delivery: Delivery) -> Tail | None:
    """The attempt that an end is of, a new one where the deploy is not known; None for no other.

    One that goes on comes before one that has ended, a newer one before an older one.
    """
    newest = _find(sql, delivery, _NEWEST)
    if newest is None or delivery.about.run_id is not None:
        return _find_attempt(sql, delivery) or _add_attempt(sql, delivery)
    rows = sql.execute(
        f"SELECT {_TAIL}, (SELECT total(last - first + 1) FROM gaps WHERE attempt_id = id)"  # noqa: S608 - constants
        " FROM attempts WHERE project_id = ? AND deploy_id = ? AND run_id IS NULL"
        " ORDER BY outcome IS NOT NULL, number DESC",
        (delivery.project_id, delivery.deploy_id),
    )
    attempts = [(Tail(*row), int(missing)) for *row, missing in rows]
    if delivery.about.count is None:
        # Nothing tells its sender's runs apart but that it began one after the other.
        return max((tail for tail, _ in attempts), key=lambda tail: tail.id, default=None)
    return next((tail for tail, gone in attempts if _fits(tail, gone, delivery.about)), None)


def _fits(tail: Tail, missing: int, about: About) -> bool:
    """Whether an attempt has what its end counts: all lines but those that were given up."""
    count = about.count or 0
    least = 0 if about.dropped is None else count - about.dropped
    if not tail.last_sequence:
        # Lines of the run's children have no numbers, and are not counted.
        return tail.lines >= least
    return tail.last_sequence <= count and tail.last_sequence - missing >= least


def _note_end(sql: Connection, delivery: Delivery, body: CompletedBody | FailedBody) -> int:
    """Keep the end of a run that is not known as a line of the newest; that one goes on."""
    tail = _find(sql, delivery, _NEWEST) or _add_attempt(sql, delivery)
    how = f"failed: {body['error']}" if body["status"] == "failed" else "completed"
    text = f"An end came that belongs to none of this deploy's runs, so it ended none: {how}"
    placed = [(tail.last_place, None, Line("warning", text, delivery.received_at))]
    _insert(sql, tail, placed)
    # It is no sign of life of this run.
    _update_attempt(sql, tail, placed, 0, 0)
    return tail.id


def _note_missing(sql: Connection, tail: Tail, log_count: int | None) -> int:
    """Note the lines at the end that never came; gives the highest sequence number."""
    # A sender that gives its lines no numbers counts them all the same.
    is_numbered = tail.last_sequence > 0 or tail.lines == 0
    if log_count is None or log_count <= tail.last_sequence or not is_numbered:
        return tail.last_sequence
    _add_gap(sql, tail.id, tail.last_sequence + 1, log_count)
    return log_count


# -- lines ----------------------------------------------------------------------------------


def _store_lines(sql: Connection, delivery: Delivery, lines: Sequence[Line]) -> Receipt:
    tail = _find_attempt(sql, delivery)
    if tail is None and not lines:
        return Receipt(None)
    tail = tail or _add_attempt(sql, delivery)
    first, last = delivery.about.first, 0
    placed = _place(sql, tail, lines, first)
    _insert(sql, tail, placed)
    if first is not None and lines:
        last = first + len(lines) - 1
        _note_gaps(sql, tail, first, last)
    _update_attempt(sql, tail, placed, last, delivery.received_at)
    return Receipt(tail.id, duplicate=bool(lines) and not placed)


def _add_gap(sql: Connection, attempt_id: int, first: int, last: int) -> None:
    sql.execute(
        "INSERT INTO gaps (attempt_id, first, last) VALUES (?, ?, ?)", (attempt_id, first, last)
    )


def _place(sql: Connection, tail: Tail, lines: Sequence[Line], first: int | None) -> list[_Placed]:
    if first is None:
        return [(tail.last_place, None, line) for line in lines]
    there: dict[int, tuple[str, int]] = {}
    if lines and first <= tail.last_sequence:
        rows = sql.execute(
            "SELECT sequence, message, logged_at FROM lines"
            " WHERE attempt_id = ? AND place BETWEEN ? AND ? AND sequence IS NOT NULL",
            (tail.id, first, first + len(lines) - 1),
        )
        there = {sequence: (message, logged_at) for sequence, message, logged_at in rows}
    return [
        (sequence, None if sequence in there else sequence, line)
        for sequence, line in enumerate(lines, first)
        if there.get(sequence) != (line.message, line.logged_at)
    ]


def _note_gaps(sql: Connection, tail: Tail, first: int, last: int) -> None:
    if first > tail.last_sequence + 1:
        _add_gap(sql, tail.id, tail.last_sequence + 1, first - 1)
    elif first <= tail.last_sequence:
        _fill_gaps(sql, tail.id, first, last)


def _fill_gaps(sql: Connection, attempt_id: int, first: int, last: int) -> None:
    gaps = sql.execute(
        "SELECT first, last FROM gaps WHERE attempt_id = ? AND last >= ? AND first <= ?",
        (attempt_id, first, last),
    ).fetchall()
    for gap_first, gap_last in gaps:
        sql.execute("DELETE FROM gaps WHERE attempt_id = ? AND first = ?", (attempt_id, gap_first))
        if gap_first < first:
            _add_gap(sql, attempt_id, gap_first, first - 1)
        if gap_last > last:
            _add_gap(sql, attempt_id, last + 1, gap_last)


# A statement for many rows at once: between two of them another thread may take the interpreter,
# and the writer would wait for it. A sender's full request is 500 lines; the statements of fewer
# are of few sizes, so that SQLite has them prepared, and have 700 of the 999 values that it takes
# before 3.32: https://www.sqlite.org/limits.html
_MANY_ROWS, _FEW_ROWS = 500, 100
_COLUMNS = "attempt_id, number, place, sequence, level, message, logged_at"


def _insert(sql: Connection, tail: Tail, placed: Sequence[_Placed]) -> None:
    allowed = sql.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    takes_many = len(placed) >= _MANY_ROWS and allowed >= 7 * _MANY_ROWS
    most = _MANY_ROWS if takes_many else _FEW_ROWS
    for begin in range(0, len(placed), most):
        part = placed[begin : begin + most]
        values: list[object] = []
        for number, (place, sequence, line) in enumerate(part, tail.lines + begin + 1):
            values += (tail.id, number, place, sequence, line.level, line.message, line.logged_at)
        rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(part))
        sql.execute(f"INSERT INTO lines ({_COLUMNS}) VALUES {rows}", values)  # noqa: S608 - constants


_UPDATE = (
    "UPDATE attempts SET lines = lines + ?, last_place = ?, last_sequence = max(last_sequence, ?),"
    " late = late + ?,"
    " first_logged_at = coalesce(min(first_logged_at, ?), first_logged_at, ?),"
    " last_logged_at = coalesce(max(last_logged_at, ?), last_logged_at, ?),"
    " last_seen_at = max(last_seen_at, ?) WHERE id = ?"
)


def _update_attempt(
    sql: Connection, tail: Tail, placed: Sequence[_Placed], last: int, now: int
) -> None:
    last_place = placed[-1][0] if placed else tail.last_place
    is_late = bool(placed) and placed[0][0] < max(tail.last_place, tail.last_sequence)
    times = [line.logged_at for _, _, line in placed]
    first_at, last_at = min(times, default=None), max(times, default=None)
    logged = (is_late, first_at, first_at, last_at, last_at)
    sql.execute(_UPDATE, (len(placed), last_place, last, *logged, now, tail.id))
