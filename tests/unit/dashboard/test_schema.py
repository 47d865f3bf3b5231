from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nvoi.dashboard import schema
from nvoi.dashboard.database import connect
from nvoi.dashboard.projects import list_projects
from nvoi.dashboard.schema import find_server, hold_lock, lock_database, open_database
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
        (run_sql("PRAGMA user_version = 99"), "is of another nvoi .its schema is 99"),
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
        with pytest.raises(InputError, match="cannot hold the lock"), lock_database(path):
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


@pytest.fixture
def looking(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody looks whether the database is served, until another is in their way."""
    with contextlib.ExitStack() as look:
        look.enter_context(hold_lock(path.with_name(f"{path.name}.lock"), fcntl.LOCK_SH))
        real = fcntl.flock

        def lock(descriptor: int, how: int) -> None:
            try:
                real(descriptor, how)
            except BlockingIOError:
                look.close()
                raise

        monkeypatch.setattr(fcntl, "flock", lock)
        yield


@pytest.mark.usefixtures("looking")
def test_whoever_just_looks_is_no_server_and_keeps_none_from_beginning(path: Path) -> None:
    assert find_server(path) is None
    with lock_database(path):
        assert find_server(path) == ""


def test_where_nothing_can_be_locked_that_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(_descriptor: int, _how: int) -> None:
        # As of a network's file system.
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.raises(InputError, match="No locks available"), lock_database(path):
        pass


def test_where_a_database_is_served_is_known_as_soon_as_it_is(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    open_database(path).close()
    assert find_server(path) is None
    for url in ("http://127.0.0.1:8787", "http://[::1]:1"):
        with lock_database(path) as note_url:
            # What the last one has noted is not this one's.
            assert find_server(link) == ""
            note_url(url)
            assert find_server(link) == url
            with (
                pytest.raises(UsageError, match=f"serves .* at {re.escape(url)} "),
                lock_database(path),
            ):
                pass
        assert find_server(link) is None


# -- what it makes --------------------------------------------------------------------------


def test_those_who_open_a_new_one_at_once_make_it_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        databases = list(pool.map(open_database, [path] * 8))
    for database in databases:
        with database.read() as sql:
            assert list_projects(sql) == ()
        database.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    # One that was mounted, or what is left of a start that was killed.
    path.touch(0o600)
    test_commits_are_synced_and_space_can_be_given_back(path)


@pytest.fixture
def backup(path: Path) -> Path:
    """A database without a write-ahead log."""
    with open_store(path) as store:
        store.send(make_batch(1, 2))
    backup = path.with_name("backup.sqlite3")
    with contextlib.closing(sqlite3.connect(path)) as sql:
        sql.execute("VACUUM INTO ?", (str(backup),))
    return backup


def test_a_backup_may_have_another_journal(backup: Path) -> None:
    test_commits_are_synced_and_space_can_be_given_back(backup)


def test_a_backup_may_be_opened_where_it_is_being_written(
    backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as writing:
        tries: list[str] = []

        def note(statement: str) -> None:
            if "journal_mode" in statement:
                tries.append(statement)
                if len(tries) == 1:
                    writing.enter_context(locked(backup))
                else:
                    writing.close()

        def connect_and_note(*names: Any, **options: Any) -> sqlite3.Connection:
            sql = connect(*names, **options)
            sql.set_trace_callback(note)
            return sql

        monkeypatch.setattr(schema, "connect", connect_and_note)
        open_database(backup).close()
        assert len(tries) > 1


@pytest.mark.parametrize("size", [300, 1100, 20_000])
def test_a_database_is_at_most_twice_its_lines(path: Path, size: int) -> None:
    count = 2_000_000 // size
    with open_store(path) as store:
        for first in range(1, count + 1, 100):
            store.send(make_batch(first, min(count, first + 99), text="x" * size))
    assert path.stat().st_size < 2 * count * size + 300_000
