"""Waiting for what a host does in its own time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nvoi.waiting import NotReadyError, wait_for

SECONDS = 20.0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Return once ``is_so``; fail when that takes too long."""

    def look() -> None:
        if not is_so():
            raise NotReadyError(f"still waiting for {what}")

    wait_for(look, what=what, seconds=SECONDS, log=logging.getLogger("tests"))
