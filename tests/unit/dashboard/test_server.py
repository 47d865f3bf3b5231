"""Where the dashboard listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.server import ServerState

from nvoi.dashboard import server
from nvoi.dashboard.server import Protocol, format_origin


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")]
)
def test_an_ipv6_address_stands_in_brackets(host: str, url: str) -> None:
    assert format_origin(host, 80) == url


if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]


def converse(talk: Talk) -> None:
    """Have ``talk`` speak to a connection, whose answers wait for the event."""

    async def run() -> None:
        go_on = asyncio.Event()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await go_on.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        config = uvicorn.Config(answer, http=Protocol, lifespan="off", log_config=None)
        config.load()
        here, there = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Protocol(config=config, server_state=ServerState(), app_state={}), there
        )
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            async with asyncio.timeout(30):
                await talk(reader, writer, go_on)
        finally:
            writer.close()
            # The server may have closed before what was said here arrived.
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
def test_who_asks_for_nothing_in_time_is_sent_away(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)

    async def talk(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _go_on: asyncio.Event
    ) -> None:
        writer.write(said)
        assert await reader.read() == b""

    converse(talk)


def test_who_asks_again_only_by_half_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)

    async def talk(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go_on: asyncio.Event
    ) -> None:
        go_on.set()
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.write(REQUEST[:10])
        assert await reader.read() == b""

    converse(talk)


def test_an_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)

    async def talk(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go_on: asyncio.Event
    ) -> None:
        writer.write(REQUEST)
        asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")

    converse(talk)
