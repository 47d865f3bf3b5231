"""The time, as the dashboard keeps it."""

from __future__ import annotations

import time


def read_clock() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000
