"""The story of ``nvoi delete``: choose the target, take the app down, report."""

from __future__ import annotations

from nvoi import operation
from nvoi.errors import UsageError
from nvoi.operation import Report
from nvoi.targets import get_target
from nvoi.targets.step import Request

TITLE = "Delete"


def delete(request: Request, report: Report) -> None:
    """Take the app down. There may be nothing to take down.

    Raises:
        UsageError: the target has no cluster that could be taken away.
        NvoiError: something could not be removed.
    """
    target = get_target(request.config)
    operation.run(TITLE, request, target, target.delete, report, check=check)


def plan(request: Request) -> None:
    """Log what :func:`delete` would do."""
    target = get_target(request.config)
    operation.tell_plan(TITLE, request, target, target.delete, check=check)


def check(request: Request) -> None:
    """Find what the target cannot do.

    Raises:
        UsageError: it has no cluster that could be taken away.
    """
    target = get_target(request.config)
    if request.with_cluster and not target.has_cluster:
        raise UsageError(f"--cluster: the {target.name} target has none", hint="leave it out")
