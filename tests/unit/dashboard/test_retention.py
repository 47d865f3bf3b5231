from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvoi.dashboard import projects, retention
from nvoi.dashboard.database import read_clock
from nvoi.dashboard.projects import Project
from nvoi.dashboard.queries import LOST_AFTER, list_runs
from nvoi.dashboard.retention import MOST_ROWS, Retention, delete_rows
from tests.unit.dashboard.faults import locked
from tests.unit.dashboard.stores import (
    COMPLETED,
    KEY,
    Store,
    make_batch,
    make_failure,
    make_start,
    open_store,
)
from tests.waiting import PATIENCE

DAY = 86_400_000


def finish(store: Store, deploy: str, *, ago: int = 0, project: Project | None = None) -> None:
    """A deploy that has ended, with a gap, ``ago`` milliseconds before now."""
    at = read_clock() - ago
    for body in (make_start(), make_batch(2, 3), COMPLETED):
        store.send(body, deploy=deploy, at=at, project=project)


def sweep(sweeping: Retention) -> None:
    asyncio.run(sweeping.sweep())


def list_kept(store: Store, names: str, project: Project | None = None) -> str:
    with store.database.read() as connection:
        found = [name for name in names if list_runs(connection, project or store.project, name)]
    return "".join(found)


def count_rows(store: Store) -> list[int]:
    with store.database.read() as connection:
        return [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("attempts", "lines", "gaps", "deliveries")
        ]


def test_the_newest_runs_of_each_project_are_kept(store: Store) -> None:
    with store.database.write() as connection:
        other = projects.add_project(connection, store.keyring, "other", KEY)
    for name in "abcde":
        finish(store, name)
    finish(store, "a", project=other)
    sweep(Retention(store.writer, keep=2))
    assert list_kept(store, "abcde") == "de"
    assert list_kept(store, "a", other) == "a"
    assert count_rows(store) == [3, 6, 3, 9]
    with store.database.write() as connection:
        projects.remove_project(connection, "other")
    sweep(Retention(store.writer))
    assert count_rows(store) == [2, 4, 2, 6]


def test_runs_older_than_the_days_go(store: Store) -> None:
    for name, ago in (("a", 9 * DAY), ("b", 3 * DAY), ("c", DAY), ("d", 0)):
        finish(store, name, ago=ago)
    sweep(Retention(store.writer))
    assert list_kept(store, "abcd") == "abcd"
    sweep(Retention(store.writer, keep_days=2.5))
    assert list_kept(store, "abcd") == "cd"


def test_a_running_deploy_is_never_deleted_and_a_lost_one_is(store: Store) -> None:
    now = read_clock()
    store.send(make_start(), deploy="a", at=now - LOST_AFTER - 1)
    store.send(make_start(), deploy="b", at=now)
    finish(store, "c")
    sweep(Retention(store.writer, keep=0, keep_days=0))
    assert list_kept(store, "abc") == "b"


def test_an_id_that_is_used_again_and_again_does_not_grow_for_ever(store: Store) -> None:
    for _ in range(5):
        finish(store, "same")
    sweep(Retention(store.writer, keep=2))
    assert store.count_runs("same") == 2
    finish(store, "same")
    assert store.get(deploy="same").number == 6


def test_a_long_run_is_deleted_in_small_parts_and_seen_by_nobody_meanwhile(store: Store) -> None:
    for first in range(1, 5000, 500):
        store.send(make_batch(first, first + 499), at=1)
    store.send(make_failure("old"), at=1)
    with store.database.write() as connection:
        connection.execute("UPDATE attempts SET project_id = NULL")
    sizes = [5000]
    while store.writer.submit(delete_rows).result(PATIENCE):
        assert store.find() is None
        sizes.append(count_rows(store)[1])
    assert sizes[:4] == [5000, 5000 - MOST_ROWS, 1000, 0]
    assert count_rows(store) == [0, 0, 0, 0]


def test_the_space_is_given_back_but_for_the_spare(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SPARE_PAGES", 100)

    def measure() -> tuple[int, int]:
        with store.database.read() as connection:
            return (
                connection.execute("PRAGMA page_count").fetchone()[0],
                connection.execute("PRAGMA freelist_count").fetchone()[0],
            )

    for first in range(1, 5000, 500):
        store.send(make_batch(first, first + 499, text="x" * 500), at=1)
    store.send(make_failure("old"), at=1)
    before, _ = measure()
    assert before > 650
    sweep(Retention(store.writer, keep=0))
    after, free = measure()
    assert free == 100
    assert after < 200


def test_only_so_many_pages_are_given_back_at_a_time(store: Store) -> None:
    store.send(make_batch(1, 500, text="x" * 5000))
    with store.database.write() as sql:
        sql.execute("DELETE FROM lines")
        free = [sql.execute("PRAGMA freelist_count").fetchone()[0]]
        while retention.give_back_pages(sql, spare=10):
            free.append(sql.execute("PRAGMA freelist_count").fetchone()[0])
    assert free[0] > retention.MOST_PAGES + 10
    assert free[1:] == [free[0] - retention.MOST_PAGES, 10]


@dataclass
class Clocks:
    """The machine's clock in Unix milliseconds, and the time that passes in seconds."""

    clock: int
    passed: float = 0.0

    def build(self, store: Store, **settings: int) -> Retention:
        return Retention(
            store.writer, **settings, clock=lambda: self.clock, passed=lambda: self.passed
        )

    def go_on(self, days: float) -> None:
        self.clock += round(days * DAY)
        self.passed += days * 86_400


@pytest.fixture
def clocks() -> Clocks:
    return Clocks(read_clock())


def fill_days(store: Store) -> None:
    for name, ago in (("a", 80 * DAY), ("b", 50 * DAY), ("c", DAY), ("d", 0)):
        finish(store, name, ago=ago)


@pytest.mark.parametrize("is_started", [False, True])
def test_a_clock_that_jumps_ahead_for_a_minute_deletes_nothing(
    store: Store, clocks: Clocks, caplog: pytest.LogCaptureFixture, *, is_started: bool
) -> None:
    fill_days(store)
    sweeping = clocks.build(store, keep_days=90)
    if not is_started:
        sweep(sweeping)
    clocks.clock += 400 * DAY
    if is_started:
        sweeping = clocks.build(store, keep_days=90)
    for _ in range(3):
        sweep(sweeping)
        clocks.go_on(1 / 1440)
    assert list_kept(store, "abcd") == "abcd"
    assert re.search(r"the clock is (39\d|400) days ahead", caplog.text)
    assert caplog.text.count("days ahead of when") == 1
    clocks.clock -= 400 * DAY
    sweep(sweeping)
    clocks.go_on(12)
    sweep(sweeping)
    assert list_kept(store, "abcd") == "bcd"
    assert caplog.text.count("days ahead of when") == 1


def test_a_clock_that_stays_ahead_is_followed_by_two_days_a_day(
    store: Store, clocks: Clocks
) -> None:
    fill_days(store)
    sweeping = clocks.build(store, keep_days=90)
    sweep(sweeping)
    clocks.clock += 20 * DAY
    kept = []
    for _ in range(22):
        clocks.go_on(1)
        sweep(sweeping)
        kept.append(list_kept(store, "abcd"))
    # 10 days on, the run of 80 days ago; 40 days on, and no later, that of 50 days ago.
    assert kept.count("abcd") == 5
    assert kept[-1] == "cd"
    assert kept.index("cd") == 20


def test_a_start_after_some_time_goes_on_where_retention_was(store: Store, clocks: Clocks) -> None:
    fill_days(store)
    sweep(clocks.build(store, keep_days=90))
    for days, kept in ((1, "abcd"), (8.5, "abcd"), (0.5, "abcd"), (1, "abcd")):
        clocks.go_on(days)
        sweep(clocks.build(store, keep_days=90))
        assert list_kept(store, "abcd") == kept
    sweeping = clocks.build(store, keep_days=90)
    sweep(sweeping)
    clocks.go_on(8)
    sweep(sweeping)
    assert list_kept(store, "abcd") == "bcd"


def test_runs_heard_of_while_the_clock_was_wrong_are_as_new_as_those_before_them(
    store: Store, clocks: Clocks
) -> None:
    for name, ago in (("a", 99 * DAY), ("b", -400 * DAY), ("c", 95 * DAY), ("d", DAY)):
        finish(store, name, ago=ago)
    finish(store, "e", ago=20_000 * DAY)
    finish(store, "f")
    sweep(clocks.build(store, keep_days=90))
    assert list_kept(store, "abcdef") == "bdef"


def test_a_run_that_goes_on_is_kept_while_the_clock_is_ahead(store: Store, clocks: Clocks) -> None:
    store.send(make_start(), deploy="a", at=clocks.clock)
    sweeping = clocks.build(store, keep=0)
    sweep(sweeping)
    clocks.clock += 400 * DAY
    sweep(sweeping)
    assert list_kept(store, "a") == "a"


def test_it_sweeps_in_the_background_also_after_something_has_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.01)

    def clock() -> int:
        if not caplog.records:
            raise OSError("no clock")
        return read_clock()

    async def run(store: Store) -> None:
        sweeping = asyncio.create_task(Retention(store.writer, keep=0, clock=clock).run())
        with locked(store.database.path):
            while "are not deleted for now: cannot write" not in caplog.text:
                await asyncio.sleep(0.01)
        while count_rows(store)[0]:
            await asyncio.sleep(0.01)
        sweeping.cancel()

    with open_store(tmp_path / "x.sqlite3", busy_seconds=0.01) as store:
        finish(store, "a")
        asyncio.run(asyncio.wait_for(run(store), PATIENCE))
