"""The receiver, and bodies that do not come as they should."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nvoi.dashboard import receiver
from nvoi.dashboard.app import build_app
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.receiver import ForgeryError, verify_request
from nvoi.protocol import sign, sign_webhook
from nvoi.secret import Secret
from tests.unit.dashboard.asgi import Exchange, open_dashboard
from tests.unit.dashboard.stores import KEY
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOGS = "/api/deploys/run-1/logs"


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    with open_dashboard(tmp_path) as opened:
        yield opened


def chunk(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


def post(dashboard: Dashboard, *parts: dict[str, object], **headers: str) -> Exchange:
    exchange = Exchange(LOGS, "POST", headers, list(parts))
    asyncio.run(exchange.run(build_app(dashboard)))
    return exchange


def test_a_body_that_does_not_come_is_not_waited_for(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.05)
    exchange = post(dashboard, chunk(b"{", more=True))
    assert exchange.status == 408
    assert "error" in json.loads(exchange.data)


def build_signed(*lines: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """A batch, and the headers that it is taken with."""
    body = json.dumps({"logs": lines}).encode()
    return body, {
        "X-Nvoi-Signature": sign(body, KEY.reveal()),
        "Content-Type": "application/json",
    }


def test_a_request_that_is_given_up_while_it_is_stored_wakes_the_open_pages(
    dashboard: Dashboard,
) -> None:
    line = {"level": "info", "message": "one", "logged_at": "2024-01-15T10:30:00.123Z"}
    body, headers = build_signed(line)
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    async def run() -> bool:
        dashboard.writer.submit(hold)
        await asyncio.to_thread(begun.wait, 30)
        with dashboard.feed.listen(("default", "run-1")) as listener:
            version = listener.version
            exchange = Exchange(LOGS, "POST", headers, [chunk(body, more=False)])
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
        app = build_app(dashboard)
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
        app = build_app(dashboard)
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
    body, signed = build_signed()
    exchange = Exchange(LOGS, "POST", signed, [chunk(body, more=False)], client=client)
    await exchange.run(app)
    return exchange


def test_nothing_is_held_once_all_is_answered(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "HELD_BYTES", 1000)
    monkeypatch.setattr(receiver, "FORGERY_BURST", 1000.0)
    app = build_app(dashboard)
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


def test_a_right_request_gives_its_webhook_id() -> None:
    assert verify_request(BODY, build_headers(), [KEY], now=NOW) == "msg_1"


def test_the_plain_signature_alone_will_do_and_gives_no_id() -> None:
    headers = {"x-nvoi-signature": sign(BODY, KEY.reveal())}
    assert verify_request(BODY, headers, [KEY], now=NOW) is None


@pytest.mark.parametrize("keys", [[KEY, OTHER], [OTHER, KEY]])
def test_every_key_is_tried(keys: list[Secret]) -> None:
    assert verify_request(BODY, build_headers(KEY), keys, now=NOW) == "msg_1"


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_a_time_within_five_minutes_is_now(off: int) -> None:
    assert verify_request(BODY, build_headers(timestamp=NOW + off), [KEY], now=NOW) == "msg_1"


@pytest.mark.parametrize("off", [-301, 301, -(10**6)])
def test_a_request_of_another_time_is_refused_and_its_sender_told_so(off: int) -> None:
    with pytest.raises(ForgeryError, match=f"{abs(off)} s off this server's clock"):
        verify_request(BODY, build_headers(timestamp=NOW + off), [KEY], now=NOW)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(build_headers(OTHER), id="of another key"),
        pytest.param(build_headers(body=b"{}"), id="of another body"),
        pytest.param(build_headers() | {"x-nvoi-signature": ""}, id="empty"),
        pytest.param(build_headers() | {"x-nvoi-signature": "sha256=é\udcff"}, id="not ASCII"),
        pytest.param(
            build_headers() | {"x-nvoi-signature": sign(BODY, OTHER.reveal())},
            id="of two keys",
        ),
        pytest.param(build_headers() | {"webhook-id": "msg_2"}, id="another id"),
        pytest.param(build_headers() | {"webhook-timestamp": f"{NOW + 1:.0f}"}, id="another time"),
        pytest.param(build_headers() | {"webhook-timestamp": "now"}, id="no time"),
        pytest.param(build_headers() | {"webhook-timestamp": "1" * 400}, id="endless time"),
        pytest.param(build_headers() | {"webhook-signature": "v1,AAAA"}, id="webhook wrong"),
        pytest.param(build_headers(webhook_id="a.b"), id="an id with a dot"),
        pytest.param(build_headers(webhook_id="x" * 256), id="a long id"),
        pytest.param(build_headers(webhook_id=""), id="an empty id"),
    ],
)
def test_what_is_not_signed_as_it_should_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ForgeryError, match="the signature is missing or wrong"):
        verify_request(BODY, headers, [KEY], now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_where_one_webhook_header_is_there_all_must_be(missing: str) -> None:
    headers = build_headers()
    del headers[missing]
    with pytest.raises(ForgeryError):
        verify_request(BODY, headers, [KEY], now=NOW)


def test_one_of_several_webhook_signatures_will_do() -> None:
    headers = build_headers()
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert verify_request(BODY, headers, [KEY], now=NOW) == "msg_1"


def test_without_a_key_nothing_is_right() -> None:
    zero = Secret("0" * 64)
    with pytest.raises(ForgeryError):
        verify_request(BODY, build_headers(zero), [], now=NOW)


def test_no_refusal_names_a_key_or_a_signature() -> None:
    with pytest.raises(ForgeryError) as caught:
        verify_request(BODY, build_headers(OTHER), [KEY], now=NOW)
    text = str(caught.value)
    assert KEY.reveal() not in text
    assert sign(BODY, KEY.reveal())[7:] not in text
