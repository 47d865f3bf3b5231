"""Many deploys at once, before many open pages."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

from tests.integration.dashboard.serving import (
    Events,
    Sender,
    Serving,
    get_messages,
    open_events,
)
from tests.waiting import PATIENCE

DEPLOYS, PAGES = 50, 200
#: Every deploy sends so many batches of so many lines, one every so many seconds.
BATCHES, LINES, PAUSE_SECONDS = 8, 40, 0.5
#: How far a page may be behind what is stored, in seconds.
MOST_BEHIND = 2.0
TRIES = 3

MESSAGES = ["before", *(f"line {number}" for number in range(BATCHES * LINES))]


def send(client: Sender, number: int, opened: Barrier) -> list[float]:
    """Send a deploy's batches, each after the answer to the one before; when they were stored."""
    stored = []
    opened.wait(PATIENCE)
    # Fifty deploys do not send at the very same moment.
    time.sleep(PAUSE_SECONDS * number / DEPLOYS)
    for first in range(1, len(MESSAGES), LINES):
        assert client.logs(first + 1, *MESSAGES[first : first + LINES]) == 200
        stored.append(time.monotonic())
        time.sleep(PAUSE_SECONDS)
    return stored


def watch(serving: Serving, deploy_id: str, opened: Barrier) -> list[float]:
    """Follow a deploy until all of its lines are there; when each batch was."""
    seen: list[float] = []

    def note(events: Events) -> bool:
        seen.extend([time.monotonic()] * ((len(events.lines) - 1) // LINES - len(seen)))
        return len(seen) == BATCHES

    with open_events(serving, deploy_id) as events:
        opened.wait(PATIENCE)
        events.read_until(note)
        assert get_messages(events.lines) == MESSAGES
    return seen


def measure(serving: Serving, name: str) -> float:
    """Let all deploys send before all pages; by how many seconds the slowest page was behind."""
    opened = Barrier(DEPLOYS + PAGES)
    ids = [f"{name}-{number}" for number in range(DEPLOYS)]
    with ExitStack() as stack:
        clients = [stack.enter_context(serving.build_client(deploy_id)) for deploy_id in ids]
        for client in clients:
            # A page can be opened once there is a deploy.
            assert client.logs(1, MESSAGES[0]) == 200
        pool = stack.enter_context(ThreadPoolExecutor(DEPLOYS + PAGES))
        sent = [pool.submit(send, client, n, opened) for n, client in enumerate(clients)]
        pages = [pool.submit(watch, serving, ids[n % DEPLOYS], opened) for n in range(PAGES)]
        return max(
            seen - stored
            for n, page in enumerate(pages)
            for stored, seen in zip(sent[n % DEPLOYS].result(), page.result(), strict=True)
        )


def test_fifty_deploys_before_two_hundred_pages_lose_nothing_and_are_seen_in_time(
    tmp_path: Path,
) -> None:
    behind: list[float] = []
    with Serving(tmp_path) as serving:
        for number in range(TRIES):
            behind.append(measure(serving, f"try-{number}"))
            if behind[-1] <= MOST_BEHIND:
                return
    raise AssertionError(f"pages were behind by {behind} s")
