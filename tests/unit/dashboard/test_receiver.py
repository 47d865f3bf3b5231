"""The receiver, and bodies that do not come as they should."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from nvoi.dashboard import receiver
from nvoi.dashboard.app import build_app
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.receiver import ForgeryError, verify_request
from nvoi.protocol import sign, sign_webhook
from nvoi.secret import Secret
from tests.unit.dashboard.asgi import Exchange
from tests.unit.dashboard.stores import KEY
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOGS = "/api/deploys/run-1/logs"


def chunk(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


def build_exchange(body: bytes, *, client: str = "192.0.2.1") -> Exchange:
    """A signed batch."""
    headers = {"X-Nvoi-Signature": sign(body, KEY.reveal()), "Content-Type": "application/json"}
    return Exchange(LOGS, "POST", headers, [chunk(body, more=False)], client=client)


def test_a_request_that_is_given_up_while_it_is_stored_wakes_the_open_pages(
    dashboard: Dashboard,
) -> None:
    line = b'{"level": "info", "message": "one", "logged_at": "2024-01-15T10:30:00.123Z"}'
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    async def run() -> bool:
        dashboard.writer.submit(hold)
        await asyncio.to_thread(begun.wait, 30)
        with dashboard.feed.listen(("default", "run-1")) as listener:
            version = listener.version
            exchange = build_exchange(b'{"logs": [%b]}' % line)
            task = asyncio.ensure_future(exchange.run(build_app(dashboard)))
            # Until the writer has it, behind the job that holds it up.
            while dashboard.writer._jobs.empty():
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert exchange.status == 0
            go_on.set()
            return await listener.wait(version, 30)

    assert asyncio.run(run())


# -- limits ---------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("limit", "statuses"), [("HELD_BYTES", [503, 503]), ("HELD_BYTES_OF_ONE", [503, 200])]
)
def test_no_more_bodies_are_held_than_memory_is_for(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, limit: str, statuses: list[int]
) -> None:
    monkeypatch.setattr(receiver, limit, 100)

    async def post(app: Starlette, client: str) -> int:
        exchange = build_exchange(b'{"logs": []}', client=client)
        await exchange.run(app)
        return exchange.status

    async def run() -> list[int]:
        app = build_app(dashboard)
        async with holding(app, "192.0.2.1"):
            found = [await post(app, f"192.0.2.{last}") for last in (1, 2)]
        # What was held is let go with whoever sent it, and once it is answered.
        assert [await post(app, "192.0.2.1") for _ in range(10)] == [200] * 10
        return found

    assert asyncio.run(run()) == statuses


# -- signatures -----------------------------------------------------------------------------

OTHER = Secret("cd" * 32)
BODY = b'{"logs": []}'
NOW = 1_700_000_000.0


def build_headers(
    key: Secret = KEY, *, body: bytes = BODY, webhook_id: str = "msg_1", timestamp: float = NOW
) -> dict[str, str]:
    text = key.reveal()
    return {
        "x-nvoi-signature": sign(body, text),
        "webhook-id": webhook_id,
        "webhook-timestamp": f"{timestamp:.0f}",
        "webhook-signature": sign_webhook(body, text, webhook_id, int(timestamp)),
    }


@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER], [OTHER, KEY]])
@pytest.mark.parametrize("off", [-300, 0, 300])
def test_a_right_request_gives_its_webhook_id_if_it_has_one(keys: list[Secret], off: int) -> None:
    headers = build_headers(timestamp=NOW + off)
    assert verify_request(BODY, headers, keys, now=NOW) == "msg_1"
    # One of several webhook signatures will do.
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert verify_request(BODY, headers, keys, now=NOW) == "msg_1"
    plain = {"x-nvoi-signature": sign(BODY, KEY.reveal())}
    assert verify_request(BODY, plain, keys, now=NOW) is None


@pytest.mark.parametrize("off", [-301, 301])
def test_a_request_of_another_time_is_refused_and_its_sender_told_so(off: int) -> None:
    with pytest.raises(ForgeryError, match=f"{abs(off)} s off this server's clock"):
        verify_request(BODY, build_headers(timestamp=NOW + off), [KEY], now=NOW)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(build_headers(OTHER), id="of another key"),
        pytest.param(build_headers(body=b"{}"), id="of another body"),
        pytest.param(build_headers() | {"x-nvoi-signature": "sha256=é\udcff"}, id="not ASCII"),
        pytest.param(
            build_headers() | {"x-nvoi-signature": sign(BODY, OTHER.reveal())}, id="of two keys"
        ),
        pytest.param(build_headers() | {"webhook-id": "msg_2"}, id="another id"),
        pytest.param(build_headers() | {"webhook-timestamp": f"{NOW + 1:.0f}"}, id="another time"),
        pytest.param(build_headers() | {"webhook-timestamp": "1" * 400}, id="endless time"),
        pytest.param(build_headers() | {"webhook-signature": "v1,AAAA"}, id="webhook wrong"),
        pytest.param(build_headers(webhook_id="a.b"), id="an id with a dot"),
        pytest.param(build_headers(webhook_id="x" * 256), id="a long id"),
        pytest.param(build_headers(webhook_id=""), id="an empty id"),
    ],
)
def test_what_is_not_signed_as_it_should_is_refused(headers: dict[str, str]) -> None:
    for keys in ([KEY], []):
        with pytest.raises(ForgeryError, match=r"^the signature is missing or wrong$"):
            verify_request(BODY, headers, keys, now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_where_one_webhook_header_is_there_all_must_be(missing: str) -> None:
    headers = build_headers()
    del headers[missing]
    with pytest.raises(ForgeryError):
        verify_request(BODY, headers, [KEY], now=NOW)
