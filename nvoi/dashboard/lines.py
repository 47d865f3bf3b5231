"""The lines of an attempt: some of them, its steps and what is of note, and all as text.

A *number* counts the lines from 1 in the order of their arrival; it never changes, so it is what
permalinks and resumed streams name. A *place* orders them for reading: it is a line's sequence
number where the sender gave one, else that of the line that came before it. A *position* counts
them from 1 in that order. As long as no line came between others (``Attempt.late`` is 0) it is the
line's number, and a log of a million lines is opened anywhere at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from msgspec import Struct

from nvoi.dashboard.formats import clean_text, format_iso
from nvoi.dashboard.queries import Attempt, Gap

#: Characters of lines that are in memory at one time, but for those of the last line: one may
#: have a megabyte, and an answer thousands of them.
MOST_CHARACTERS = 8 << 20
#: Characters of a step's name that its heading has; the rest is a line of its own.
LONGEST_NAME = 300
#: Positions of errors and of what is found, at most: more are not gone through one by one.
MOST_ERRORS, MOST_MATCHES = 10_000, 10_000

#: As the index ``lines_of_note`` has it; SQLite uses it where the query says the same.
_OF_NOTE = "level IN ('step', 'warning', 'error')"
_COLUMNS = "number, place, sequence, level, message, logged_at"
#: Lines from the end of the last step to the end of the log, at most.
_MOST_CLOSING = 30_000

#: What ends a step: ``Build: 1.2 s`` or ``Build: failed after 2 min 05 s`` of the step ``Build``.
_STEP_TIME = re.compile(r": (failed after )?[0-9][0-9a-z. ]*", re.ASCII)
#: What begins the end of a run: its times, its URLs, or what was done.
_SUMMARY = re.compile(r"Where the time went:\Z|Running at https?://|\w+ of .+ done(:| in) ")
#: The C1 controls of ECMA-48: U+009B alone is to a terminal what ESC [ is. A browser ignores them.
_C1 = re.compile("[\x80-\x9f]")


@dataclass(frozen=True, slots=True)
class StoredLine:
    number: int
    place: int
    sequence: int | None
    level: str
    message: str
    logged_at: int


class StepLine(Struct, array_like=True):
    """A step's line, and what of note follows it. ``began`` is in Unix milliseconds.

    In JSON it is an array of these: there may be many thousands.
    """

    position: int
    number: int
    began: int
    name: str
    errors: int = 0
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class MissingLines:
    """Lines that never came: their sequence numbers, and the position that they would follow."""

    after: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Outline:
    """Where what is in a log of ``lines`` lines.

    ``place`` is that of the last line: what comes before it comes late. ``steps`` are in order,
    and ``errors`` the positions of the first errors. ``closing`` is the
    position of the first line after the end of the last step, which ``ended`` at that time; None
    where it has not ended. ``closing_warnings`` come from there on.
    """

    attempt: int
    lines: int
    late: int
    began: int | None
    latest: int | None
    place: int
    steps: list[StepLine]
    errors: list[int]
    gaps: list[MissingLines]
    closing: int | None
    closing_warnings: int
    ended: int | None


def read_outline(sql: Connection, attempt: Attempt) -> Outline:
    steps: list[StepLine] = []
    errors: list[int] = []
    for position, number, level, began, name in _read_of_note(sql, attempt):
        if level == "step":
            steps.append(StepLine(position, number, began, clean_text(name)))
        elif steps:
            steps[-1].errors += level == "error"
            steps[-1].warnings += level == "warning"
        if level == "error" and len(errors) < MOST_ERRORS:
            errors.append(position)
    end = _find_end(sql, attempt, steps[-1]) if steps else None
    # What is said of the whole run is none of the last step's.
    after = _count_of_note(sql, attempt, end[0]) if end else {}
    if after:
        steps[-1].errors -= after.get("error", 0)
        steps[-1].warnings -= after.get("warning", 0)
    first, last = (read_positions(sql, attempt, at, 1) for at in (1, max(1, attempt.lines)))
    return Outline(
        attempt.number,
        attempt.lines,
        attempt.late,
        first[0].logged_at if first else None,
        last[0].logged_at if last else None,
        last[0].place if last else 0,
        steps,
        errors,
        [
            MissingLines(_count_before(sql, attempt, gap.first), gap.first, gap.last)
            for gap in attempt.gaps
        ],
        end[0] if end else None,
        after.get("warning", 0),
        end[1] if end else None,
    )


def read_lines(sql: Connection, attempt_id: int, after: int, limit: int) -> list[StoredLine]:
    """An attempt's lines in the order of their arrival, those after the number ``after``.

    There are ``limit`` at most; fewer, but one at least, where they are very long.
    """
    rows = sql.execute(
        f"SELECT {_COLUMNS} FROM lines"  # noqa: S608 - constants
        " WHERE attempt_id = ? AND number > ? ORDER BY number LIMIT ?",
        (attempt_id, after, limit),
    )
    return take_lines(rows)


def read_places(
    sql: Connection, attempt_id: int, after: StoredLine | None, limit: int
) -> list[StoredLine]:
    """As :func:`read_lines`, in the order of reading: by place, then by number."""
    rows = sql.execute(
        f"SELECT {_COLUMNS} FROM lines"  # noqa: S608 - constants
        " WHERE attempt_id = ? AND (place, number) > (?, ?) ORDER BY place, number LIMIT ?",
        (attempt_id, after.place if after else -1, after.number if after else 0, limit),
    )
    return take_lines(rows)


def take_lines(rows: Iterable[tuple[Any, ...]]) -> list[StoredLine]:
    lines: list[StoredLine] = []
    size = 0
    for row in rows:
        lines.append(StoredLine(*row))
        size += len(lines[-1].message)
        if size >= MOST_CHARACTERS:
            break
    return lines


def read_positions(sql: Connection, attempt: Attempt, first: int, limit: int) -> list[StoredLine]:
    """The lines from the position ``first`` on; fewer than ``limit`` where they are very long."""
    if not attempt.late:
        return read_lines(sql, attempt.id, first - 1, limit)
    rows = sql.execute(
        f"SELECT {_COLUMNS} FROM lines WHERE attempt_id = ?"  # noqa: S608 - constants
        " ORDER BY place, number LIMIT ? OFFSET ?",
        (attempt.id, limit, first - 1),
    )
    return take_lines(rows)


def find_position(sql: Connection, attempt: Attempt, number: int) -> int | None:
    """The position of the line with that number; None where there is none."""
    row = sql.execute(
        "SELECT place FROM lines WHERE attempt_id = ? AND number = ?", (attempt.id, number)
    ).fetchone()
    if row is None or not attempt.late:
        return number if row else None
    before = sql.execute(
        "SELECT count(*) FROM lines WHERE attempt_id = ? AND (place, number) < (?, ?)",
        (attempt.id, row[0], number),
    ).fetchone()
    return int(before[0]) + 1


def find_matches(
    sql: Connection, attempt: Attempt, text: str, levels: tuple[str, ...]
) -> list[int]:
    """Positions of the lines of ``levels`` whose text contains ``text``, whatever the case.

    There are :data:`MOST_MATCHES` and one more at most.
    """
    sql.create_function("shows", 2, _shows, deterministic=True)
    conditions: list[str] = []
    values: list[str] = []
    if set(levels) <= {"step", "warning", "error"}:
        conditions.append(_OF_NOTE)
    conditions.append(f"level IN ({', '.join('?' * len(levels))})")
    values += levels
    if text:
        # LIKE is quick, but it knows no case but that of ASCII, and no colours within a text.
        quick = "message LIKE ? ESCAPE '\\' OR instr(message, char(27)) AND"
        escaped = re.sub(r"([%_\\])", r"\\\1", text)
        conditions.append(f"({quick if text.isascii() else ''} shows(message, ?))")
        values += [f"%{escaped}%"] if text.isascii() else []
        values.append(text)
    source, order = _order(attempt)
    rows = sql.execute(
        f"SELECT position FROM ({source}) WHERE {' AND '.join(conditions)}"  # noqa: S608 - constants
        f" ORDER BY {order} LIMIT {MOST_MATCHES + 1}",
        (attempt.id, *values),
    )
    return [row[0] for row in rows]


def is_match(line: StoredLine, text: str, levels: tuple[str, ...]) -> bool:
    """As :func:`find_matches` has it."""
    return line.level in levels and _shows(line.message, text)


def _shows(message: str, text: str) -> bool:
    return text.casefold() in clean_text(message).casefold()


def _order(attempt: Attempt) -> tuple[str, str]:
    """An attempt's lines, each with its position; and what orders them."""
    if not attempt.late:
        return "SELECT *, number AS position FROM lines WHERE attempt_id = ?", "number"
    window = "row_number() OVER (ORDER BY place, number)"
    return f"SELECT *, {window} AS position FROM lines WHERE attempt_id = ?", "position"  # noqa: S608 - constants


def _read_of_note(sql: Connection, attempt: Attempt) -> Iterator[Any]:
    source, _ = _order(attempt)
    # The index alone gives all but what is said of steps; with a limit it is read by itself.
    return sql.execute(
        "SELECT note.position, note.number, note.level, lines.logged_at,"  # noqa: S608 - constants
        f" substr(lines.message, 1, {LONGEST_NAME + 1})"
        f" FROM (SELECT position, number, level FROM ({source}) WHERE {_OF_NOTE} LIMIT -1) AS note"
        " LEFT JOIN lines ON note.level = 'step'"
        " AND lines.attempt_id = ? AND lines.number = note.number ORDER BY note.position",
        (attempt.id, attempt.id),
    )


def _find_end(sql: Connection, attempt: Attempt, step: StepLine) -> tuple[int, int] | None:
    """The position of the first line after the last step, and the time of the step's end."""
    source, order = _order(attempt)
    rows = sql.execute(
        f"SELECT position, logged_at, level, message FROM ({source}) WHERE position > ?"  # noqa: S608 - constants
        f" AND length(message) < {LONGEST_NAME + 60} AND (level IN ('ok', 'warning')"
        " OR message LIKE 'Where %' OR message LIKE 'Running %' OR message LIKE '% done%')"
        f" ORDER BY {order}",
        (attempt.id, max(step.position, attempt.lines - _MOST_CLOSING)),
    )
    for position, logged_at, level, message in rows:
        text = clean_text(message)
        if level in {"ok", "warning"} and text.startswith(f"{step.name}: "):
            if _STEP_TIME.fullmatch(text, len(step.name)):
                return position + 1, logged_at
        # Where no step told its end, it is where nvoi speaks of the whole run.
        elif level in {"info", "success"} and _SUMMARY.match(text):
            return position, logged_at
    return None


def _count_of_note(sql: Connection, attempt: Attempt, first: int) -> dict[str, int]:
    """How many lines there are of each level of note, from the position ``first`` on."""
    source, _ = _order(attempt)
    query = f"SELECT level, count(*) FROM ({source}) WHERE {_OF_NOTE} AND position >= ? GROUP BY 1"  # noqa: S608 - constants
    return dict(sql.execute(query, (attempt.id, first)).fetchall())


def _count_before(sql: Connection, attempt: Attempt, sequence: int) -> int:
    """How many lines come before the one with that sequence number, which never came."""
    if attempt.late:
        query = "SELECT count(*) FROM lines WHERE attempt_id = ? AND place <= ?"
    else:
        query = (
            "SELECT number FROM lines WHERE attempt_id = ? AND place <= ?"
            " ORDER BY place DESC, number DESC LIMIT 1"
        )
    row = sql.execute(query, (attempt.id, sequence)).fetchone()
    return row[0] if row else 0


def format_lines(
    lines: Iterable[StoredLine], gaps: Iterable[Gap] = (), begin: int = 0, end: int | None = None
) -> Iterator[str]:
    """Lines in the order of reading as text that is fit for a terminal.

    A word stands where lines never came: of those ``gaps`` that reach beyond the place ``begin``
    and, with ``end``, not so far.
    """
    missing = [gap for gap in gaps if begin < gap.last and (end is None or gap.last < end)]
    for line in lines:
        while missing and missing[0].last < line.place:
            yield _format_gap(missing.pop(0))
        message = _C1.sub("\ufffd", clean_text(line.message))
        yield f"{format_iso(line.logged_at)} {line.level:<7} {message}\n"
    yield from map(_format_gap, missing)


def _format_gap(gap: Gap) -> str:
    lines = (
        f"line {gap.first} was"
        if gap.first == gap.last
        else f"lines {gap.first} to {gap.last} were"
    )
    return f"[{lines} never received]\n"
