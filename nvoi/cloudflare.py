"""Domains: what brings a service's host names to it.

No tunnels are made by this version. Whoever adds them fulfils these functions; the cluster
target asks nothing else of domains.
"""

from __future__ import annotations

from nvoi.config.nodes import join_path
from nvoi.config.schema import Application
from nvoi.errors import Fault


def find_faults(application: Application) -> list[Fault]:
    """The domains that cannot be served."""
    message = "this version of nvoi serves no domains from servers; leave it out"
    return [
        Fault(0, 0, f"{join_path('application.app', name)}.domain", message)
        for name, service in application.app.items()
        if service.domain
    ]
