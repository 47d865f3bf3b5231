"""What the cluster target asks of whoever brings host names to an app's services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nvoi.config.nodes import join_path
from nvoi.config.schema import Application, AppService
from nvoi.errors import Fault
from nvoi.kubernetes.ownership import Manifest
from nvoi.kubernetes.workloads import PUBLIC_PORT
from nvoi.naming import build_hostnames, build_workload_name

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Site:
    """A service that the public reaches.

    Attributes:
        service: its name in the config.
        domain: that of the config, in lower case.
        hostnames: in lower case; ``*.example.com`` stands for all names below.
        workload: its Service in the cluster.
        port: of that, whichever the service's own is: it stays the same over all releases.
        path: what its healthcheck asks for; None where it has none that a visitor could ask.
    """

    service: str
    domain: str
    hostnames: tuple[str, ...]
    workload: str
    port: int
    path: str | None = None

    @property
    def place(self) -> str:
        """Where the config has its service."""
        return join_path("application.app", self.service)

    @property
    def hostname(self) -> str:
        return self.hostnames[0]

    @property
    def url(self) -> str:
        """The address that a person opens."""
        return f"https://{self.hostname}"


class Domains(Protocol):
    """What brings host names to an app's services.

    Like servers, all of it is found again by its name, and never made twice. In the order of a
    deploy: ``check`` and ``check_addresses`` before anything is made; ``connect`` once the
    services answer inside the cluster, which then holds what that returns; ``publish`` once all
    of that is up; ``trim`` once the release serves. ``restore`` takes a deploy that failed back.
    """

    def find_faults(self, application: Application) -> list[Fault]:
        """What of a valid config it cannot do. Touches nothing, calls nobody."""
        ...

    def check(self, application: Application) -> None:
        """See that the account can have what the config says. Changes nothing.

        What it found is what ``connect`` starts from: called again, it looks again.

        Raises:
            NvoiError: the account cannot, or cannot be asked.
        """
        ...

    def check_addresses(self, application: Application, addresses: Sequence[str]) -> None:
        """See that the names can be brought to the master at ``addresses``. Changes nothing.

        Raises:
            NvoiError: they cannot.
        """
        ...

    def connect(self, application: Application, deploy_id: str) -> Sequence[Manifest]:
        """Make what leads visitors to the cluster; returns what that is to hold for it.

        Its objects are of the component :data:`nvoi.kubernetes.names.DOMAIN`.

        Raises:
            NvoiError: something of it could not be made; the next run goes on from there.
        """
        ...

    def publish(self, application: Application) -> float:
        """Lead the names to what ``connect`` made, which is up by now.

        Returns:
            The seconds until the names are known everywhere. Who asks for one before may be told
            that there is none, and remember that for long.

        Raises:
            NvoiError: one cannot be.
        """
        ...

    def restore(self) -> None:
        """Change back what this run has changed, so that the release before is reached again.

        What was not there before may stay; the next run takes it up.

        Raises:
            NvoiError: something could not be.
        """
        ...

    def trim(self, application: Application, live: Sequence[Json]) -> None:
        """Take away what the app had outside the cluster for names and services that are gone.

        Args:
            application: what it is to have.
            live: all that has led visitors to it from the cluster; of what is gone none runs.

        Raises:
            NvoiError: something is left, which it names.
        """
        ...

    def disconnect(self, application: Application, live: Sequence[Json]) -> None:
        """Take away all that the app has outside the cluster.

        Args:
            application: what it was to have.
            live: what the cluster held for it, which is gone by now.

        Raises:
            NvoiError: something is left, which it names.
        """
        ...

    def describe(self, application: Application) -> list[str]:
        """What ``connect`` and ``publish`` would do, a line each. The account is only read.

        Raises:
            NvoiError: it cannot be asked, or cannot have what the config says.
        """
        ...

    def describe_deletion(self, application: Application) -> list[str]:
        """What ``disconnect`` would do, likewise."""
        ...


def list_sites(application: Application) -> Iterator[Site]:
    """The services with a domain."""
    for name, service in application.app.items():
        if service.domain and service.port:
            yield Site(
                service=name,
                domain=service.domain.lower(),
                hostnames=build_hostnames(service.domain, service.subdomain),
                workload=build_workload_name(application.name, name),
                port=PUBLIC_PORT,
                path=find_path(service),
            )


def find_path(service: AppService) -> str | None:
    check = service.healthcheck
    if check is None or check.type != "http" or check.port not in (None, service.port):
        return None
    return check.path


def list_hostnames(sites: Iterable[Site]) -> list[str]:
    return [name for site in sites for name in site.hostnames]
