from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from nvoi.dashboard.database import migrate
from nvoi.dashboard.deliveries import About, Completed, Failed
from nvoi.dashboard.outline import read_outline
from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import LOST_AFTER, list_runs, read_lines, read_places
from nvoi.dashboard.schema import MIGRATIONS
from tests.unit.dashboard.stores import COMPLETED, NOON, Store, make_batch, make_start


def test_a_deploy_that_is_silent_for_ten_minutes_is_lost_until_it_is_heard_of(
    store: Store,
) -> None:
    store.send(make_start(), at=NOON - LOST_AFTER + 1)
    assert store.get().status == "running"
    store.send(make_start(), at=NOON - LOST_AFTER, deploy="silent")
    assert store.get(deploy="silent").status == "lost"
    # What names no app is told apart from the next run by silence alone.
    store.send(make_batch(1, 1), deploy="silent")
    assert store.get(deploy="silent").status == "running"
    for body in (make_start(), COMPLETED):
        store.send(body, deploy="done", at=NOON - 100 * LOST_AFTER)
    assert store.get(deploy="done").status == "completed"


def test_a_run_that_was_killed_is_lost_once_the_next_one_of_its_app_begins(store: Store) -> None:
    shop, other = About(app="shop"), About(app="other")
    store.send(make_start(), run="1", about=shop, at=NOON - 3000)
    store.send(make_start(), deploy="other", run="2", about=other, at=NOON - 2000)
    assert store.get().status == "running"

    store.send(make_start(), deploy="next", run="3", about=shop, at=NOON - 1000)
    assert store.get().status == "lost"
    assert store.get(deploy="other").status == "running"
    assert store.get(deploy="next").status == "running"
    # One that is heard of again was not killed: it may have waited for the other's lock.
    store.send(make_batch(1, 1), run="1", about=shop)
    assert store.get().status == "running"


def test_a_run_that_a_signal_ended_is_cancelled(store: Store) -> None:
    store.send(make_start())
    store.send(Failed("interrupted"), about=About(reason="cancelled"))
    assert (store.get().status, store.get().error) == ("cancelled", "interrupted")
    # What comes after the end changes nothing of it.
    store.send(make_start(), deploy="done")
    store.send(COMPLETED, deploy="done")
    store.send(Failed("interrupted"), deploy="done", about=About(reason="cancelled"))
    assert store.get(deploy="done").status == "completed"


@pytest.mark.parametrize(
    ("told", "duration"),
    [(12, 12_400), (13, 12_400), (40, 40_000)],
    ids=["rounded down", "rounded up", "lines are missing"],
)
def test_a_run_took_the_time_between_its_first_and_last_line(
    store: Store, told: int, duration: int
) -> None:
    store.send(make_start())
    store.send(make_batch(1, 1))
    assert store.get().duration is None
    store.send(make_batch(2, 2, at=NOON + 12_399))
    store.send(Completed((), told), at=NOON + 99_000)
    assert store.get().duration == duration


def test_a_run_without_lines_took_until_its_end_was_told(store: Store) -> None:
    store.send(make_start(), at=NOON - 9000)
    store.send(Failed("it broke"), at=NOON - 4000)
    assert store.get().duration == 5000


def test_of_very_long_lines_few_are_read_at_a_time_and_none_is_left_out(store: Store) -> None:
    store.send(make_batch(1, 10, text="x" * (1 << 20)))
    attempt = store.get()
    with store.database.read() as connection:
        first = read_lines(connection, attempt.id, 0, 10)
        assert [line.number for line in first] == list(range(1, len(first) + 1))
        assert 1 <= len(first) <= 8
        (line,) = read_lines(connection, attempt.id, 9, 10)
        assert line.number == 10
        assert len(read_places(connection, attempt.id, first[-1], 10)) >= 1


def test_what_headers_say_of_a_run_is_kept_and_lasts(store: Store) -> None:
    about = About(
        app="shop", command="rollback", commit_title="Fix it", commit_author="Ada", dirty=True
    )
    store.send(make_batch(1, 1), run="1", about=About(app="shop", command="rollback"))
    assert (store.get().app, store.get().command) == ("shop", "rollback")
    store.send(make_start(), run="1", about=about)
    store.send(COMPLETED, run="1")

    run = store.get()
    assert (run.app, run.command, run.commit_title) == ("shop", "rollback", "Fix it")
    assert (run.commit_author, run.dirty) == ("Ada", True)


def test_runs_of_an_earlier_database_have_their_times_and_their_order(tmp_path: Path) -> None:
    path = tmp_path / "earlier.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as sql:
        migrate(sql, MIGRATIONS[:2])
        sql.execute("INSERT INTO projects VALUES (1, 'shop', NULL, 0)")
        for number, places in ((1, (1, 2, 3)), (2, (1, 3, 2)), (3, ())):
            sql.execute(
                "INSERT INTO attempts (id, project_id, deploy_id, number, started_at,"
                " last_seen_at, lines, outcome) VALUES (?, 1, 'old', ?, 0, 0, ?, 'failed')",
                (number, number, len(places)),
            )
            sql.executemany(
                "INSERT INTO lines (attempt_id, number, place, level, message, logged_at)"
                " VALUES (?, ?, ?, 'step', 'Build', ?)",
                [(number, n, place, NOON + 1000 * n) for n, place in enumerate(places, 1)],
            )
        migrate(sql)
        runs = list_runs(sql, Project(1, "shop", None, 0), "old")
        assert [(run.late, run.duration) for run in runs] == [(0, 0), (1, 2000), (0, 2000)]
        assert [len(read_outline(sql, run).steps) for run in runs] == [0, 3, 3]
