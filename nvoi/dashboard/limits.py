"""How much one client may do, and all of them together: requests, bytes held, wrong passwords."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

#: Buckets that are kept. The one that was used longest ago makes room: a bucket that is not
#: used fills up, so forgetting one gives away no more than a burst.
MOST_BUCKETS = 10_000

#: Wrong guesses of one address, and of all together, within so many seconds, from which on the
#: next one has to wait; and how many seconds it waits at the most.
GUESSES_OF_ONE, GUESSES_OF_ALL, GUESS_WINDOW = 5, 50, 15 * 60.0
LONGEST_WAIT = 30.0
#: Guesses that wait at one time: of one address, and of all together.
WAITING_OF_ONE, WAITING_OF_ALL = 5, 20
#: Addresses remembered for having known the password.
MOST_KNOWN = 1000


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
    def reserve(self, key: Hashable) -> Iterator[Callable[[int], bool]]:
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
    """Counts wrong passwords, and says how long the next guess waits before it is looked at.

    Nobody is locked out: the right password is taken, if late. An address that knew it does not
    wait for the wrong guesses of others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Waiting bounds how many there can be in the window, to some thousands.
        self._wrong: deque[tuple[float, str]] = deque()
        self._known: dict[str, None] = {}

    def find_wait(self, client: str) -> float:
        """Seconds that the next guess of ``client`` waits.

        Each wrong one of its own doubles them; of all together, every ten do.
        """
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - GUESS_WINDOW:
            self._wrong.popleft()
        own = sum(who == client for _, who in self._wrong)
        wait = _double(own - GUESSES_OF_ONE)
        if client not in self._known:
            others = sum(who not in self._known for _, who in self._wrong)
            wait = max(wait, _double((others - GUESSES_OF_ALL) // 10))
        return wait

    def add_wrong(self, client: str) -> None:
        self._wrong.append((self._clock(), client))

    def add_right(self, client: str) -> None:
        if any(who == client for _, who in self._wrong):
            self._wrong = deque(guess for guess in self._wrong if guess[1] != client)
        self._known[client] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]


def _double(times: int) -> float:
    """1 s, doubled so many times, as far as that goes; 0 for what is below 0."""
    return 0.0 if times < 0 else min(2.0 ** min(times, 10), LONGEST_WAIT)
