"""Cloudflare's tunnels: each service with a domain has one, and DNS records lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvoi.config.nodes import join_path
from nvoi.config.schema import Application, Cloudflare
from nvoi.domains.domain import Json, list_sites
from nvoi.errors import Fault
from nvoi.kubernetes.workloads import Manifest


class Tunnels:
    """The tunnels of an app and the DNS records that lead to them."""

    def __init__(self, account: Cloudflare, environ: Mapping[str, str]) -> None:
        self._account = account
        self._environ = environ

    def find_faults(self, application: Application) -> list[Fault]:
        message = "this version of nvoi serves no domains from servers; leave it out"
        return [
            Fault(0, 0, f"{join_path('application.app', site.service)}.domain", message)
            for site in list_sites(application)
        ]

    def check(self, application: Application) -> None:
        del application

    def check_addresses(self, application: Application, addresses: Sequence[str]) -> None:
        """A tunnel is opened from inside: no address has to be known outside."""

    def connect(self, application: Application, deploy_id: str) -> Sequence[Manifest]:
        del application, deploy_id
        return ()

    def publish(self, application: Application) -> None:
        del application

    def restore(self) -> None: ...

    def trim(self, application: Application, live: Sequence[Json]) -> None:
        del application, live

    def disconnect(self, application: Application, live: Sequence[Json]) -> None:
        del application, live

    def describe(self, application: Application) -> list[str]:
        del application
        return []

    def describe_deletion(self, application: Application) -> list[str]:
        del application
        return []
