"""Adds log lines to an attempt: their numbers, their places, and the gaps between them.

What lies within a gap fills it; what lies above the highest sequence number leaves a gap where
numbers are skipped. Of what is there already the same is not stored again, and something else is
stored without a sequence number: nothing is ever lost.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nvoi.dashboard.records import Line, LogBatch
from nvoi.protocol import LEVELS


@dataclass(frozen=True, slots=True)
class Tail:
    """An attempt as far as it decides where lines go. ``last_sequence`` is 0 before the first."""

    id: int
    number: int
    lines: int
    last_place: int
    last_sequence: int
    first_logged_at: int | None


#: The columns of a :class:`Tail`, in its order.
TAIL = "id, number, lines, last_place, last_sequence, first_logged_at"

#: A line's place and sequence number, and the line.
_Placed = tuple[int, int | None, Line]


def add_lines(connection: sqlite3.Connection, tail: Tail, batch: LogBatch, now: int) -> int:
    """Add the lines of a batch that are not there yet; gives how many these are.

    Args:
        connection: within a transaction.
        tail: the attempt as it is now.
        batch: the lines, perhaps none.
        now: when they were received, in Unix milliseconds.
    """
    placed = _place(connection, tail, batch)
    _insert(connection, tail, placed)
    last = 0
    if batch.first is not None and batch.lines:
        last = batch.first + len(batch.lines) - 1
        _note_gaps(connection, tail, batch.first, last)
    _update_attempt(connection, tail, placed, last, now)
    return len(placed)


def add_gap(connection: sqlite3.Connection, attempt_id: int, first: int, last: int) -> None:
    """Note that the lines ``first`` to ``last`` are missing."""
    connection.execute(
        "INSERT INTO gaps (attempt_id, first, last) VALUES (?, ?, ?)", (attempt_id, first, last)
    )


def _place(connection: sqlite3.Connection, tail: Tail, batch: LogBatch) -> list[_Placed]:
    """The lines to store, in the order of the batch."""
    if batch.first is None:
        return [(tail.last_place, None, line) for line in batch.lines]
    numbered = list(enumerate(batch.lines, batch.first))
    there: dict[int, tuple[str, int]] = {}
    if numbered and batch.first <= tail.last_sequence:
        there = _read_sequences(connection, tail.id, batch.first, numbered[-1][0])
    return [
        (sequence, None if sequence in there else sequence, line)
        for sequence, line in numbered
        if there.get(sequence) != (line.message, line.logged_at)
    ]


def _read_sequences(
    connection: sqlite3.Connection, attempt_id: int, first: int, last: int
) -> dict[int, tuple[str, int]]:
    rows = connection.execute(
        "SELECT sequence, message, logged_at FROM lines"
        " WHERE attempt_id = ? AND place BETWEEN ? AND ? AND sequence IS NOT NULL",
        (attempt_id, first, last),
    )
    return {sequence: (message, logged_at) for sequence, message, logged_at in rows}


def _note_gaps(connection: sqlite3.Connection, tail: Tail, first: int, last: int) -> None:
    if first > tail.last_sequence + 1:
        add_gap(connection, tail.id, tail.last_sequence + 1, first - 1)
    elif first <= tail.last_sequence:
        _fill_gaps(connection, tail.id, first, last)


def _fill_gaps(connection: sqlite3.Connection, attempt_id: int, first: int, last: int) -> None:
    gaps = connection.execute(
        # Gaps do not overlap: of those that begin before `first`, only the last can reach it.
        "SELECT first, last FROM gaps WHERE attempt_id = :id AND last >= :first AND first <= :last"
        " AND first >= coalesce("
        "(SELECT max(first) FROM gaps WHERE attempt_id = :id AND first <= :first), :first)",
        {"id": attempt_id, "first": first, "last": last},
    ).fetchall()
    for gap_first, gap_last in gaps:
        connection.execute(
            "DELETE FROM gaps WHERE attempt_id = ? AND first = ?", (attempt_id, gap_first)
        )
        if gap_first < first:
            add_gap(connection, attempt_id, gap_first, first - 1)
        if gap_last > last:
            add_gap(connection, attempt_id, last + 1, gap_last)


# A statement for many rows at once: between two of them another thread may take the interpreter,
# and the writer would wait for it. 100 rows have 700 of the 999 values that any SQLite takes.
_GROUPS = (100, 20, 5, 1)
_COLUMNS = "attempt_id, number, place, sequence, level, message, logged_at"
_INSERTS = {
    size: f"INSERT INTO lines ({_COLUMNS}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * size)}"  # noqa: S608 - constants
    for size in _GROUPS
}


def _insert(connection: sqlite3.Connection, tail: Tail, placed: Sequence[_Placed]) -> None:
    begin = 0
    for size in _split(len(placed)):
        values: list[object] = []
        for index in range(begin, begin + size):
            place, sequence, line = placed[index]
            number = tail.lines + index + 1
            values += (tail.id, number, place, sequence, line.level, line.message, line.logged_at)
        connection.execute(_INSERTS[size], values)
        begin += size


def _split(count: int) -> Iterator[int]:
    for size in _GROUPS:
        while count >= size:
            yield size
            count -= size


_COUNTS = ", ".join(f"{level}_count = {level}_count + ?" for level in LEVELS)
_UPDATE = (
    "UPDATE attempts SET lines = lines + ?, last_place = ?, last_sequence = max(last_sequence, ?),"  # noqa: S608 - constants
    f" first_logged_at = ?, last_seen_at = max(last_seen_at, ?), {_COUNTS} WHERE id = ?"
)


def _update_attempt(
    connection: sqlite3.Connection, tail: Tail, placed: Sequence[_Placed], last: int, now: int
) -> None:
    counts = Counter(line.level for _, _, line in placed)
    values = (
        len(placed),
        placed[-1][0] if placed else tail.last_place,
        last,
        _find_earliest(tail.first_logged_at, (line.logged_at for _, _, line in placed)),
        now,
        *(counts[level] for level in LEVELS),
        tail.id,
    )
    connection.execute(_UPDATE, values)


def _find_earliest(known: int | None, times: Iterable[int]) -> int | None:
    earliest = min(times, default=None)
    if known is None or earliest is None:
        return earliest if known is None else known
    return min(known, earliest)
