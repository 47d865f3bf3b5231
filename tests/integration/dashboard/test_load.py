"""Many deploys at once, before many open pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.fakes.client import build_record, sign
from tests.integration.dashboard.serving import Serving, build_path, get_messages
from tests.integration.streams import KEY

DEPLOYS, PAGES = 50, 200
#: Every deploy sends so many batches of so many lines, one every so many seconds.
BATCHES, LINES, PAUSE_SECONDS = 8, 40, 0.5
#: How far a page may be behind what is stored, in seconds.
MOST_BEHIND = 2.0
TRIES = 3


@dataclass
class Run:
    """A deploy's batches, by when they were acknowledged."""

    deploy_id: str
    acknowledged: list[float] = field(default_factory=list)


@dataclass
class Page:
    """An open page: the messages it has, and when each batch was complete."""

    run: Run
    messages: list[str] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)


@contextlib.asynccontextmanager
async def connect(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the dashboard."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def send(url: str, run: Run, number: int) -> None:
    """A deploy's batches, each after the answer to the one before."""
    # Fifty deploys do not send at the very same moment.
    await asyncio.sleep(PAUSE_SECONDS * number / DEPLOYS)
    async with connect(url) as (reader, writer):
        for batch in range(BATCHES):
            first = batch * LINES + 1
            records = [build_record(f"line {first + index}") for index in range(LINES)]
            body = json.dumps({"logs": records}).encode()
            headers = {
                "Host": urlsplit(url).netloc,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "X-Nvoi-Sequence": f"{first}-{first + LINES - 1}",
                **sign(KEY, f"msg_{run.deploy_id}_{batch}", body),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            path = f"/api/deploys/{run.deploy_id}/logs"
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split()[0]))
            run.acknowledged.append(time.monotonic())
            await asyncio.sleep(PAUSE_SECONDS)


async def watch(url: str, page: Page, opened: asyncio.Semaphore) -> None:
    """A page, until it has every line of its deploy."""
    async with connect(url) as (reader, writer):
        path = f"{build_path(page.run.deploy_id)}/events"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        opened.release()
        while len(page.messages) < 1 + BATCHES * LINES:
            event = await reader.readuntil(b"\n\n")
            if b"event: lines\n" in event:
                page.messages += get_messages(json.loads(event.partition(b"data: ")[2]))
                whole = (len(page.messages) - 1) // LINES - len(page.complete)
                page.complete += [time.monotonic()] * whole


async def measure(serving: Serving, name: str) -> float:
    """Let all deploys send before all pages; by how many seconds the slowest page was behind."""
    runs = [Run(f"{name}-{number}") for number in range(DEPLOYS)]
    for run in runs:
        # A page can be opened once there is a deploy.
        with serving.build_client(run.deploy_id) as client:
            record = {"logs": [build_record("before")]}
            assert client.post("logs", record, webhook_id=f"msg_{run.deploy_id}_before") == 200
    pages = [Page(runs[number % DEPLOYS]) for number in range(PAGES)]
    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for page in pages:
            group.create_task(watch(serving.url, page, opened))
        for _ in pages:
            await opened.acquire()
        for number, run in enumerate(runs):
            group.create_task(send(serving.url, run, number))
    expected = ["before", *(f"line {number}" for number in range(1, 1 + BATCHES * LINES))]
    for page in pages:
        assert page.messages == expected
    return max(
        seen - stored
        for page in pages
        for stored, seen in zip(page.run.acknowledged, page.complete, strict=True)
    )


def test_fifty_deploys_before_two_hundred_pages_lose_nothing_and_are_seen_in_time(
    tmp_path: Path,
) -> None:
    behind: list[float] = []
    with Serving(tmp_path) as serving:
        for number in range(TRIES):
            behind.append(asyncio.run(measure(serving, f"try-{number}")))
            if behind[-1] <= MOST_BEHIND:
                return
    raise AssertionError(f"pages were behind by {behind} s")
