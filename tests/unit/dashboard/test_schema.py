from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.dashboard.connections import connect
from nvoi.dashboard.database import open_database
from nvoi.dashboard.schema import MIGRATIONS, migrate, read_version
from tests.unit.dashboard.faults import start_python

NEXT = (*MIGRATIONS, ("CREATE TABLE added (x)", "INSERT INTO added VALUES (1)"))
BROKEN = (*NEXT, ("CREATE TABLE half (x)", "DROP TABLE added", "no SQL at all"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dashboard.sqlite3"
    open_database(path).close()
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(path)) as connection:
        yield connection


def list_tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def test_a_new_database_has_had_every_migration(connection: sqlite3.Connection) -> None:
    assert read_version(connection) == len(MIGRATIONS)
    assert {"projects", "keys", "attempts", "lines", "gaps"} <= list_tables(connection)


def test_an_older_database_gets_what_it_misses_and_keeps_what_it_has(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("INSERT INTO options VALUES ('a', 'b')")
    migrate(connection, NEXT)
    assert read_version(connection) == len(NEXT)
    assert connection.execute("SELECT x FROM added").fetchall() == [(1,)]
    assert connection.execute("SELECT * FROM options").fetchall() == [("a", "b")]


def test_a_migration_that_was_had_is_not_had_again(connection: sqlite3.Connection) -> None:
    migrate(connection, NEXT)
    migrate(connection, NEXT)
    assert connection.execute("SELECT count(*) FROM added").fetchone() == (1,)


def test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay(
    connection: sqlite3.Connection,
) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, BROKEN)
    assert not connection.in_transaction
    assert read_version(connection) == len(NEXT)
    assert "added" in list_tables(connection)
    assert "half" not in list_tables(connection)


def test_two_migrate_at_once_and_one_of_them_does_it(
    connection: sqlite3.Connection, path: Path
) -> None:
    with contextlib.closing(connect(path)) as other:
        assert read_version(other) == len(MIGRATIONS)
        migrate(connection, NEXT)
        migrate(other, NEXT)
    assert connection.execute("SELECT count(*) FROM added").fetchone() == (1,)


KILLED = """
import os, signal, sys
from pathlib import Path
from nvoi.dashboard.connections import connect
from nvoi.dashboard.schema import MIGRATIONS, migrate

connection = connect(Path(sys.argv[1]))
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate(connection, (*MIGRATIONS, ("CREATE TABLE half (x)", "DROP TABLE lines", "SELECT die()")))
"""


def test_a_migration_that_is_killed_leaves_nothing(path: Path) -> None:
    with start_python(KILLED, path) as process:
        assert process.wait(30) == -signal.SIGKILL
    with contextlib.closing(connect(path)) as connection:
        assert read_version(connection) == len(MIGRATIONS)
        assert "lines" in list_tables(connection)
        assert "half" not in list_tables(connection)
    open_database(path).close()
