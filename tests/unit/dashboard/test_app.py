from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from nvoi.dashboard.app import (
    PAUSE_SECONDS,
    PIECE_BYTES,
    Complaints,
    PieceMiddleware,
    answer_fault,
)


def test_a_fault_of_the_dashboards_own_tells_nothing_of_itself() -> None:
    answer = asyncio.run(answer_fault(Request({"type": "http"}), ValueError("a secret")))
    assert answer.status_code == 500
    assert answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"secret" not in bytes(answer.body)


def test_the_same_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    complaints = Complaints(logging.getLogger("complaints"), clock=lambda: now)
    for text in ("the disk is full", "the disk is full", "it is locked", "the disk is full"):
        complaints.warn(text)
        now += 1
    assert caplog.messages == ["the disk is full", "it is locked"]
    now = PAUSE_SECONDS
    complaints.warn("the disk is full")
    assert caplog.messages == ["the disk is full", "it is locked", "the disk is full"]


@pytest.mark.parametrize("size", [0, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_what_is_long_is_sent_in_pieces(size: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    body = bytes(number % 251 for number in range(size))
    app = PieceMiddleware(Response(body))
    asyncio.run(app({"type": "http", "method": "GET"}, receive, send))
    _, *pieces = sent
    assert b"".join(piece["body"] for piece in pieces) == body
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert [piece.get("more_body", False) for piece in pieces][-1:] == [False]
    assert len(pieces) == max(1, -(-size // PIECE_BYTES))
