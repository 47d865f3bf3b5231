"""One app at AWS: its servers, volumes and network, looked at and changed as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from nvoi import parallel
from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.catalog import DISABLED
from nvoi.providers.aws.network import Network, Networks
from nvoi.providers.aws.offers import Choice, Offers
from nvoi.providers.aws.ownership import Owner, build_clash_error
from nvoi.providers.aws.quotas import Quotas
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import IS_ALIVE, Servers
from nvoi.providers.aws.situation import Situation
from nvoi.providers.aws.volumes import Volumes
from nvoi.providers.cloud import log
from nvoi.providers.rented import WantedServer, get_account, list_volume_names, list_wanted
from nvoi.providers.wording import build_moved_error

#: What says that an app is in a region: its network, or volumes, which a deletion may have spared.
TRACES = ("vpc", "volume")


class App:
    """One app at AWS, in its parts."""

    def __init__(self, ec2: EC2, application: Application) -> None:
        self.application, self._ec2 = application, ec2
        self.owner = Owner(ec2, application)
        self.offers = Offers(ec2, application, get_account(application, AWSProvider))
        self.networks = Networks(ec2, self.owner, application)
        self.servers = Servers(ec2, self.owner, application)
        self.volumes = Volumes(ec2, self.owner)
        self.quotas = Quotas(ec2, self.offers)

    def look(self) -> Situation:
        """What there is of servers, volumes and network.

        Raises:
            NvoiError: AWS cannot be asked.
        """
        wanted = [*list_wanted(self.application)]
        with self.tell_faults():
            servers = self.owner.list_there("instance", [one.name for one in wanted], IS_ALIVE)
            volumes = self.owner.list_there("volume", list_volume_names(wanted))
            vpcs = self.networks.list_vpcs()
        return Situation(self.application, (*servers, *volumes, *vpcs))

    def check(self, situation: Situation) -> tuple[Situation, Choice | None, str]:
        """What there is with its network, what servers that lack are made of, and the zone.

        Raises:
            ConfigError: the account cannot have what the config says.
            NvoiError: something hinders it, such as what is another's and bears a name of the
                app's, or AWS cannot be asked.
        """
        for clash in situation.list_clashes():
            raise build_clash_error(clash)
        with self.tell_faults():
            self._check_network(situation)
            vpc = situation.vpc
            subnet = self.networks.find_subnet(vpc) if vpc else None
            whole = replace(situation, subnet=subnet)
            whole.check_sizes()
            zone, reason = whole.find_zone()
            choice = None
            if whole.lacking:
                choice = self.offers.choose(whole.lacking, zone, reason)
                self.offers.check_rights(choice, whole.lacking)
            self.quotas.check(whole)
            return whole, choice, choice.zone if choice else str(zone)

    def _check_network(self, situation: Situation) -> None:
        """See that there is one VPC at most, and in this region alone.

        Raises:
            NvoiError: its addresses are not those of the servers, there are two, or the app is in
                another region.
        """
        vpcs = [one for one in situation.usable if one.kind == "vpc"]
        if self.networks.choose_vpc(vpcs) is None:
            for region, trace in self.find_traces().items():
                raise build_moved_error(region, self._ec2.region, trace, "region")
        own = [*filter(situation.is_own, vpcs)]
        if len(own) > 1:
            raise NvoiError(
                f"there are {' and '.join(map(str, own))}: two runs at once may have made them",
                hint="delete that in which the app has no servers, at AWS",
            )

    def find_traces(self) -> dict[str, Resource]:
        """What says that the app is in other regions, by these.

        One that cannot be asked is told, and no hindrance: an account, or a network that leads to
        AWS, may be closed to all regions but its own.
        """
        here = self._ec2.region
        try:
            states = self._ec2.list_regions(here)
        except EC2Error as error:
            log.warning("Whether the app is in other regions is not known: %s", error.message)
            return {}
        others = sorted(one for one, state in states.items() if one != here and state != DISABLED)
        places = {region: self._ec2.move(region) for region in others}
        found = parallel.work_on_all(others, lambda region: self._find_trace(places[region]))
        silent = {one: trace for one, trace in found.items() if isinstance(trace, EC2Error)}
        if silent:
            reason = next(iter(silent.values())).message
            log.warning("Whether the app is in %s is not known: %s", ", ".join(silent), reason)
        return {one: trace for one, trace in found.items() if isinstance(trace, Resource)}

    def _find_trace(self, there: EC2) -> Resource | EC2Error | None:
        try:
            return next((one for kind in TRACES for one in self.owner.list_in(there, kind)), None)
        except EC2Error as error:
            return error

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

    def delete(self, resources: Sequence[Resource]) -> dict[Resource, NvoiError]:
        """End servers and wait for their ends, then delete all else in this order.

        Returns:
            what could not be deleted.
        """
        servers = [one for one in resources if one.is_server]
        failures = try_all(servers, self.servers.end)
        ending = [one for one in servers if one not in failures]
        try:
            self.servers.wait_until_gone(ending)
        except NvoiError as error:
            failures |= dict.fromkeys(ending, error)
        parts = [one for one in resources if not one.is_server]
        return failures | try_all(parts, self.networks.delete)

    def ensure_server(
        self, one: WantedServer, found: Resource | None, network: Network, choice: Choice | None
    ) -> Resource:
        """A server of the config, which may still be starting.

        Raises:
            NvoiError: it cannot be had.
        """
        if found is not None:
            return self.servers.keep(one, found, network)
        if choice is None:
            raise NvoiError(f"{one.name} is not there any more", hint="run nvoi again")
        try:
            return self.servers.make(one, network, choice)
        except EC2Error as error:
            if error.is_sold_out:
                error.hint = self.offers.catalog.list_nearest(one.type, network.zone)
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
