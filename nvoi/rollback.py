"""The story of ``nvoi rollback``: choose the target, go back to a kept release, report."""

from __future__ import annotations

from nvoi import operation
from nvoi.errors import UsageError
from nvoi.operation import Report
from nvoi.targets import get_target
from nvoi.targets.step import Request

TITLE = "Rollback"


def rollback(request: Request, report: Report) -> None:
    """Go back to the release of ``request.stamp``, or to the one before the running one.

    Raises:
        UsageError: the target keeps no releases to go back to.
        NvoiError: it failed; the release that ran still does.
    """
    target = get_target(request.config)
    if not target.rollback:
        raise UsageError(
            f"the {target.name} target has no rollback",
            hint="check an earlier commit out and deploy it",
        )
    operation.run(TITLE, request, target, target.rollback, report)


def plan(request: Request) -> None:
    """Log what :func:`rollback` would do."""
    target = get_target(request.config)
    operation.tell_plan(TITLE, request, target, target.rollback)
