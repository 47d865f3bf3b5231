"""The story of ``nvoi delete``: choose the target, take the app down, report."""

from __future__ import annotations

from nvoi import operation
from nvoi.operation import Report
from nvoi.targets import get_target
from nvoi.targets.step import Request

TITLE = "Delete"


def delete(request: Request, report: Report) -> None:
    """Take the app down. There may be nothing to take down.

    Raises:
        NvoiError: something could not be removed.
    """
    target = get_target(request.config)
    operation.run(TITLE, request, target, target.delete, report)


def plan(request: Request) -> None:
    """Log what :func:`delete` would do."""
    target = get_target(request.config)
    operation.tell_plan(TITLE, request, target, target.delete)
