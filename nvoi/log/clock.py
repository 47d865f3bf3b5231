"""The clock of the callback's deadlines.

Test libraries such as freezegun stop ``time.monotonic`` in every module of a process. A
deadline by a clock that stands still never comes, and the sending thread would never end.
"""

from __future__ import annotations

import time

#: Seconds between two looks at whether something has changed: a lock or an event would be one more
#: that a signal's handler may come back to.
LOOK_SECONDS = 0.01


def read_seconds() -> float:
    """Seconds of a clock that only goes forward; from a moment that means nothing."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
