"""Seconds that only grow, for every deadline and pause of the sender."""

from __future__ import annotations

import time


def read_seconds() -> float:
    """Seconds of the system's monotonic clock, from a moment of its own.

    It is the clock of ``time.monotonic``, asked by another name: libraries that stop the time in
    a program's tests replace that function in every module, and a stopped clock reaches no
    deadline.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)
