"""Tells the open pages of a deploy that there is something new to read.

Nothing is pushed through here: a stream that is told reads what is new from the database when
its reader is ready for more, so that a slow reader costs no memory. Streams that want the same
at the same moment share one reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Hashable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

#: How many streams are woken in a second, all together; it bounds what pages cost when lines
#: come quickly. A page of 200 is told five times a second.
WAKES_A_SECOND = 1000
#: The shortest time between two wakes of one topic, in seconds.
LEAST_SECONDS = 0.05


class Channel:
    """One topic while streams listen to it, as each of them sees it.

    A stream notes :attr:`version`, reads, and waits for another version than that. So nothing
    that is stored meanwhile is missed.
    """

    def __init__(self) -> None:
        self.closed = False
        self.version = 0
        self.listeners = 0
        self.woken_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._readings: dict[Hashable, asyncio.Task[Any]] = {}

    def wake(self) -> None:
        self.stop_timer()
        self.woken_at = asyncio.get_running_loop().time()
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def stop_timer(self) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer = None

    async def wait(self, version: int, timeout: float) -> bool:
        """Wait for another version than ``version``; False after ``timeout`` seconds without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.version == version and not self.closed:
                    await self._changed.wait()
        return self.version != version or self.closed

    async def share(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``read()`` gives, called once for all who want the same ``key`` at one version."""
        whole_key = (self.version, key)
        task = self._readings.get(whole_key)
        if task is None:
            task = asyncio.get_running_loop().create_task(read())
            self._readings[whole_key] = task
            task.add_done_callback(lambda done: self._forget(whole_key, done))
        # The others still want it when one of them goes away.
        result: T = await asyncio.shield(task)
        return result

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._readings[key]
        if not task.cancelled():
            # All who waited may have gone: asyncio would complain of an error that nobody took.
            task.exception()


class Feed:
    """All topics that somebody listens to. Belongs to one event loop, and to its thread."""

    def __init__(self) -> None:
        self._channels: dict[Hashable, Channel] = {}
        self.listeners = 0
        self.closed = False

    @contextlib.contextmanager
    def listen(self, topic: Hashable) -> Iterator[Channel]:
        channel = self._channels.setdefault(topic, Channel())
        channel.closed = self.closed
        channel.listeners += 1
        self.listeners += 1
        try:
            yield channel
        finally:
            self.listeners -= 1
            channel.listeners -= 1
            if not channel.listeners:
                channel.stop_timer()
                del self._channels[topic]

    def notify(self, topic: Hashable) -> None:
        """Wake those who listen to ``topic``, at once or as soon as it is their turn."""
        channel = self._channels.get(topic)
        if channel is None or channel.timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = channel.woken_at + max(LEAST_SECONDS, self.listeners / WAKES_A_SECOND)
        if due <= loop.time():
            channel.wake()
        else:
            channel.timer = loop.call_at(due, channel.wake)

    def close(self) -> None:
        """Wake all, for the last time: the server is about to end."""
        self.closed = True
        for channel in self._channels.values():
            channel.closed = True
            channel.wake()
