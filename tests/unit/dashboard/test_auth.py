from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from nvoi.dashboard.app import build_app
from nvoi.dashboard.auth import choose_next, is_same
from nvoi.dashboard.database import Database
from nvoi.dashboard.sessions import IDLE, RENEWAL, Sessions
from nvoi.dashboard.workers import Writer
from nvoi.secret import Secret
from tests.unit.dashboard.asgi import Exchange, open_dashboard

PASSWORD = Secret("correct horse battery")


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read_rows(database: Database) -> list[tuple[bytes, int, int]]:
    with database.read() as connection:
        return connection.execute("SELECT digest, created_at, used_at FROM sessions").fetchall()


def test_a_login_that_is_cut_off_is_no_fault_of_ours(tmp_path: Path) -> None:
    exchange = Exchange("/login", "POST", parts=[{"type": "http.disconnect"}])
    with open_dashboard(tmp_path) as dashboard:
        asyncio.run(exchange.run(build_app(dashboard)))
    assert exchange.status == 400


@pytest.mark.parametrize("token", ["", "x", "ÿ", "0" * 43])
def test_another_token_finds_none(writer: Writer, token: str) -> None:
    sessions = Sessions(PASSWORD, writer)
    asyncio.run(sessions.open())
    assert sessions.find(token) is None


def test_neither_token_nor_password_is_stored(database: Database, writer: Writer) -> None:
    token = asyncio.run(Sessions(PASSWORD, writer).open())
    files = b"".join(path.read_bytes() for path in database.path.parent.iterdir())
    assert read_rows(database)
    assert token.encode() not in files
    assert PASSWORD.reveal().encode() not in files


def test_an_ended_session_is_gone_for_good(database: Database, writer: Writer) -> None:
    sessions = Sessions(PASSWORD, writer)
    token = asyncio.run(sessions.open())
    digest = sessions.find(token)
    assert digest is not None
    assert asyncio.run(sessions.end(token))
    assert sessions.find(token) is None
    assert not sessions.is_open(digest)
    assert read_rows(database) == []


def test_ending_what_is_no_session_changes_nothing(database: Database, writer: Writer) -> None:
    sessions = Sessions(PASSWORD, writer)
    asyncio.run(sessions.open())
    assert asyncio.run(sessions.end("x"))
    assert len(read_rows(database)) == 1


def test_a_session_that_is_not_used_for_long_ends(writer: Writer, clock: Clock) -> None:
    sessions = Sessions(PASSWORD, writer, clock)
    token = asyncio.run(sessions.open())
    clock.now += IDLE
    assert sessions.find(token)
    clock.now += IDLE + 1
    assert sessions.find(token) is None


def test_use_is_written_down_once_a_day(database: Database, writer: Writer, clock: Clock) -> None:
    sessions = Sessions(PASSWORD, writer, clock)
    token = asyncio.run(sessions.open())
    opened = clock.now
    clock.now += RENEWAL - 1
    digest = sessions.find(token)
    assert digest is not None
    assert not asyncio.run(sessions.renew(digest))
    clock.now += 1
    sessions.find(token)
    assert asyncio.run(sessions.renew(digest))
    assert not asyncio.run(sessions.renew(digest))
    assert read_rows(database) == [(digest, opened, clock.now)]


def test_a_login_clears_away_what_ended_by_itself(
    database: Database, writer: Writer, clock: Clock
) -> None:
    sessions = Sessions(PASSWORD, writer, clock)
    asyncio.run(sessions.open())
    clock.now += IDLE + 1
    token = asyncio.run(sessions.open())
    assert [row[0] for row in read_rows(database)] == [sessions.find(token)]


def test_who_logs_in_while_the_database_is_locked_can_read_until_a_restart(
    database: Database, writer: Writer
) -> None:
    sessions = Sessions(PASSWORD, writer)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    token = asyncio.run(sessions.open())
    other.close()
    assert sessions.find(token)
    assert read_rows(database) == []


def test_a_logout_that_cannot_be_written_down_says_so(database: Database, writer: Writer) -> None:
    sessions = Sessions(PASSWORD, writer)
    token = asyncio.run(sessions.open())
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not asyncio.run(sessions.end(token))
    other.close()
    assert sessions.find(token) is None


@pytest.mark.parametrize(
    "guess", ["", "correct", PASSWORD.reveal() + "x", PASSWORD.reveal().upper(), "\ud800"]
)
def test_another_text_is_not_the_password(guess: str) -> None:
    assert not is_same(PASSWORD, guess)


@pytest.mark.parametrize(
    "path",
    ["/", "/projects/web", "/projects/web/deploys/a%2Fb?attempt=2", "/projects/web?x=//evil"],
)
def test_a_login_leads_on_to_a_page_of_this_server(path: str) -> None:
    assert choose_next(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "projects",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "/projects\r\nSet-Cookie: x=y",
        " //evil.example",
        "/ü",
    ],
)
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert choose_next(path) == "/"
