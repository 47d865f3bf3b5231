from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from sqlite3 import Connection

import pytest

from nvoi.dashboard.deliveries import About, Body
from nvoi.dashboard.lines import read_lines, read_places
from nvoi.dashboard.queries import (
    LOST_AFTER,
    RESULTS,
    History,
    list_attempts,
    read_history,
)
from tests.unit.dashboard.stores import (
    COMPLETED,
    NOON,
    Store,
    make_batch,
    make_failure,
    make_plain,
    make_start,
)


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
    store.send(make_failure("interrupted"), about=About(reason="cancelled"))
    assert (store.get().status, store.get().error) == ("cancelled", "interrupted")
    # What comes after the end changes nothing of it.
    store.send(make_start(), deploy="done")
    store.send(COMPLETED, deploy="done")
    store.send(make_failure("interrupted"), deploy="done", about=About(reason="cancelled"))
    assert store.get(deploy="done").status == "completed"


@pytest.mark.parametrize(
    ("end", "duration"),
    [
        (COMPLETED | {"duration_seconds": 12}, 12_400),
        (COMPLETED | {"duration_seconds": 13}, 12_400),
        (COMPLETED | {"duration_seconds": 40}, 40_000),
        (make_failure("it broke"), 12_400),
    ],
    ids=["rounded down", "rounded up", "lines are missing", "failed"],
)
def test_a_run_took_the_time_between_its_first_and_last_line(
    store: Store, end: Body, duration: int
) -> None:
    store.send(make_start())
    store.send(make_batch(1, 1))
    assert store.get().duration is None
    store.send(make_batch(2, 2, at=NOON + 12_399))
    store.send(end, at=NOON + 99_000)
    assert store.get().duration == duration


def test_a_run_without_lines_took_until_its_end_was_told(store: Store) -> None:
    store.send(make_start(), at=NOON - 9000)
    store.send(make_failure("it broke"), at=NOON - 4000)
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


# -- what a project's deploys come to ---------------------------------------------------------


def deploy(
    store: Store,
    name: str,
    *,
    command: str | None = "deploy",
    error: str = "",
    reason: str | None = None,
    said: str = "hello",
    app: str | None = "shop",
) -> None:
    about = About(app=app, command=command)
    store.send(make_start(), deploy=name, about=about)
    store.send(make_plain(said), deploy=name)
    store.send(
        make_failure(error) if error else COMPLETED,
        deploy=name,
        about=replace(about, reason=reason) if error else about,
    )


def read(store: Store) -> History:
    with store.database.read() as sql:
        return read_history(sql, store.project)


def test_what_is_live_comes_from_the_last_run_that_completed(store: Store) -> None:
    history = read(store)
    assert (history.results, history.live, history.duration, history.rate) == ([], None, None, None)

    deploy(store, "one")
    deploy(store, "two")
    deploy(store, "three", error="it broke")
    store.send(make_start(), deploy="four")
    history = read(store)

    assert history.live
    assert history.live.deploy_id == "two"
    assert history.before
    assert history.before.deploy_id == "one"
    assert [run.deploy_id for run in history.results] == ["three", "two", "one"]
    assert history.rate == pytest.approx(2 / 3)
    assert history.duration == 12_000


def test_a_rollback_is_live_and_nothing_is_compared_with_it(store: Store) -> None:
    deploy(store, "one")
    deploy(store, "two", command="rollback", said="Going back from x to 20260304120000")
    history = read(store)

    assert history.live
    assert history.live.deploy_id == "two"
    assert (history.before, history.release) == (None, "20260304120000")


def test_what_was_cancelled_or_is_no_deploy_does_not_count_for_the_rate(store: Store) -> None:
    deploy(store, "one")
    deploy(store, "two", error="interrupted", reason="cancelled")
    deploy(store, "three", command="delete", error="it broke")

    assert read(store).rate == 1.0


@pytest.mark.parametrize(
    ("said", "release"),
    [
        ("release 20260304120000: 214 files from /home/ada/shop", "20260304120000"),
        ("Release 20260304120000 is kept", "20260304120000"),
        ("Deploy of shop done: release 20260304120000, in 3.1 s", "20260304120000"),
        ("removing release 20260304120000", None),
        ("Putting release 20260304120000 back", None),
    ],
)
def test_the_release_is_the_one_that_the_log_says_was_made(
    store: Store, said: str, release: str | None
) -> None:
    deploy(store, "one", said=said)
    assert read(store).release == release


@contextmanager
def counted_steps(sql: Connection) -> Iterator[list[None]]:
    """Gives a list that has an item for every hundred steps that SQLite makes inside."""
    steps: list[None] = []
    sql.set_progress_handler(lambda: steps.append(None), 100)
    yield steps
    sql.set_progress_handler(None, 0)


def test_a_release_is_not_looked_for_in_the_middle_of_a_long_log(store: Store) -> None:
    store.send(make_start())
    store.send(make_batch(1, 2000, text="release 20260304120000: "))
    store.send(COMPLETED)
    with store.database.read() as sql, counted_steps(sql) as steps:
        assert read_history(sql, store.project).release == "20260304120000"
    assert len(steps) < 400


def test_a_page_of_a_project_reads_no_more_of_ten_thousand_runs_than_of_a_hundred(
    store: Store,
) -> None:
    counts = []
    for least, most in ((1, 100), (101, 10_000)):
        with store.database.write() as sql:
            sql.executemany(
                "INSERT INTO attempts (project_id, deploy_id, number, app, outcome, started_at,"
                " last_seen_at, duration_seconds) VALUES (?, ?, 1, 'shop', 'completed', ?, ?, 9)",
                [(store.project.id, str(n), NOON + n, NOON + n) for n in range(least, most + 1)],
            )
        with store.database.read() as sql, counted_steps(sql) as steps:
            assert len(read_history(sql, store.project).results) == RESULTS
            list_attempts(sql, store.project, 51)
        counts.append(len(steps))
    assert counts[1] <= counts[0] + 5


def test_what_became_of_one_app_of_a_project_says_nothing_of_another(store: Store) -> None:
    deploy(store, "one")
    deploy(store, "branch", app="shop-x")
    deploy(store, "two")
    history = read(store)
    assert history.before
    assert history.before.deploy_id == "one"

    deploy(store, "branch-gone", app="shop-x", command="delete")
    history = read(store)
    assert (history.live and history.live.deploy_id, history.deleted) == ("two", None)

    deploy(store, "gone", command="delete")
    history = read(store)
    assert (history.live, history.deleted and history.deleted.deploy_id) == (None, "gone")
    assert history.last_success
    assert history.last_success.deploy_id == "two"


def test_what_told_no_app_is_deleted_by_any_delete(store: Store) -> None:
    deploy(store, "one", app=None)
    deploy(store, "gone", command="delete")
    assert read(store).live is None
