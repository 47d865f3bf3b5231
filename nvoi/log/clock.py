"""The clock of the callback's deadlines.

Test libraries such as freezegun stop ``time.monotonic`` in every module of a process. A
deadline by a clock that stands still never comes, and the sending thread would never end.
"""

from __future__ import annotations

import time


def read_seconds() -> float:
    """Seconds of a clock that only goes forward; from a moment that means nothing."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
