"""How often something may be done, and how much may be held, by whom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable

#: Buckets that are kept. The one that was used longest ago makes room: a bucket that is not
#: used fills up, so forgetting one gives away no more than a burst.
MOST_BUCKETS = 10_000


class RateLimit:
    """A token bucket for each key: so many a second for long, and a burst at once.

    Args:
        rate: tokens a second.
        burst: tokens that a full bucket holds.
        clock: monotonic seconds.
    """

    def __init__(
        self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable) -> float:
        """Take a token of ``key``'s bucket.

        Returns:
            0 where there was one; else the seconds until there will be, and nothing is taken.
        """
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
    """What may be held at one time: by all together, and by one.

    Args:
        total: the most that all may hold.
        share: the most that one may hold, so that none takes it from all others.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._held: Counter[Hashable] = Counter()

    def hold(self, key: Hashable, amount: int) -> bool:
        """Note that ``key`` holds ``amount`` more; whether that is within the allowance."""
        self._held[key] += amount
        return self._held[key] <= self._share and self._held.total() <= self._total

    def release(self, key: Hashable, amount: int) -> None:
        """Note that ``key`` holds ``amount`` less."""
        self._held[key] -= amount
        if self._held[key] <= 0:
            del self._held[key]
