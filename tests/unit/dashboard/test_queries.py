from __future__ import annotations

from nvoi.dashboard.queries import (
    LOST_AFTER,
    read_lines,
    read_places,
)
from tests.unit.dashboard.stores import (
    COMPLETED,
    NOON,
    Store,
    make_batch,
    make_start,
)


def test_a_deploy_that_is_silent_for_ten_minutes_is_lost_until_it_is_heard_of(
    store: Store,
) -> None:
    store.send(make_start(), at=NOON - LOST_AFTER + 1)
    assert store.get().status == "running"
    store.send(make_start(), at=NOON - LOST_AFTER, deploy="silent")
    assert store.get(deploy="silent").status == "lost"
    store.send(make_batch(1, 1), deploy="silent")
    assert store.get(deploy="silent").status == "running"


def test_a_deploy_that_ended_is_never_lost(store: Store) -> None:
    for body in (make_start(), COMPLETED):
        store.send(body, at=NOON - 100 * LOST_AFTER)
    assert store.get().status == "completed"


def test_of_very_long_lines_few_are_read_at_a_time_and_none_is_left_out(store: Store) -> None:
    store.send(make_batch(1, 20, text="x" * (1 << 20)))
    attempt = store.get()
    with store.database.read() as connection:
        first = read_lines(connection, attempt.id, 0, 20)
        assert [line.number for line in first] == list(range(1, len(first) + 1))
        assert 1 <= len(first) <= 8
        (line,) = read_lines(connection, attempt.id, 19, 20)
        assert line.number == 20
        assert len(read_places(connection, attempt.id, first[-1], 20)) >= 1
