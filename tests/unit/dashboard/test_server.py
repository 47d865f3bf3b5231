"""Where the dashboard listens."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.server import ServerState

from nvoi.dashboard import receiver, requests, server
from nvoi.dashboard.app import PIECE_BYTES, PieceMiddleware, build_app
from nvoi.dashboard.context import Dashboard
from nvoi.dashboard.server import Protocol, raise_file_limit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer_late(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A word after 0.2 s."""
    await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def converse(talk: Talk, app: ASGIApp = answer_late) -> None:
    """Have ``talk`` speak to a connection that the app answers."""

    async def run() -> None:
        config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None)
        config.load()
        here, there = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Protocol(config=config, server_state=ServerState(), app_state={}), there
        )
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            async with asyncio.timeout(30):
                await talk(reader, writer)
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

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        assert await reader.read() == b""

    converse(talk)


def test_an_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        # Who asks again only by half is sent away.
        writer.write(REQUEST[:10])
        assert await reader.read() == b""

    converse(talk)


@pytest.mark.parametrize("path", ["/api/deploys/run-1/logs", "/login"])
def test_after_a_body_that_did_not_come_the_connection_is_closed(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(requests, "_READ_SECONDS", 0.05)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nsome"
        writer.write(head.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")

    converse(talk, build_app(dashboard))


async def answer_at_length(_scope: Scope, _receive: Receive, send: Send) -> None:
    """16 MB, which no system holds for a connection."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(1 << 24)})


def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALL_SECONDS", 0.05)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(REQUEST)
        # The other side has closed: what is said there fails.
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < 1 << 24

    converse(talk, PieceMiddleware(answer_at_length))


def test_no_more_waits_for_a_slow_reader_than_a_piece_and_little_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    pause = Protocol.pause_writing

    def note(self: Protocol) -> None:
        sizes.append(self.transport.get_write_buffer_size())
        pause(self)

    monkeypatch.setattr(Protocol, "pause_writing", note)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST)
        await reader.readexactly(1 << 24)

    converse(talk, PieceMiddleware(answer_at_length))
    assert sizes
    assert max(sizes) <= server.WAITING_BYTES + PIECE_BYTES + 100


def test_a_system_that_refuses_more_files_is_served_with_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_kind: int, _limits: tuple[int, int]) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_file_limit()
