from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.dashboard import queries
from nvoi.dashboard.context import Dashboard, Settings
from nvoi.dashboard.database import Database, Reader, Writer
from nvoi.dashboard.feed import Feed
from nvoi.dashboard.schema import open_database
from tests.unit.dashboard.stores import NOON, Store, open_store, put_new


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is judged at the time at which all of it was received."""
    monkeypatch.setattr(queries, "read_clock", lambda: NOON)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "dashboard.sqlite3") as opened:
        yield opened


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "dashboard.sqlite3"
    put_new(path)
    database = open_database(path, busy_seconds=0.05)
    yield database
    database.close()


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    yield writer
    writer.close()


@pytest.fixture
def dashboard(store: Store) -> Iterator[Dashboard]:
    """The store's dashboard, which nobody can reach."""
    reader, settings = Reader(store.database), Settings()
    url = "http://127.0.0.1:8787"
    yield Dashboard(settings, store.writer, reader, store.keyring, Feed(), url)
    store.writer.close()
    reader.close()
