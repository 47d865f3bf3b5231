"""Domains: what brings a service's host names to it. A new way begins with a module here."""

from __future__ import annotations

from collections.abc import Mapping

from nvoi.config.schema import Application
from nvoi.domains.cloudflare import Tunnels
from nvoi.domains.domain import Domains, Site, list_sites
from nvoi.domains.ingress import ClusterIngress

__all__ = ["Domains", "Site", "get_domains", "list_sites"]


def get_domains(application: Application, environ: Mapping[str, str]) -> Domains:
    """The way of the config's ``domain_provider``; one that does nothing where it has none.

    Args:
        environ: the caller's environment, which names proxies, CAs and stand-ins.
    """
    if application.cloudflare is not None:
        return Tunnels(application, application.cloudflare, environ)
    if application.ingress is not None:
        return ClusterIngress(application, application.ingress)
    return Domains()
