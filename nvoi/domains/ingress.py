"""Domains without Cloudflare: k3s' own Traefik takes visitors at the first server's own ports.

DNS is the user's. How Traefik itself is set up, once a cluster, is in nvoi.kubernetes.ingress.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from nvoi.config.schema import Application, Ingress
from nvoi.domains.domain import Site, list_sites
from nvoi.domains.lookup import Resolve, find_public, list_faults, look_up_all
from nvoi.errors import ConfigError, Fault
from nvoi.kubernetes.ingress import build_ingress
from nvoi.kubernetes.ownership import Manifest
from nvoi.log.levels import get_logger

Json = Mapping[str, Any]

log = get_logger("nvoi.domains")

WILDCARD = "*."
HINT = (
    "the cluster was not changed; this machine's resolver was asked, which may know the records of "
    "before until their TTL is over"
)


class ClusterIngress:
    """``domain_provider: {ingress: {…}}``. Nothing of it is outside the cluster."""

    def __init__(self, settings: Ingress, resolve: Resolve = socket.getaddrinfo) -> None:
        self.settings = settings
        self._resolve = resolve

    def find_faults(self, application: Application) -> list[Fault]:
        message = (
            "certificates for all names at once cannot be had by `domain_provider.ingress`: name "
            "one, or use `domain_provider.cloudflare`"
        )
        return [
            Fault(0, 0, f"{site.place}.subdomain", message)
            for site in list_sites(application)
            if not list_names(site)
        ]

    def check(self, application: Application) -> None:
        """Say which names are left out, and nothing else: there is no account."""
        left = [
            name
            for site in list_sites(application)
            for name in site.hostnames
            if name.startswith(WILDCARD)
        ]
        if left:
            log.info(
                "Not served by the ingress, as certificates are for single names: %s",
                ", ".join(left),
            )

    def check_addresses(self, application: Application, addresses: Sequence[str]) -> None:
        """See that the names lead to the first of ``addresses``, where the ingress runs.

        Where that is private, who is before it is the user's, and the names need only exist.
        """
        paths = {
            name: f"{site.place}.domain"
            for site in list_sites(application)
            for name in list_names(site)
        }
        if not paths:
            return
        wanted = find_public(addresses[0], self._resolve)
        if not wanted:
            log.info("%s is private: who brings visitors there is yours to see to", addresses[0])
        found = look_up_all([*paths], self._resolve)
        faults = [
            Fault(0, 0, path, message)
            for name, path in paths.items()
            for message in list_faults(name, found[name], wanted)
        ]
        if faults:
            raise ConfigError("DNS", faults, hint=HINT)

    def connect(self, application: Application, deploy_id: str) -> Sequence[Manifest]:
        return [
            build_ingress(
                application.name,
                site.service,
                workload=site.workload,
                port=site.port,
                hostnames=list_names(site),
                deploy_id=deploy_id,
            )
            for site in list_sites(application)
        ]

    def publish(self, application: Application) -> float:
        """Do nothing: Traefik leads visitors as soon as the cluster has what it is to know."""
        del application
        return 0.0

    def restore(self) -> None:
        """Do nothing: the cluster is put back as a whole."""

    def trim(self, application: Application, live: Sequence[Json]) -> None:
        """Do nothing: what is outside the cluster is the user's."""

    def disconnect(self, application: Application, live: Sequence[Json]) -> None:
        """Do nothing, likewise."""

    def describe(self, application: Application) -> list[str]:
        authority = urlsplit(self.settings.directory_url).hostname
        return [
            f"leads {name} to {site.workload}, with a certificate of {authority}"
            for site in list_sites(application)
            for name in list_names(site)
        ]

    def describe_deletion(self, application: Application) -> list[str]:
        names = [name for site in list_sites(application) for name in list_names(site)]
        return [f"leads {name} to nothing more; its DNS record is yours" for name in names]


def list_names(site: Site) -> list[str]:
    """The names that certificates can be had for."""
    return [name for name in site.hostnames if not name.startswith(WILDCARD)]
