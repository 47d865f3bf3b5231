"""The story of ``nvoi deploy``: choose the target, run its steps, report."""

from __future__ import annotations

from nvoi import operation
from nvoi.operation import Report
from nvoi.targets import get_target
from nvoi.targets.step import Request

TITLE = "Deploy"


def deploy(request: Request, report: Report) -> None:
    """Deploy the app.

    Raises:
        NvoiError: the deploy failed; the target is as it was before.
    """
    target = get_target(request.config)
    operation.run(TITLE, request, target, target.deploy, report, check=target.check)


def plan(request: Request) -> None:
    """Log what :func:`deploy` would do."""
    target = get_target(request.config)
    operation.tell_plan(TITLE, request, target, target.deploy, check=target.check)
