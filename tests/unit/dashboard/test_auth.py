"""Readers' sessions; what they come to over HTTP is tested there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nvoi.dashboard.auth import IDLE, RENEWAL, Sessions, choose_next
from nvoi.dashboard.database import Database, Writer
from nvoi.secret import Secret
from tests.unit.dashboard.faults import locked

PASSWORD = Secret("correct horse battery")


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(writer: Writer, clock: Clock) -> Sessions:
    return Sessions(PASSWORD, writer, clock)


def read_rows(database: Database) -> list[tuple[bytes, int]]:
    with database.read() as sql:
        return sql.execute("SELECT digest, used_at FROM sessions").fetchall()


def test_neither_token_nor_password_is_stored(
    database: Database, sessions: Sessions, tmp_path: Path
) -> None:
    token = asyncio.run(sessions.open())
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert read_rows(database)
    assert token.encode() not in files
    assert PASSWORD.reveal().encode() not in files


def test_a_session_ends_when_it_is_ended_and_no_other_does(
    database: Database, sessions: Sessions
) -> None:
    token = asyncio.run(sessions.open())
    for other in ("", "x", "ÿ", "0" * 43):
        assert sessions.find(other) is None
        assert asyncio.run(sessions.end(other))
    digest = sessions.find(token)
    assert digest is not None
    assert asyncio.run(sessions.end(token))
    assert (sessions.find(token), sessions.is_open(digest)) == (None, False)
    assert read_rows(database) == []


def test_a_session_that_is_not_used_for_long_ends_and_is_cleared_away(
    database: Database, sessions: Sessions, clock: Clock
) -> None:
    token = asyncio.run(sessions.open())
    clock.now += IDLE
    assert sessions.find(token)
    clock.now += IDLE + 1
    assert sessions.find(token) is None
    token = asyncio.run(sessions.open())
    assert [row[0] for row in read_rows(database)] == [sessions.find(token)]


def test_use_is_written_down_once_a_day(
    database: Database, sessions: Sessions, clock: Clock
) -> None:
    token = asyncio.run(sessions.open())
    clock.now += RENEWAL - 1
    digest = sessions.find(token)
    assert digest is not None
    assert not asyncio.run(sessions.renew(digest))
    clock.now += 1
    sessions.find(token)
    assert [asyncio.run(sessions.renew(digest)) for _ in range(2)] == [True, False]
    assert read_rows(database) == [(digest, clock.now)]


def test_while_the_database_takes_nothing_readers_log_in_until_a_restart_and_are_told_at_the_end(
    database: Database, sessions: Sessions
) -> None:
    with locked(database.path):
        token = asyncio.run(sessions.open())
        assert sessions.find(token)
        assert read_rows(database) == []
        assert not asyncio.run(sessions.end(token))
    assert sessions.find(token) is None


@pytest.mark.parametrize(
    ("path", "leads_on"),
    [
        ("/projects/web/deploys/a%2Fb?attempt=2", True),
        ("/projects/web?x=//evil", True),
        ("", False),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https://evil.example/", False),
        ("/\t/evil.example", False),
        ("/projects\r\nSet-Cookie: x=y", False),
        ("/ü", False),
    ],
)
def test_a_login_leads_on_to_pages_of_this_server_alone(path: str, *, leads_on: bool) -> None:
    assert choose_next(path) == (path if leads_on else "/")
