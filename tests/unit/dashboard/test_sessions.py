"""Readers' sessions, and guesses at the password; what both come to over HTTP is tested there."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from nvoi.dashboard.auth import choose_next
from nvoi.dashboard.database import Database, Writer
from nvoi.dashboard.sessions import (
    GUESS_WINDOW,
    GUESSES_OF_ALL,
    GUESSES_OF_ONE,
    IDLE,
    LONGEST_WAIT,
    RENEWAL,
    WAITING_OF_ALL,
    WAITING_OF_ONE,
    Guesses,
    Sessions,
)
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


# -- guesses --------------------------------------------------------------------------------


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def guess_wrong(guesses: Guesses, count: int) -> None:
    for number in range(count):
        guesses.add_wrong(f"client {number}")


def test_a_client_may_guess_wrong_a_few_times_and_then_waits_longer_each_time(
    guesses: Guesses, clock: Clock
) -> None:
    waits = []
    for _ in range(GUESSES_OF_ONE + 7):
        waits.append(guesses.find_wait("a"))
        guesses.add_wrong("a")
    assert waits == [0] * GUESSES_OF_ONE + [1, 2, 4, 8, 16, LONGEST_WAIT, LONGEST_WAIT]
    assert guesses.find_wait("b") == 0
    clock.now += int(GUESS_WINDOW)
    assert guesses.find_wait("a") == 0


def test_many_clients_together_wait_but_not_who_knew_the_password(
    guesses: Guesses, clock: Clock
) -> None:
    guesses.add_right("known")
    guess_wrong(guesses, GUESSES_OF_ALL - 1)
    assert guesses.find_wait("another") == 0
    guess_wrong(guesses, 1)
    assert (guesses.find_wait("another"), guesses.find_wait("known")) == (1, 0)
    guess_wrong(guesses, 1000)
    assert guesses.find_wait("another") == LONGEST_WAIT
    # It waits for guesses of its own.
    for _ in range(GUESSES_OF_ONE):
        guesses.add_wrong("known")
    assert guesses.find_wait("known") == 1
    clock.now += int(GUESS_WINDOW)
    assert guesses.find_wait("another") == 0


def test_the_right_password_forgives_the_wrong_ones_before_it(guesses: Guesses) -> None:
    for _ in range(GUESSES_OF_ONE - 1):
        guesses.add_wrong("a")
    guesses.add_right("a")
    guesses.add_wrong("a")
    assert guesses.find_wait("a") == 0


def test_only_so_many_guesses_wait_at_one_time(guesses: Guesses) -> None:
    guesses.add_right("known")
    for _ in range(GUESSES_OF_ALL):
        guesses.add_wrong("a")
    with contextlib.ExitStack() as stack:

        def hold(client: str) -> float | None:
            return stack.enter_context(guesses.hold(client))

        waits = [hold("a") for _ in range(WAITING_OF_ONE + 1)]
        assert waits == [LONGEST_WAIT] * WAITING_OF_ONE + [None]
        waits = [hold(f"client {number}") for number in range(WAITING_OF_ALL - WAITING_OF_ONE + 1)]
        assert waits == [1] * (WAITING_OF_ALL - WAITING_OF_ONE) + [None]
        assert hold("known") == 0
    with guesses.hold("a") as wait:
        assert wait == LONGEST_WAIT
