"""The story of ``nvoi releases``: which releases can be gone back to."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.errors import UsageError
from nvoi.targets import get_target
from nvoi.targets.step import KeptRelease, Request


def list_releases(request: Request) -> Sequence[KeptRelease]:
    """The releases that are kept, the newest first. Changes nothing.

    Raises:
        UsageError: the target keeps none.
        NvoiError: they cannot be read.
    """
    target = get_target(request.config)
    if target.list_releases is None:
        raise UsageError(
            f"the {target.name} target has no releases to go back to",
            hint="check an earlier commit out and deploy it",
        )
    return target.list_releases(request)
