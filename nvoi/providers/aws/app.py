"""One app at AWS: its servers, volumes and network, looked at and changed as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nvoi.errors import NvoiError
from nvoi.providers.aws.network import Network, Networks
from nvoi.providers.aws.offers import Choice, Offers
from nvoi.providers.aws.ownership import NO_FILTERS, Owner, build_clash_error
from nvoi.providers.aws.quotas import Quotas
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.regions import Regions
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import IS_ALIVE, Servers
from nvoi.providers.aws.situation import Situation
from nvoi.providers.aws.volumes import Volumes
from nvoi.providers.rented import WantedServer, list_volume_names


@dataclass(frozen=True)
class App:
    """One app at AWS, in its parts."""

    wanted: tuple[WantedServer, ...]
    owner: Owner
    offers: Offers
    networks: Networks
    servers: Servers
    volumes: Volumes
    regions: Regions
    quotas: Quotas

    @property
    def server_names(self) -> list[str]:
        return [one.name for one in self.wanted]

    @property
    def volume_names(self) -> list[str]:
        return list_volume_names(self.wanted)

    def look(self) -> Situation:
        """What there is of servers and volumes.

        Raises:
            NvoiError: AWS cannot be asked.
        """
        servers = self.servers.list_there(self.server_names)
        return Situation(self.wanted, servers, self.volumes.list_there(self.volume_names))

    def check(self, situation: Situation) -> tuple[Situation, Choice | None, str]:
        """What there is with its network, what servers that lack are made of, and the zone.

        Raises:
            ConfigError: the account cannot have what the config says.
            NvoiError: something hinders it, such as what is another's and bears a name of the
                app's, or AWS cannot be asked.
        """
        with self.tell_faults():
            vpc = self.networks.find_vpc()
            if vpc is None:
                self.regions.check_none()
            there = [*situation.servers.values(), *situation.volumes.values()]
            for clash in self.list_clashes([*there, *filter(None, [vpc])]):
                raise build_clash_error(clash)
            subnet = self.networks.find_subnet(vpc) if vpc else None
            whole = replace(situation, vpc=vpc, subnet=subnet)
            whole.check_sizes()
            zone, reason = whole.find_zone()
            choice = None
            if whole.lacking:
                choice = self.offers.choose(whole.lacking, zone, reason)
                self.offers.check_rights(choice, whole.lacking)
            self.quotas.check(whole)
            return whole, choice, choice.zone if choice else str(zone)

    @contextmanager
    def tell_faults(self) -> Iterator[None]:
        """Have it be a fault of the config that AWS does not take the credentials."""
        try:
            yield
        except EC2Error as error:
            if fault := self.offers.find_account_fault(error):
                raise fault from error
            raise

    def list_own(self, *, with_volumes: bool) -> list[Resource]:
        """All that bears the app's tags, in the order in which it can be deleted."""
        volumes = self.volumes.list_own() if with_volumes else []
        return [*self.servers.list_own(), *volumes, *self.networks.list_own()]

    def list_clashes(self, there: Sequence[Resource]) -> list[str]:
        """What is others', and bears a name of the app's that nothing which is ``there`` bears."""
        taken = {(one.kind, one.name) for one in there}
        named = {
            "instance": (self.server_names, IS_ALIVE),
            "volume": (self.volume_names, NO_FILTERS),
            "vpc": ([self.networks.name], NO_FILTERS),
        }
        return [
            clash
            for kind, (names, filters) in named.items()
            for clash in self.owner.list_clashes(
                kind, [name for name in names if (kind, name) not in taken], filters
            )
        ]

    def list_unlabelled(self, situation: Situation) -> list[Resource]:
        """What there is of network, servers and volumes of which no tag says whose it is."""
        servers = situation.servers.values()
        # Before a server gets its tags its network has them.
        networks = [] if any(map(self.owner.owns, servers)) else self.networks.list_free()
        there = [*networks, *servers, *situation.volumes.values()]
        return [one for one in there if not self.owner.owns(one)]

    def list_free(self, *, with_volumes: bool) -> list[Resource]:
        """What bears the app's names, and of which no tag says whose it is."""
        volumes = self.volumes.list_free(self.volume_names) if with_volumes else []
        servers = self.servers.list_free(self.server_names)
        return [*servers, *volumes, *self.networks.list_free()]

    def delete_servers(self, servers: Sequence[Resource]) -> dict[Resource, NvoiError]:
        """End servers, and wait for their ends; returns those that could not be ended."""
        failures = try_all(servers, self.servers.end)
        ending = [one for one in servers if one not in failures]
        try:
            self.servers.wait_until_gone(ending)
        except NvoiError as error:
            failures |= dict.fromkeys(ending, error)
        return failures

    def delete_parts(self, parts: Sequence[Resource]) -> dict[Resource, NvoiError]:
        """Delete what is no server, in this order; returns what could not be deleted."""
        return try_all(parts, self.networks.delete)

    def ensure_server(
        self, one: WantedServer, found: Resource | None, network: Network, choice: Choice | None
    ) -> Resource:
        """A server of the config, which may still be starting.

        Raises:
            NvoiError: it cannot be had.
        """
        type_name = self.offers.get_type(one)
        if found is not None:
            self.servers.keep(one, found, type_name, network)
            return found
        if choice is None:
            raise NvoiError(f"{one.name} is not there any more", hint="run nvoi again")
        try:
            return self.servers.make(one, type_name, network, choice)
        except EC2Error as error:
            if error.is_sold_out:
                error.hint = self.offers.catalog.list_nearest(type_name, network.zone)
            raise


def try_all(
    resources: Sequence[Resource], work: Callable[[Resource], None]
) -> dict[Resource, NvoiError]:
    """Do ``work`` for each, past all that fail; returns these."""
    failures: dict[Resource, NvoiError] = {}
    for one in resources:
        try:
            work(one)
        except EC2Error as error:
            failures[one] = error
    return failures
