"""Waking those who listen."""

from __future__ import annotations

import asyncio

import pytest

from nvoi.dashboard.feed import Feed


def test_a_notice_wakes_those_of_its_topic_alone_also_between_reading_and_waiting() -> None:
    async def run() -> list[bool]:
        feed = Feed()
        with feed.listen("a") as first, feed.listen("a") as second, feed.listen("b") as other:
            versions = [each.version for each in (first, second, other)]
            feed.notify("a")
            return [
                await each.wait(version, 0.01)
                for each, version in zip((first, second, other), versions, strict=True)
            ]

    assert asyncio.run(run()) == [True, True, False]


def test_notices_that_come_quickly_become_few_wakes_and_the_last_is_not_lost() -> None:
    async def run() -> tuple[int, bool]:
        feed = Feed()
        with feed.listen("a") as listener:
            for _ in range(1000):
                feed.notify("a")
            before = listener.version
            return before, await listener.wait(before, 5.0)

    assert asyncio.run(run()) == (1, True)


def test_the_same_reading_at_the_same_version_is_made_once() -> None:
    async def run() -> tuple[list[int], int]:
        feed, calls = Feed(), []

        async def read() -> int:
            calls.append(1)
            await asyncio.sleep(0)
            return len(calls)

        with feed.listen("a") as listener:
            readings = [asyncio.ensure_future(listener.share("key", read)) for _ in range(10)]
            await asyncio.sleep(0)
            # One that goes away does not take the reading with it.
            readings.pop().cancel()
            first = await asyncio.gather(*readings)
            feed.notify("a")
            return [*first, await listener.share("key", read)], len(calls)

    assert asyncio.run(run()) == ([1] * 9 + [2], 2)


def test_a_reading_that_fails_fails_for_all_who_wanted_it() -> None:
    async def run() -> list[object]:
        feed = Feed()

        async def read() -> str:
            await asyncio.sleep(0)
            raise OSError("no disk")

        with feed.listen("a") as listener:
            readings = [listener.share("key", read) for _ in range(2)]
            return list(await asyncio.gather(*readings, return_exceptions=True))

    assert [str(error) for error in asyncio.run(run())] == ["no disk"] * 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_feed_that_closes_wakes_all_for_the_last_time(when: str) -> None:
    async def run() -> tuple[bool, bool]:
        feed = Feed()
        with feed.listen("a") as listener:
            if when == "before":
                feed.close()
            waiting = asyncio.ensure_future(listener.wait(listener.version, 60.0))
            await asyncio.sleep(0)
            feed.close()
            return await waiting, listener.closed

    assert asyncio.run(run()) == (True, True)
