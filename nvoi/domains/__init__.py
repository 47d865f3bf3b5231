"""Domains: what brings a service's host names to it. A new way is one file here."""

from __future__ import annotations

from collections.abc import Mapping

from nvoi.config.schema import Application
from nvoi.domains.cloudflare import Tunnels
from nvoi.domains.domain import Domains, Site, list_sites
from nvoi.domains.ingress import ClusterIngress

__all__ = ["Domains", "Site", "get_domains", "list_sites"]


def get_domains(application: Application, environ: Mapping[str, str]) -> Domains | None:
    """The way of the config's ``domain_provider``; None where it has none.

    Args:
        environ: the caller's environment, which names proxies, CAs and stand-ins.
    """
    if application.cloudflare is not None:
        return Tunnels(application.cloudflare, environ)
    if application.ingress is not None:
        return ClusterIngress(application.ingress)
    return None
