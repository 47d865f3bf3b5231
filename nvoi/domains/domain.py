"""What the cluster target asks of whoever brings host names to an app's services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvoi.config.schema import Application
from nvoi.errors import Fault
from nvoi.kubernetes.workloads import Manifest
from nvoi.naming import build_hostnames, build_workload_name


@dataclass(frozen=True)
class Site:
    """A service that the public reaches.

    Attributes:
        service: its name in the config.
        hostnames: in lower case; ``*.example.com`` stands for all names below.
        workload: its Service in the cluster.
        port: of that.
    """

    service: str
    hostnames: tuple[str, ...]
    workload: str
    port: int

    @property
    def url(self) -> str:
        """The address that a person opens."""
        return f"https://{self.hostnames[0]}"


class Domains(Protocol):
    """What brings host names to an app's services.

    Like servers, all of it is found again by its name, and never made twice.
    """

    def find_faults(self, application: Application) -> list[Fault]:
        """What of a valid config it cannot do. Touches nothing, calls nobody."""
        ...

    def check(self, application: Application, addresses: Sequence[str]) -> None:
        """See that the names can be brought to servers at ``addresses``. Changes nothing.

        Raises:
            NvoiError: they cannot, or who has to be asked cannot be.
        """
        ...

    def connect(self, application: Application) -> Sequence[Manifest]:
        """Make what is outside the cluster; returns what the cluster is to hold for it.

        Raises:
            NvoiError: something of it could not be made; the next run goes on from there.
        """
        ...

    def disconnect(self, application: Application) -> None:
        """Take away what ``connect`` has ever made for the app outside the cluster.

        What stands for it in the cluster is gone by then.

        Raises:
            NvoiError: something is left, which it names.
        """
        ...

    def describe(self, application: Application) -> list[str]:
        """What ``connect`` would do, a line each. Who has to be asked is only read from."""
        ...


def list_sites(application: Application) -> Iterator[Site]:
    """The services with a domain."""
    for name, service in application.app.items():
        if service.domain and service.port:
            yield Site(
                service=name,
                hostnames=build_hostnames(service.domain, service.subdomain),
                workload=build_workload_name(application.name, name),
                port=service.port,
            )
