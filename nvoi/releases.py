"""The story of ``nvoi releases``: which releases can be gone back to."""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.targets import get_target
from nvoi.targets.step import KeptRelease, Request


def list_releases(request: Request) -> Sequence[KeptRelease]:
    """The releases that are kept, the newest first. Changes nothing.

    Raises:
        UsageError: the target keeps none.
        NvoiError: they cannot be read.
    """
    return get_target(request.config).list_releases(request)
