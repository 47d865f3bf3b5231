from __future__ import annotations

from collections.abc import Sequence

import pytest

from nvoi.dashboard.deliveries import About, Line, LogBatch
from nvoi.dashboard.lines import (
    LONGEST_NAME,
    MOST_MATCHES,
    MissingLines,
    Outline,
    find_matches,
    find_position,
    is_match,
    read_outline,
    read_positions,
)
from nvoi.protocol import LEVELS
from tests.unit.dashboard.stores import NOON, Sent, Store, make_batch, make_end

ALL = tuple(LEVELS)


def send(store: Store, *lines: tuple[str, str], first: int = 1) -> None:
    """Send lines of these levels and messages, a second after another."""
    made = tuple(
        Line(level, message, NOON + 1000 * (first + index))
        for index, (level, message) in enumerate(lines)
    )
    store.send(Sent(LogBatch(made), About(first=first)))


def read(store: Store) -> Outline:
    with store.database.read() as sql:
        return read_outline(sql, store.get())


def find(store: Store, text: str, levels: Sequence[str] = ALL) -> list[int]:
    with store.database.read() as sql:
        return find_matches(sql, store.get(), text, tuple(levels))


STORY = (
    ("info", "nvoi: deploy shop"),
    ("step", "Build"),
    ("info", "one"),
    ("warning", "old"),
    ("ok", "Build: 1.2 s"),
    ("step", "Try"),
    ("error", "500"),
    ("warning", "Try: failed after 2 min 05 s"),
    ("info", "Undoing: Try"),
    ("error", "it broke"),
    ("warning", "the app's log: x"),
)


def test_an_outline_has_the_steps_and_what_of_note_is_in_them(store: Store) -> None:
    send(store, *STORY)
    outline = read(store)

    assert [(step.position, step.name) for step in outline.steps] == [(2, "Build"), (6, "Try")]
    assert [(step.errors, step.warnings) for step in outline.steps] == [(0, 1), (1, 1)]
    assert [step.began for step in outline.steps] == [NOON + 2000, NOON + 6000]
    assert outline.errors == [7, 10]
    assert (outline.began, outline.latest) == (NOON + 1000, NOON + 11_000)


def test_what_follows_the_end_of_the_last_step_is_the_closing(store: Store) -> None:
    send(store, *STORY[:7])
    assert (read(store).closing, read(store).ended) == (None, None)

    send(store, *STORY[7:], first=8)
    assert (read(store).closing, read(store).ended) == (9, NOON + 8000)
    assert read(store).closing_warnings == 1


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("info", "Where the time went:"),
        ("info", "Running at http://localhost:8000"),
        ("success", "Deploy of shop done: release 20260304120000, in 3.2 s"),
        ("success", "Delete of shop done in 3.2 s"),
    ],
)
def test_what_is_said_of_the_whole_run_is_the_closing_where_no_step_told_its_end(
    store: Store, level: str, message: str
) -> None:
    send(store, ("step", "Try"), ("info", "web: Running at http://x"), (level, message))
    assert (read(store).closing, read(store).ended) == (3, NOON + 3000)

    send(store, ("success", "Deploy of shop done in 1 s"), ("info", "more"), first=4)
    assert read(store).closing == 3
    send(store, ("step", "Again"), first=6)
    assert read(store).closing is None


@pytest.mark.parametrize("message", ["Try: listening on port 80", "Try", "Tryst: 1.2 s", "Try: x"])
def test_what_a_step_says_of_itself_is_not_its_end(store: Store, message: str) -> None:
    send(store, ("step", "Try"), ("ok", message), ("info", "more"))
    assert read(store).closing is None


def test_a_very_long_name_of_a_step_is_cut(store: Store) -> None:
    send(store, ("step", "x" * 100_000))
    assert len(read(store).steps[0].name) == LONGEST_NAME + 1


def test_lines_that_never_came_have_their_place(store: Store) -> None:
    store.send(make_batch(1, 3))
    store.send(make_batch(10, 12))
    store.send(make_end(20, dropped=14))
    assert read(store).gaps == [MissingLines(3, 4, 9), MissingLines(6, 13, 20)]


def test_lines_that_came_late_are_found_where_they_belong(store: Store) -> None:
    send(store, ("step", "Build"), ("info", "two"))
    send(store, ("error", "five"), ("step", "Try"), first=5)
    assert store.get().late == 0
    send(store, ("info", "three"), ("error", "four"), first=3)

    assert store.get().late == 1
    outline = read(store)
    assert [(step.position, step.number) for step in outline.steps] == [(1, 1), (6, 4)]
    assert outline.errors == [4, 5]
    with store.database.read() as sql:
        attempt = store.get()
        found = read_positions(sql, attempt, 2, 3)
        assert [line.message for line in found] == ["two", "three", "four"]
        assert [find_position(sql, attempt, number) for number in range(7)] == [
            None,
            1,
            2,
            5,
            6,
            3,
            4,
        ]
    assert find(store, "our") == [4]
    # What follows at the end is in order again, but for a late line one does not go on as before.
    send(store, ("info", "seven"), first=7)
    assert store.get().late == 1


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("RED", [1]),
        ("a red b", [1]),
        ("100%", [2]),
        ("_", [3]),
        ("\\", [4]),
        ("größe", [5]),
        ("nothing", []),
    ],
)
def test_a_text_is_found_whatever_its_case_and_colours(
    store: Store, text: str, positions: list[int]
) -> None:
    messages = ("a \x1b[31mred\x1b[0m b", "100% done", "a_b", "C:\\x", "GRÖSSE GRÖßE")
    send(store, *(("info", message) for message in messages))

    assert find(store, text) == positions
    found = [line.number for line in store.read() if is_match(line, text, ALL)]
    assert found == positions


def test_levels_are_found_with_a_text_or_without(store: Store) -> None:
    send(store, *STORY)
    assert find(store, "", ["warning", "error"]) == [4, 7, 8, 10, 11]
    assert find(store, "b", ["error"]) == [10]


def test_of_very_many_matches_the_first_are_found(store: Store) -> None:
    store.send(make_batch(1, MOST_MATCHES + 5))
    assert find(store, "line") == list(range(1, MOST_MATCHES + 2))


def test_the_steps_of_a_long_log_are_read_from_an_index(store: Store) -> None:
    store.send(make_batch(1, 1))
    with store.database.read() as sql:
        statements: list[str] = []
        sql.set_trace_callback(statements.append)
        read_outline(sql, store.get())
        sql.set_trace_callback(None)
        of_note = next(each for each in statements if "AS note" in each)
        plan = " ".join(row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {of_note}"))
    assert "COVERING INDEX lines_of_note" in plan
