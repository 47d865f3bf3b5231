"""Domains: what brings a service's host names to it. A new way is one file here."""

from __future__ import annotations

from nvoi.config.nodes import join_path
from nvoi.config.schema import Application
from nvoi.domains.domain import Domains, Site, list_sites
from nvoi.errors import Fault

__all__ = ["Domains", "Site", "find_faults", "list_sites"]


def find_faults(application: Application) -> list[Fault]:
    """The domains that cannot be served."""
    message = "this version of nvoi serves no domains from servers; leave it out"
    return [
        Fault(0, 0, f"{join_path('application.app', name)}.domain", message)
        for name, service in application.app.items()
        if service.domain
    ]
