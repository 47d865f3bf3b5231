from __future__ import annotations

from nvoi.dashboard import projects
from nvoi.dashboard.attempts import (
    LOST_AFTER,
    find_attempt,
    find_attempt_by_id,
    list_attempts,
    list_runs,
    read_lines,
    read_text,
)
from tests.unit.dashboard.stores import (
    COMPLETED,
    KEY,
    NOON,
    Store,
    make_batch,
    make_start,
)


def test_attempts_are_listed_from_the_newest_on_page_by_page(store: Store) -> None:
    for number in range(5):
        store.send(make_start(), deploy=f"deploy {number}")
    with store.database.read() as connection:
        first = list_attempts(connection, store.project, 2)
        second = list_attempts(connection, store.project, 9, before=first[-1].id)
    assert [attempt.deploy_id for attempt in first] == ["deploy 4", "deploy 3"]
    assert [attempt.deploy_id for attempt in second] == ["deploy 2", "deploy 1", "deploy 0"]


def test_the_runs_of_a_deploy_are_listed_from_the_newest_on(store: Store) -> None:
    store.send_all([make_start(), COMPLETED, make_start()])
    store.send(make_start(), deploy="another")
    with store.database.read() as connection:
        runs = list_runs(connection, store.project, "deploy")
        assert list_runs(connection, store.project, "unknown") == ()
    assert [(run.number, run.superseded) for run in runs] == [(2, False), (1, True)]


def test_an_attempt_is_found_by_its_number_and_by_its_id(store: Store) -> None:
    store.send_all([make_start(), COMPLETED, make_start()])
    with store.database.read() as connection:
        newest = find_attempt(connection, store.project, "deploy", now=NOON)
        first = find_attempt(connection, store.project, "deploy", 1, now=NOON)
        assert newest
        assert first
        assert (first.number, newest.number) == (1, 2)
        assert find_attempt_by_id(connection, first.id, now=NOON) == first
        assert find_attempt(connection, store.project, "deploy", 3) is None
        assert find_attempt(connection, store.project, "unknown") is None
        assert find_attempt_by_id(connection, 99) is None


def test_a_project_does_not_see_the_deploys_of_another(store: Store) -> None:
    with store.database.write() as connection:
        other = projects.add_project(connection, store.keyring, "other", KEY)
    store.send(make_start(), project=other)
    assert store.find() is None
    with store.database.read() as connection:
        assert list_attempts(connection, store.project, 9) == ()
        assert [each.project for each in list_attempts(connection, other, 9)] == ["other"]


def test_a_deploy_that_is_silent_for_ten_minutes_is_lost_until_it_is_heard_of(
    store: Store,
) -> None:
    store.send(make_start())
    assert store.get(now=NOON + LOST_AFTER - 1).status == "running"
    assert store.get(now=NOON + LOST_AFTER).status == "lost"
    store.send(make_batch(1, 1), at=NOON + LOST_AFTER)
    assert store.get(now=NOON + LOST_AFTER).status == "running"


def test_a_deploy_that_ended_is_never_lost(store: Store) -> None:
    store.send_all([make_start(), COMPLETED])
    assert store.get(now=NOON + 100 * LOST_AFTER).status == "completed"


def test_gaps_are_listed_in_their_order(store: Store) -> None:
    for first in (2, 20, 9):
        store.send(make_batch(first, first))
    assert store.gaps() == [(1, 1), (3, 8), (10, 19)]


def test_lines_are_read_from_any_number_on(store: Store) -> None:
    store.send(make_batch(1, 10))
    attempt = store.get()
    with store.database.read() as connection:
        lines = read_lines(connection, attempt.id, 3, 4)
        assert read_lines(connection, attempt.id, 10, 4) == []
    assert [line.number for line in lines] == [4, 5, 6, 7]
    assert (lines[0].message, lines[0].level, lines[0].logged_at) == ("line 4", "info", NOON + 4)


def test_a_text_longer_than_one_look_is_whole_and_in_order(store: Store) -> None:
    for first in range(2001, 0, -500):
        store.send(make_batch(first, first + 499))
    attempt = store.get()
    with store.database.read() as connection:
        places = [line.place for line in read_text(connection, attempt.id)]
    assert places == list(range(1, 2501))


def test_of_very_long_lines_few_are_read_at_a_time_and_none_is_left_out(store: Store) -> None:
    store.send(make_batch(1, 20, text="x" * (1 << 20)))
    attempt = store.get()
    with store.database.read() as connection:
        first = read_lines(connection, attempt.id, 0, 20)
        assert [line.number for line in first] == list(range(1, len(first) + 1))
        assert 1 <= len(first) <= 8
        (line,) = read_lines(connection, attempt.id, 19, 20)
        assert line.number == 20
        assert [line.number for line in read_text(connection, attempt.id)] == list(range(1, 21))
