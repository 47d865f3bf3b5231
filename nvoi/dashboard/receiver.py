"""Takes what nvoi sends, as docs/protocol.md says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nvoi.dashboard.context import Dashboard

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


def build_routes(_dashboard: Dashboard) -> list[BaseRoute]:
    """The routes of ``/api/…``."""
    return []
