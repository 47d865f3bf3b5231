"""The story of ``nvoi unlock``: end the run that holds the lock."""

from __future__ import annotations

from nvoi.errors import UsageError
from nvoi.targets import get_target
from nvoi.targets.step import Request


def unlock(request: Request) -> None:
    """Tell who holds the lock, and end that run's hold on the app.

    Raises:
        UsageError: the target's lock ends with its holder.
        NvoiError: the lock cannot be had.
    """
    target = get_target(request.config)
    if target.unlock is None:
        raise UsageError(
            f"the lock of the {target.name} target ends with the run that holds it",
            hint="end that run",
        )
    target.unlock(request)
