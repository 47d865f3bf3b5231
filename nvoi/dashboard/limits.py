"""How often something may be done, and how much may be held, by whom."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

#: Buckets that are kept. The one that was used longest ago makes room: a bucket that is not
#: used fills up, so forgetting one gives away no more than a burst.
MOST_BUCKETS = 10_000

#: Wrong guesses of one address, and of all together, within so many seconds.
GUESSES_OF_ONE, GUESSES_OF_ALL, GUESS_WINDOW = 5, 50, 15 * 60.0

#: Addresses remembered for having known the password.
_KNOWN = 1000


class RateLimit:
    """A token bucket for each key: so many a second for long, and a burst at once.

    ``rate`` is tokens a second, ``burst`` what a full bucket holds, ``clock`` monotonic seconds.
    """

    def __init__(
        self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable) -> float:
        """Take a token of ``key``'s bucket: 0, or the seconds until there will be one."""
        now = self._clock()
        tokens, seen = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - seen) * self._rate)
        taken = tokens >= 1
        # A dict keeps its order: the first is the one that was used longest ago.
        self._buckets[key] = (tokens - 1 if taken else tokens, now)
        if len(self._buckets) > MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1 - tokens) / self._rate


class Allowance:
    """What may be held at one time: ``total`` by all together, and ``share`` by one."""

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def share_for(self, key: Hashable) -> Iterator[Callable[[int], bool]]:
        """Gives what notes that ``key`` holds so much more, and whether that is allowed.

        At the end it holds none of it any more.
        """
        amount = 0

        def hold(more: int) -> bool:
            nonlocal amount
            amount += more
            self._held[key] += more
            return self._held[key] <= self._share and self._held.total() <= self._total

        try:
            yield hold
        finally:
            self._held[key] -= amount
            if self._held[key] <= 0:
                del self._held[key]


class Guesses:
    """Counts wrong passwords, and says who has to wait before the next is looked at.

    An address that knew the password is not stopped by the wrong guesses of others, so that
    nobody can lock a team out of its own dashboard.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Never more than the limits let in, so a few dozen.
        self._wrong: deque[tuple[float, str]] = deque()
        self._known: dict[str, None] = {}

    def find_wait(self, client: str) -> float:
        """Seconds until ``client`` may guess again; 0 where it may now."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - GUESS_WINDOW:
            self._wrong.popleft()
        own = [when for when, who in self._wrong if who == client]
        others = [when for when, who in self._wrong if who not in self._known]
        waits = [own[-GUESSES_OF_ONE]] if len(own) >= GUESSES_OF_ONE else []
        if client not in self._known and len(others) >= GUESSES_OF_ALL:
            waits.append(others[-GUESSES_OF_ALL])
        return max(waits) + GUESS_WINDOW - now if waits else 0.0

    def add_wrong(self, client: str) -> None:
        self._wrong.append((self._clock(), client))

    def add_right(self, client: str) -> None:
        if any(who == client for _, who in self._wrong):
            self._wrong = deque(guess for guess in self._wrong if guess[1] != client)
        self._known[client] = None
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
