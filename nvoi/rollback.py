"""The story of ``nvoi rollback``: choose the target, go back to a kept release, report."""

from __future__ import annotations

from typing import Any

from nvoi import operation
from nvoi.errors import UsageError
from nvoi.operation import Report
from nvoi.targets import get_target
from nvoi.targets.step import Request, Target

TITLE = "Rollback"


def rollback(request: Request, report: Report) -> None:
    """Go back to the release of ``request.stamp``, or to the one before the running one.

    Raises:
        UsageError: the target keeps no releases to go back to.
        NvoiError: it failed; the release that ran still does.
    """
    target = get_rollback_target(request)
    operation.run(TITLE, request, target, target.rollback, report)


def plan(request: Request) -> None:
    """Log what :func:`rollback` would do.

    Raises:
        UsageError: the target keeps no releases to go back to.
    """
    target = get_rollback_target(request)
    operation.tell_plan(TITLE, request, target, target.rollback)


def get_rollback_target(request: Request) -> Target[Any]:
    """The config's target.

    Raises:
        UsageError: it keeps no releases to go back to.
    """
    target = get_target(request.config)
    if not target.rollback:
        raise UsageError(
            f"the {target.name} target has no rollback",
            hint="check an earlier commit out and deploy it",
        )
    return target
