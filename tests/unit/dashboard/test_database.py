from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvoi.dashboard.database import (
    StorageError,
    connect,
    lock_database,
    migrate,
    open_database,
    read_version,
    transaction,
)
from nvoi.dashboard.projects import find_option, store_option
from nvoi.dashboard.schema import MIGRATIONS
from nvoi.errors import InputError, UsageError
from tests.unit.dashboard.faults import locked, without_privileges
from tests.unit.dashboard.stores import make_batch, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dash board #1?.sqlite3"


# -- opening --------------------------------------------------------------------------------


def test_commits_are_synced_and_space_can_be_given_back(path: Path) -> None:
    database = open_database(path)
    with contextlib.closing(database.connect()) as connection:
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys")
        ]
    assert values == ["wal", 2, 2, 1]
    database.close()


def refuse(path: Path, reason: str) -> InputError:
    with pytest.raises(InputError, match=reason) as caught:
        open_database(path, busy_seconds=0.05)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def test_a_name_that_cannot_be_a_files_is_refused(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)
    refuse(path, "is no file")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    refuse(link, "is no file")
    refuse(tmp_path / "a\0b", "cannot make the database")
    refuse(tmp_path / ("x" * 300), "File name too long")


def spoil_header(path: Path) -> None:
    path.write_bytes(b"once upon a time " * 1000)


def spoil_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


def run_sql(statement: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as sql:
            sql.execute(statement)

    return run


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoil_header, "it is no SQLite database"),
        (spoil_pages, "it is damaged"),
        (run_sql("PRAGMA application_id = 1"), "is the database of another program"),
        (run_sql("PRAGMA user_version = 99"), "newer nvoi .its schema is 99, .*upgrade nvoi"),
    ],
)
def test_what_is_no_database_of_ours_is_refused_and_left_alone(
    path: Path, change: Callable[[Path], None], reason: str
) -> None:
    open_database(path).close()
    change(path)
    content = path.read_bytes()
    refuse(path, reason)
    assert path.read_bytes() == content


def test_a_file_or_folder_that_cannot_be_used_is_refused() -> None:
    with without_privileges() as folder:
        inner = folder / "inner"
        inner.mkdir()
        path = inner / "x.sqlite3"
        open_database(path).close()
        for mode, reason in ((0o400, "it is read-only"), (0, "cannot be opened")):
            path.chmod(mode)
            refuse(path, reason)
        path.chmod(0o600)
        inner.chmod(0o500)
        refuse(path, "cannot be opened|it is read-only")
        refuse(inner / "new.sqlite3", "Permission denied")
        with pytest.raises(InputError, match="cannot lock the database"), lock_database(path):
            pass
        inner.chmod(0o700)


# -- the lock -------------------------------------------------------------------------------


def test_only_one_serves_a_database_by_whatever_name(path: Path, tmp_path: Path) -> None:
    open_database(path).close()
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    with lock_database(path):
        for name in (path, link):
            with (
                pytest.raises(UsageError, match=r"another dashboard serves .*\.lock"),
                lock_database(name),
            ):
                pass
    with lock_database(link):
        pass


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
        refuse(path, "another process keeps it locked")
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
    spoil_header(path)
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


# -- migrations -----------------------------------------------------------------------------

NEXT = (*MIGRATIONS, ("CREATE TABLE added (x)", "INSERT INTO added VALUES (1)"))
BROKEN = (*NEXT, ("CREATE TABLE half (x)", "DROP TABLE added", "no SQL at all"))


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    open_database(path).close()
    with contextlib.closing(connect(path)) as connection:
        yield connection


def list_tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def test_an_older_database_gets_what_it_misses_once_and_keeps_what_it_has(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.execute("INSERT INTO options VALUES ('a', 'b')")
    with contextlib.closing(connect(path)) as other:
        # Two may do it at once.
        assert read_version(other) == len(MIGRATIONS)
        migrate(connection, NEXT)
        migrate(other, NEXT)
    assert read_version(connection) == len(NEXT)
    assert connection.execute("SELECT x FROM added").fetchall() == [(1,)]
    assert connection.execute("SELECT * FROM options").fetchall() == [("a", "b")]


def test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay(
    connection: sqlite3.Connection,
) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, BROKEN)
    assert not connection.in_transaction
    assert read_version(connection) == len(NEXT)
    assert "added" in list_tables(connection)
    assert "half" not in list_tables(connection)


def build_earlier(path: Path, lines: int, size: int) -> None:
    """A database of the first schema, with a run whose lines have so many characters."""
    path.touch(0o600)
    with contextlib.closing(connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, MIGRATIONS[:1])
        connection.execute("INSERT INTO projects VALUES (1, 'default', NULL, 0)")
        connection.execute(
            "INSERT INTO attempts (id, project_id, deploy_id, number, started_at, last_seen_at,"
            " lines, last_place, last_sequence) VALUES (7, 1, 'deploy', 1, 0, 0, ?, 1, ?)",
            (lines, lines),
        )
        connection.execute("INSERT INTO deliveries VALUES (1, 1, 7, x'00', x'00')")
        with transaction(connection):
            connection.executemany(
                "INSERT INTO lines VALUES (7, ?, ?, ?, 'info', ?, ?)",
                # The second came before the first.
                (
                    (n, 3 - n if n < 3 else n, 3 - n if n < 3 else n, f"{n} " * (size // 5), n)
                    for n in range(1, lines + 1)
                ),
            )


def test_lines_of_an_earlier_schema_are_kept_in_their_order_and_the_time_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_earlier(path, 3000, 1500)
    before = path.stat().st_size
    with open_store(path) as store:
        # It has sent webhook headers.
        assert store.project.needs_webhook
        assert [line.number for line in store.read()] == list(range(1, 3001))
        assert [line.message.split()[0] for line in store.read()] == [
            str(n) for n in range(1, 3001)
        ]
        assert [text.split()[0] for text in store.read_messages()[:4]] == ["2", "1", "3", "4"]
        store.send(make_batch(3001, 3002))
        assert (store.get().number, store.get().lines) == (1, 3002)
        with store.database.read() as sql:
            free, page = (
                sql.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("freelist_count", "page_size")
            )
    assert path.stat().st_size - free * page < before / 2
    first, last = [record.getMessage() for record in caplog.records]
    assert re.search(r"is rewritten: this takes up to \d+ s, and up to \d+ MB more", first)
    assert last.startswith("the database is rewritten, after ")
    # One of this schema tells nothing.
    open_database(path).close()
    assert len(caplog.records) == 2


def test_every_index_that_a_migration_makes_is_there_in_the_end(
    connection: sqlite3.Connection,
) -> None:
    statements = " ".join(statement for each in MIGRATIONS for statement in each)
    names = re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+)", statements)
    assert set(names) <= list_tables(connection)


@pytest.mark.parametrize("size", [300, 1100, 20_000])
def test_a_database_is_at_most_twice_its_lines(path: Path, size: int) -> None:
    count = 2_000_000 // size
    with open_store(path) as store:
        for first in range(1, count + 1, 100):
            store.send(make_batch(first, min(count, first + 99), text="x" * size))
    assert path.stat().st_size < 2 * count * size + 300_000


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
