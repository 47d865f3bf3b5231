"""Tells the open pages of a deploy that there is something new to read.

Nothing is pushed through here: a stream that is told reads what is new from the database when
its reader is ready for more, so that a slow reader costs no memory. Streams that want the same
at the same moment share one reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

#: How many streams are woken in a second, all together; it bounds what pages cost when lines
#: come quickly. A page of 200 is told five times a second.
WAKES_A_SECOND = 1000
#: The shortest time between two wakes of one topic, in seconds.
LEAST_SECONDS = 0.05

Topic = Hashable


@dataclass
class _Channel:
    """What is known of one topic while somebody listens."""

    listeners: int = 0
    version: int = 0
    woken_at: float = 0.0
    timer: asyncio.TimerHandle | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    readings: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)


class Feed:
    """All topics that somebody listens to. Belongs to one event loop, and to its thread."""

    def __init__(self) -> None:
        self._channels: dict[Topic, _Channel] = {}
        self._listeners = 0
        self.closed = False

    @property
    def listeners(self) -> int:
        return self._listeners

    @contextlib.contextmanager
    def listen(self, topic: Topic) -> Iterator[Listener]:
        """Inside, a stream listens to ``topic``; gives its :class:`Listener`."""
        channel = self._channels.setdefault(topic, _Channel())
        channel.listeners += 1
        self._listeners += 1
        try:
            yield Listener(self, channel)
        finally:
            self._listeners -= 1
            channel.listeners -= 1
            if not channel.listeners:
                if channel.timer:
                    channel.timer.cancel()
                del self._channels[topic]

    def notify(self, topic: Topic) -> None:
        """Wake those who listen to ``topic``, at once or as soon as it is their turn."""
        channel = self._channels.get(topic)
        if channel is None or channel.timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = channel.woken_at + max(LEAST_SECONDS, self._listeners / WAKES_A_SECOND)
        if due <= loop.time():
            self._wake(channel)
        else:
            channel.timer = loop.call_at(due, self._wake, channel)

    def close(self) -> None:
        """Wake all, for the last time: the server is about to end."""
        self.closed = True
        for channel in self._channels.values():
            self._wake(channel)

    def _wake(self, channel: _Channel) -> None:
        if channel.timer:
            channel.timer.cancel()
            channel.timer = None
        channel.woken_at = asyncio.get_running_loop().time()
        channel.version += 1
        channel.changed.set()
        channel.changed = asyncio.Event()


class Listener:
    """One stream's view of its topic.

    The order is: note :attr:`version`, read, and wait for another version than that. So
    nothing that is stored meanwhile is missed.
    """

    def __init__(self, feed: Feed, channel: _Channel) -> None:
        self._feed = feed
        self._channel = channel

    @property
    def version(self) -> int:
        return self._channel.version

    @property
    def closed(self) -> bool:
        return self._feed.closed

    async def wait(self, version: int, timeout: float) -> bool:
        """Wait for another version than ``version``; False after ``timeout`` seconds without."""
        if self._feed.closed or self._channel.version != version:
            return True
        changed = self._channel.changed
        try:
            async with asyncio.timeout(timeout):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    async def share(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``read()`` gives, called once for all who want the same ``key`` at one version."""
        readings, whole_key = self._channel.readings, (self._channel.version, key)
        task = readings.get(whole_key)
        if task is None:
            task = asyncio.get_running_loop().create_task(read())
            readings[whole_key] = task
            task.add_done_callback(lambda done: _forget(readings, whole_key, done))
        # The others still want it when one of them goes away.
        result: T = await asyncio.shield(task)
        return result


def _forget(
    readings: dict[Hashable, asyncio.Task[Any]], key: Hashable, task: asyncio.Task[Any]
) -> None:
    del readings[key]
    if not task.cancelled():
        # All who waited may have gone: asyncio would complain of an error that nobody took.
        task.exception()
