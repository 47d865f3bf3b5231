from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from nvoi.dashboard.database import lock_database, open_database
from nvoi.dashboard.errors import StorageError
from nvoi.dashboard.options import find_option, store_option
from nvoi.dashboard.schema import MIGRATIONS
from nvoi.errors import InputError, UsageError
from tests.unit.dashboard.faults import locked, start_python, without_privileges


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dash board #1?.sqlite3"


# -- opening --------------------------------------------------------------------------------


def test_every_file_of_a_new_database_is_its_owners_alone(path: Path) -> None:
    previous = os.umask(0)
    try:
        database = open_database(path)
        with lock_database(path), contextlib.closing(database.connect()) as connection:
            store_option(connection, "a", "b")
            files = sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())
            modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(previous)
    assert files == ["", "-shm", "-wal", ".lock"]
    assert modes == {0o600}
    database.close()


def test_commits_are_synced_and_space_can_be_given_back(path: Path) -> None:
    database = open_database(path)
    with contextlib.closing(database.connect()) as connection:
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys")
        ]
    assert values == ["wal", 2, 2, 1]
    database.close()


def test_an_opened_database_keeps_what_it_has(path: Path) -> None:
    for _ in range(2):
        database = open_database(path)
        with database.write() as connection:
            assert find_option(connection, "a") in (None, "b")
            store_option(connection, "a", "b")
        database.close()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT * FROM options").fetchall() == [("a", "b")]


def refuse(path: Path, reason: str) -> InputError:
    with pytest.raises(InputError, match=reason) as caught:
        open_database(path, busy_seconds=0.05)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "missing" / "x.sqlite3", "No such file or directory")
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "is no file")


def test_a_pipe_in_the_files_place_is_refused(path: Path) -> None:
    os.mkfifo(path)
    refuse(path, "is no file")


def test_a_link_to_nowhere_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "gone")
    refuse(path, "is no file")


def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "a\0b", "cannot make the database")
    refuse(tmp_path / ("x" * 300), "File name too long")


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"once upon a time " * 1000
    path.write_bytes(content)
    refuse(path, "it is no SQLite database")
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE lines (x)")
        plain.commit()
    content = path.read_bytes()
    refuse(path, "is the database of another program")
    assert path.read_bytes() == content


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    open_database(path).close()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        plain.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 6}")
    content = path.read_bytes()
    error = refuse(path, f"newer nvoi .its schema is {len(MIGRATIONS) + 6}, this nvoi knows")
    assert "upgrade nvoi" in error.hint
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused(path: Path) -> None:
    open_database(path).close()
    content = bytearray(path.read_bytes())
    content[100:] = b"\xa5" * (len(content) - 100)
    path.write_bytes(content)
    refuse(path, "it is damaged")


def test_a_database_that_another_process_keeps_locked_is_refused(path: Path) -> None:
    open_database(path).close()
    with locked(path):
        refuse(path, "another process keeps it locked")
    open_database(path).close()


def test_a_file_that_cannot_be_written_is_refused() -> None:
    with without_privileges() as folder:
        path = folder / "x.sqlite3"
        open_database(path).close()
        path.chmod(0o400)
        refuse(path, "it is read-only")


def test_a_file_that_cannot_be_read_is_refused() -> None:
    with without_privileges() as folder:
        path = folder / "x.sqlite3"
        open_database(path).close()
        path.chmod(0)
        refuse(path, "cannot be opened")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with without_privileges() as folder:
        inner = folder / "inner"
        inner.mkdir()
        path = inner / "x.sqlite3"
        open_database(path).close()
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


HOLDER = """
import sys, threading
from pathlib import Path
from nvoi.dashboard.database import lock_database
with lock_database(Path(sys.argv[1])):
    print("locked", flush=True)
    threading.Event().wait()
"""


def test_a_killed_process_leaves_no_lock(path: Path) -> None:
    with start_python(HOLDER, path) as process:
        assert process.stdout
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UsageError), lock_database(path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    with lock_database(path):
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


def test_readers_beside_each_other_have_connections_of_their_own(path: Path) -> None:
    database = open_database(path)
    with database.read() as one:
        with database.read() as two:
            assert one is not two
        with database.read() as three:
            assert three is two
    database.close()


def test_a_reader_cannot_write(path: Path) -> None:
    database = open_database(path)
    with pytest.raises(StorageError, match="it is read-only"), database.read() as connection:
        store_option(connection, "a", "b")
    database.close()


def test_a_write_that_raises_leaves_nothing(path: Path) -> None:
    database = open_database(path)
    with contextlib.suppress(KeyError), database.write() as connection:
        store_option(connection, "a", "b")
        raise KeyError
    with database.read() as connection:
        assert find_option(connection, "a") is None
    database.close()


def test_a_locked_database_can_be_read_and_not_written(path: Path) -> None:
    database = open_database(path, busy_seconds=0.05)
    with locked(path):
        with database.read() as connection:
            assert find_option(connection, "a") is None
        with (
            pytest.raises(StorageError, match="another process keeps it locked"),
            database.write(),
        ):
            pass
    with database.write() as connection:
        store_option(connection, "a", "b")
    database.close()


def test_a_file_that_has_gone_is_not_made_anew(path: Path) -> None:
    database = open_database(path)
    path.unlink()
    with pytest.raises(StorageError, match="cannot be opened"), database.read():
        pass
    with pytest.raises(StorageError, match="cannot be opened"), database.write():
        pass
    assert not path.exists()


def test_a_file_that_was_damaged_meanwhile_is_a_storage_error(path: Path) -> None:
    database = open_database(path)
    path.write_bytes(b"once upon a time " * 1000)
    with (
        pytest.raises(StorageError, match="it is no SQLite database"),
        database.read() as connection,
    ):
        find_option(connection, "a")
    database.close()


def test_a_relative_path_means_the_same_in_another_folder(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    database = open_database(Path(path.name))
    monkeypatch.chdir("/")
    with database.write() as connection:
        store_option(connection, "a", "b")
    database.close()
    assert database.path == path


def test_a_closed_database_lends_nothing(path: Path) -> None:
    database = open_database(path)
    with database.read() as connection:
        database.close()
        assert find_option(connection, "a") is None
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
    with pytest.raises(StorageError, match="is closed"), database.read():
        pass
