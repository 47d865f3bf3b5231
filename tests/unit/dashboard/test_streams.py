"""Streams of events, while nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from nvoi.dashboard import streams
from nvoi.dashboard.app import RequestMiddleware
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.projects import DEFAULT_PROJECT, remove_project
from tests.unit.dashboard.asgi import Exchange
from tests.unit.dashboard.stores import Store, make_batch, make_start

EVENTS = "/api/projects/default/deploys/run-1/events"


@pytest.fixture(autouse=True)
def started(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy has started, and streams are not patient."""
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.02)
    store.send(make_start(), deploy="run-1")


async def watch(
    dashboard: Dashboard,
    is_enough: Callable[[bytes], bool],
    then: Callable[[], None] = lambda: None,
) -> Exchange:
    """A stream until what it sent is enough; ``then`` is called once it has begun."""
    app = Starlette(routes=streams.ROUTES, middleware=[Middleware(RequestMiddleware)])
    app.state.dashboard = dashboard
    exchange = Exchange(EVENTS)
    task = asyncio.ensure_future(exchange.run(app))
    began = False
    async with asyncio.timeout(20):
        while not is_enough(exchange.data) and not task.done():
            changed = asyncio.ensure_future(exchange.changed.wait())
            await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            exchange.changed.clear()
            if not began and b"event: attempt" in exchange.data:
                began = True
                then()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return exchange


def test_a_stream_without_news_says_that_it_is_there(dashboard: Dashboard) -> None:
    exchange = asyncio.run(watch(dashboard, lambda data: data.count(b": still here\n\n") >= 3))
    assert exchange.data.startswith(b"retry: 1000\n\nevent: attempt\n")
    assert exchange.data.count(b"event: attempt\n") == 1
    # Nothing that lies between gathers or keeps it.
    assert exchange.answered["content-type"].startswith("text/event-stream")
    assert exchange.answered["cache-control"] == "no-store"
    assert exchange.answered["x-accel-buffering"] == "no"


def test_a_deploy_that_falls_silent_is_told_as_lost(dashboard: Dashboard) -> None:
    def fall_silent() -> None:
        sql = "UPDATE attempts SET last_seen_at = 0"
        dashboard.writer.submit(lambda connection: connection.execute(sql))

    exchange = asyncio.run(watch(dashboard, lambda data: b'"lost"' in data, fall_silent))
    assert exchange.data.count(b"event: attempt\n") == 2


def test_a_stream_ends_with_its_project(dashboard: Dashboard) -> None:
    def remove() -> None:
        dashboard.writer.submit(lambda sql: remove_project(sql, DEFAULT_PROJECT))

    exchange = asyncio.run(watch(dashboard, lambda data: False, remove))
    assert (exchange.status, exchange.is_whole) == (200, True)


def test_a_stream_ends_where_the_database_cannot_be_read(dashboard: Dashboard) -> None:
    def spoil() -> None:
        dashboard.writer.submit(lambda sql: sql.execute("ALTER TABLE gaps RENAME TO holes"))

    exchange = asyncio.run(watch(dashboard, lambda data: False, spoil))
    assert (exchange.status, exchange.is_whole) == (200, True)


def test_an_event_is_no_longer_than_its_bound_and_one_line(store: Store) -> None:
    size = 40_000
    store.send(make_batch(1, 120, text="x" * size))
    store.send(make_batch(121, 300))
    attempt, last, events = store.get().id, 0, []
    with store.database.read() as sql:
        while (news := streams.read_news(sql, attempt, last)).lines:
            events.append(news.lines)
            last = news.last
    assert last == 300
    assert max(map(len, events)) < streams.MOST_BYTES + size + 1000
    assert b"".join(events).count(b'"number":') == 300
