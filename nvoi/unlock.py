"""The story of ``nvoi unlock``: end the run that holds the lock."""

from __future__ import annotations

from nvoi.targets import get_target
from nvoi.targets.step import Request


def unlock(request: Request) -> None:
    """Tell who holds the lock, and end that run's hold on the app.

    Raises:
        UsageError: the target's lock ends with its holder.
        NvoiError: the lock cannot be had.
    """
    get_target(request.config).unlock(request)
