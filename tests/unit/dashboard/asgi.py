"""Drives the dashboard's routes without a server: where a test waits for what takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message


@dataclass
class Exchange:
    """One request, whose body a test gives in parts, and what was answered.

    With nothing left to give, the client says nothing more, and does not go away either.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: list[Message] = field(default_factory=list)
    client: str = "127.0.0.1"
    status: int = 0
    answered: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    is_whole: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, app: ASGIApp) -> None:
        """Have it answered."""
        raw, _, query = self.path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": self.method,
            "path": raw,
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": [
                (name.lower().encode(), value.encode()) for name, value in self.headers.items()
            ],
            "client": (self.client, 1),
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self.parts:
            await asyncio.Event().wait()
        return self.parts.pop(0)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.data += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
        self.changed.set()
