"""What the cluster target asks of whoever brings host names to an app's services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nvoi.config.nodes import join_path
from nvoi.config.schema import Application, AppService
from nvoi.errors import Fault
from nvoi.kubernetes.ownership import Json, Manifest
from nvoi.kubernetes.workloads import PUBLIC_PORT
from nvoi.naming import build_hostnames, build_workload_name


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


class Domains:
    """What brings host names to an app's services: nothing, unless a way says otherwise.

    Like servers, all of it is found again by its name, and never made twice. In the order of a
    deploy: ``check`` and ``check_addresses`` before anything is made; ``connect`` once the
    services answer inside the cluster, which then holds what that returns; ``publish`` once all
    of that is up; ``trim`` once the release serves. ``restore`` takes a deploy that failed back.

    All but ``find_faults`` raise NvoiError where the account cannot be asked, or something of it
    could not be made or removed: it names what, and the next run goes on from there.
    """

    def find_faults(self) -> list[Fault]:
        """What of a valid config it cannot do. Touches nothing, calls nobody."""
        return []

    def check(self) -> None:
        """See that the account can have what the config says. Changes nothing.

        What it found is what ``connect`` starts from: called again, it looks again.
        """

    def check_addresses(self, addresses: Sequence[str]) -> None:
        """See that the names can be brought to the master at ``addresses``. Changes nothing."""

    def connect(self, deploy_id: str) -> Sequence[Manifest]:
        """Make what leads visitors to the cluster; returns what that is to hold for it.

        Its objects are of the component :data:`nvoi.kubernetes.names.DOMAIN`.
        """
        del deploy_id
        return ()

    def publish(self) -> float:
        """Lead the names to what ``connect`` made, which is up by now.

        Returns:
            The seconds until the names are known everywhere. Who asks for one before may be told
            that there is none, and remember that for long.
        """
        return 0.0

    def restore(self) -> None:
        """Change back what this run has changed, so that the release before is reached again.

        What was not there before may stay; the next run takes it up.
        """

    def trim(self, live: Sequence[Json]) -> None:
        """Take away what the app had outside the cluster for names and services that are gone.

        ``live`` is all that has led visitors to it from the cluster; of what is gone none runs.
        """

    def disconnect(self, live: Sequence[Json]) -> None:
        """Take away all that the app has outside the cluster, which held ``live`` for it."""

    def describe(self) -> list[str]:
        """What ``connect`` and ``publish`` would do, a line each. The account is only read."""
        return []

    def describe_deletion(self) -> list[str]:
        """What ``disconnect`` would do, likewise."""
        return []


def list_sites(application: Application) -> Iterator[Site]:
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
