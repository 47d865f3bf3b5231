"""Waking those who listen, and reading once for all of them."""

from __future__ import annotations

import asyncio

import pytest

from nvoi.dashboard.feed import Feed
from tests.waiting import PATIENCE


def test_notices_that_come_quickly_become_few_wakes_and_the_last_is_not_lost() -> None:
    async def run() -> tuple[int, bool]:
        feed = Feed()
        with feed.listen("a") as channel:
            for _ in range(1000):
                feed.notify("a")
            before = channel.version
            return before, await channel.wait(before, PATIENCE)

    assert asyncio.run(run()) == (1, True)


def test_what_several_want_at_one_version_is_read_once_though_one_of_them_goes() -> None:
    async def run() -> list[int]:
        feed, go_on, calls = Feed(), asyncio.Event(), []

        async def read() -> int:
            calls.append(1)
            await go_on.wait()
            return len(calls)

        with feed.listen("a") as channel:
            readings = [asyncio.ensure_future(channel.share("key", read)) for _ in range(10)]
            await asyncio.sleep(0)
            readings.pop().cancel()
            await asyncio.sleep(0)
            go_on.set()
            first = await asyncio.gather(*readings)
            feed.notify("a")
            return [*first, await channel.share("key", read)]

    assert asyncio.run(run()) == [1] * 9 + [2]


def test_a_reading_that_fails_fails_for_all_who_wanted_it() -> None:
    async def run() -> list[object]:
        feed = Feed()

        async def read() -> str:
            await asyncio.sleep(0)
            raise OSError("no disk")

        with feed.listen("a") as channel:
            readings = [channel.share("key", read) for _ in range(2)]
            return list(await asyncio.gather(*readings, return_exceptions=True))

    assert [str(error) for error in asyncio.run(run())] == ["no disk"] * 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_feed_that_closes_wakes_all_for_the_last_time(when: str) -> None:
    async def run() -> tuple[bool, bool]:
        feed = Feed()
        if when == "before":
            feed.close()
        with feed.listen("a") as channel:
            waiting = asyncio.ensure_future(channel.wait(channel.version, PATIENCE))
            await asyncio.sleep(0)
            if when == "after":
                feed.close()
            return await waiting, channel.closed

    assert asyncio.run(run()) == (True, True)
