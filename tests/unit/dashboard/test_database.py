from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from nvoi.dashboard.database import Database, StorageError, Writer
from nvoi.dashboard.projects import find_option, store_option
from nvoi.dashboard.schema import open_database
from nvoi.errors import InputError
from tests.unit.dashboard.faults import locked
from tests.unit.dashboard.stores import make_batch, open_store
from tests.waiting import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dash board #1?.sqlite3"


# -- connections ----------------------------------------------------------------------------


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(path: Path) -> None:
    database = open_database(path)
    with database.read() as reader:
        assert find_option(reader, "a") is None
        with database.write() as writer:
            store_option(writer, "a", "b")
        assert find_option(reader, "a") is None
    with database.read() as reader:
        assert find_option(reader, "a") == "b"
    database.close()


def test_a_reader_cannot_write_and_a_write_that_raises_leaves_nothing(path: Path) -> None:
    database = open_database(path)
    with pytest.raises(StorageError, match="it is read-only"), database.read() as sql:
        store_option(sql, "a", "b")
    with contextlib.suppress(KeyError), database.write() as sql:
        store_option(sql, "a", "b")
        raise KeyError
    with database.read() as sql:
        assert find_option(sql, "a") is None
    database.close()


def test_a_locked_database_can_be_read_and_not_written(path: Path) -> None:
    database = open_database(path, busy_seconds=0.05)
    with locked(path):
        with pytest.raises(InputError, match="another process keeps it locked"):
            open_database(path, busy_seconds=0.05)
        with database.read() as sql:
            assert find_option(sql, "a") is None
        with (
            pytest.raises(StorageError, match="another process keeps it locked"),
            database.write(),
        ):
            pass
    with database.write() as sql:
        store_option(sql, "a", "b")
    database.close()


def test_a_file_that_is_damaged_or_goes_meanwhile_is_a_storage_error(path: Path) -> None:
    database = open_database(path)
    path.write_bytes(b"once upon a time " * 1000)
    with (
        pytest.raises(StorageError, match="it is no SQLite database"),
        database.read() as sql,
    ):
        find_option(sql, "a")
    path.unlink()
    for use in (database.read, database.write):
        with pytest.raises(StorageError, match="cannot be opened"), use():
            pass
    # It is not made anew.
    assert not path.exists()


# -- files that go ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-wal", "-shm"])
def test_what_is_stored_in_a_file_that_was_deleted_is_not_acknowledged(
    path: Path, name: str
) -> None:
    with open_store(path) as store:
        store.send(make_batch(1, 2))
        file = path.with_name(f"{path.name}{name}")
        away = file.rename(path.with_name("away"))
        for _ in range(2):
            with pytest.raises(StorageError, match=f"{re.escape(file.name)} was deleted"):
                store.send(make_batch(3, 4))
        assert not file.exists()
        away.rename(file)
        store.send(make_batch(5, 6))
        assert store.get().lines >= 4


def test_a_link_to_the_database_that_leads_elsewhere_is_noticed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    open_database(path).close()
    with open_store(link) as store:
        link.unlink()
        link.symlink_to(tmp_path / "other.sqlite3")
        open_database(tmp_path / "other.sqlite3").close()
        with pytest.raises(StorageError, match=r"link.sqlite3 was deleted or replaced"):
            store.send(make_batch(3, 4))


# -- the writer -----------------------------------------------------------------------------

Job = Callable[[sqlite3.Connection], None]


def keep(name: str, value: str = "there") -> Job:
    return lambda connection: store_option(connection, name, value)


def read(database: Database, name: str) -> str | None:
    with database.read() as connection:
        return find_option(connection, name)


@contextmanager
def one_group(writer: Writer) -> Iterator[None]:
    """What is submitted inside waits, and so is written in one transaction."""
    begun, go = threading.Event(), threading.Event()

    def wait(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go.wait(PATIENCE)

    future = writer.submit(wait)
    assert begun.wait(PATIENCE)
    yield
    go.set()
    future.result(PATIENCE)


def test_a_result_is_given_once_it_is_committed(database: Database, writer: Writer) -> None:
    def job(connection: sqlite3.Connection) -> int:
        store_option(connection, "a", "there")
        assert read(database, "a") is None
        return 7

    future = writer.submit(job)
    seen: list[str | None] = []
    future.add_done_callback(lambda _: seen.append(read(database, "a")))
    assert future.result(PATIENCE) == 7
    writer.close()
    assert seen == ["there"]


def test_what_waits_is_written_in_one_transaction_in_its_order(
    database: Database, writer: Writer
) -> None:
    def look(connection: sqlite3.Connection) -> tuple[str | None, str | None]:
        return find_option(connection, "b"), read(database, "b")

    with one_group(writer):
        writer.submit(keep("a"))
        writer.submit(keep("b"))
        future = writer.submit(look)
    assert future.result(PATIENCE) == ("there", None)
    assert read(database, "b") == "there"


def test_a_job_that_raises_leaves_nothing_and_does_not_touch_the_others(
    database: Database, writer: Writer
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        store_option(connection, "failed", "there")
        raise KeyError("why")

    with one_group(writer):
        before = writer.submit(keep("before"))
        failed = writer.submit(fail)
        wrong = writer.submit(lambda connection: connection.execute("SELECT * FROM missing"))
        after = writer.submit(keep("after"))
    with pytest.raises(KeyError, match="why"):
        failed.result(PATIENCE)
    with pytest.raises(StorageError, match="no such table"):
        wrong.result(PATIENCE)
    before.result(PATIENCE)
    after.result(PATIENCE)
    assert [read(database, name) for name in ("before", "failed", "after")] == [
        "there",
        None,
        "there",
    ]


def test_a_fault_that_rolls_all_back_fails_all_of_the_group(
    database: Database, writer: Writer
) -> None:
    def roll_back(connection: sqlite3.Connection) -> None:
        for _ in range(2):
            connection.execute("INSERT OR ROLLBACK INTO options VALUES ('a', 'b')")

    with one_group(writer):
        futures: list[Future[None]] = [
            writer.submit(job) for job in (keep("before"), roll_back, keep("after"))
        ]
    for future in futures:
        with pytest.raises(StorageError):
            future.result(PATIENCE)
    assert [read(database, name) for name in ("before", "a", "after")] == [None, None, None]
    writer.submit(keep("later")).result(PATIENCE)
    assert read(database, "later") == "there"


def test_a_lock_that_ends_in_time_fails_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "x.sqlite3", busy_seconds=30) as store:
        with locked(store.database.path):
            future = store.writer.submit(keep("a"))
        future.result(PATIENCE)
        assert read(store.database, "a") == "there"


def test_closing_runs_what_was_submitted_and_takes_no_more(database: Database) -> None:
    writer = Writer(database)
    with one_group(writer):
        futures = [writer.submit(keep(f"option {number}")) for number in range(500)]
        closing = threading.Thread(target=writer.close)
        closing.start()
    closing.join(PATIENCE)
    writer.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert read(database, "option 499") == "there"
    with pytest.raises(StorageError, match="is closed"):
        writer.submit(keep("late"))


def test_a_job_that_is_cancelled_in_time_does_not_run_and_the_next_does(
    database: Database, writer: Writer
) -> None:
    with one_group(writer):
        cancelled = writer.submit(keep("cancelled"))
        after = writer.submit(keep("after"))
        assert cancelled.cancel()
    after.result(PATIENCE)
    assert (read(database, "cancelled"), read(database, "after")) == (None, "there")
