"""The receiver, and bodies that do not come as they should."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette

from nvoi.dashboard import receiver
from nvoi.dashboard.context import Dashboard
from nvoi.protocol import sign
from tests.unit.dashboard.asgi import KEY, Exchange, open_dashboard

LOGS = "/api/deploys/run-1/logs"


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    with open_dashboard(tmp_path) as opened:
        yield opened


def build(dashboard: Dashboard) -> Starlette:
    app = Starlette(routes=receiver.build_routes(dashboard))
    app.state.dashboard = dashboard
    return app


def chunk(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


def post(dashboard: Dashboard, *parts: dict[str, object], **headers: str) -> Exchange:
    exchange = Exchange(LOGS, "POST", headers, list(parts))
    asyncio.run(exchange.run(build(dashboard)))
    return exchange


def test_a_body_that_does_not_come_is_not_waited_for(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.05)
    exchange = post(dashboard, chunk(b"{", more=True))
    assert exchange.status == 408
    assert "error" in json.loads(exchange.data)


def build_signed() -> tuple[bytes, dict[str, str]]:
    """A batch of one line, and the headers that it is taken with."""
    line = {"level": "info", "message": "one", "logged_at": "2024-01-15T10:30:00.123Z"}
    body = json.dumps({"logs": [line]}).encode()
    return body, {
        "X-Nvoi-Signature": sign(body, KEY.reveal()),
        "Content-Type": "application/json",
    }


def test_a_request_that_is_given_up_while_it_is_stored_wakes_the_open_pages(
    dashboard: Dashboard,
) -> None:
    body, headers = build_signed()
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        begun.set()
        go_on.wait(30)

    async def run() -> bool:
        dashboard.writer.submit(hold)
        await asyncio.to_thread(begun.wait, 30)
        with dashboard.feed.listen(("default", "run-1")) as listener:
            version = listener.version
            exchange = Exchange(LOGS, "POST", headers, [chunk(body, more=False)])
            task = asyncio.ensure_future(exchange.run(build(dashboard)))
            # Until the writer has it, behind the job that holds it up.
            while dashboard.writer._jobs.empty():
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert exchange.status == 0
            go_on.set()
            return await listener.wait(version, 30)

    assert asyncio.run(run())


def test_a_rate_below_one_a_second_lets_the_first_request_through(dashboard: Dashboard) -> None:
    slow = replace(dashboard, settings=replace(dashboard.settings, rate=0.01))
    body, headers = build_signed()
    app = build(slow)

    async def run() -> list[int]:
        statuses = []
        for _ in range(2):
            exchange = Exchange(LOGS, "POST", headers, [chunk(body, more=False)])
            await exchange.run(app)
            statuses.append(exchange.status)
        return statuses

    assert asyncio.run(run()) == [200, 429]


def test_a_client_that_goes_away_leaves_nothing_behind(dashboard: Dashboard) -> None:
    assert post(dashboard, chunk(b"{", more=True), {"type": "http.disconnect"}).status == 400


@pytest.mark.parametrize(
    ("limit", "holder", "others"),
    [
        pytest.param("HELD_BYTES", "192.0.2.1", "192.0.2.2", id="of all"),
        pytest.param("HELD_BYTES_OF_ONE", "192.0.2.1", "192.0.2.1", id="of one"),
    ],
)
def test_no_more_bodies_are_held_than_memory_is_for(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, limit: str, holder: str, others: str
) -> None:
    monkeypatch.setattr(receiver, limit, 100)

    async def run() -> list[int]:
        app = build(dashboard)
        async with holding(app, holder):
            refused = await post_empty(app, others)
            assert refused.answered["retry-after"] == "1"
        # What was held is let go with whoever sent it.
        taken = await post_empty(app, others)
        return [refused.status, taken.status]

    assert asyncio.run(run()) == [503, 200]


def test_one_client_cannot_hold_what_others_need(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "HELD_BYTES_OF_ONE", 100)

    async def run() -> list[int]:
        app = build(dashboard)
        async with holding(app, "192.0.2.1"):
            return [(await post_empty(app, f"192.0.2.{last}")).status for last in (1, 2)]

    assert asyncio.run(run()) == [503, 200]


@asynccontextmanager
async def holding(app: Starlette, client: str) -> AsyncIterator[None]:
    """Inside, a body of which 99 bytes have come is waited for."""
    waiting = Exchange(LOGS, "POST", {}, [chunk(b"x" * 99, more=True)], client=client)
    task = asyncio.ensure_future(waiting.run(app))
    while waiting.parts:
        await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def post_empty(app: Starlette, client: str) -> Exchange:
    """Send a signed batch without lines."""
    body = b'{"logs": []}'
    signed = {"X-Nvoi-Signature": sign(body, KEY.reveal()), "Content-Type": "application/json"}
    exchange = Exchange(LOGS, "POST", signed, [chunk(body, more=False)], client=client)
    await exchange.run(app)
    return exchange


def test_nothing_is_held_once_all_is_answered(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "HELD_BYTES", 1000)
    monkeypatch.setattr(receiver, "FORGERY_BURST", 1000.0)
    app = build(dashboard)
    body = b"x" * 900

    async def run() -> set[int]:
        statuses = set()
        for parts in ([chunk(body, more=False)], [chunk(body, more=True), chunk(b"", more=False)]):
            for _ in range(5):
                exchange = Exchange(LOGS, "POST", {}, list(parts))
                await exchange.run(app)
                statuses.add(exchange.status)
        return statuses

    assert asyncio.run(run()) == {401}
