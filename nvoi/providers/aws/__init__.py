"""Servers at Amazon Web Services: EC2, in a network of the app's own. Needs the extra ``aws``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nvoi import parallel
from nvoi.account import telling_made
from nvoi.config.schema import Application, AWSProvider
from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.invocation import name_command
from nvoi.providers.aws.api import EC2, PACE, Pace
from nvoi.providers.aws.catalog import DISABLED, list_regions, list_types
from nvoi.providers.aws.inventory import Owner, Situation
from nvoi.providers.aws.network import Network, Networks
from nvoi.providers.aws.offers import Choice, Offers
from nvoi.providers.aws.prices import describe_costs
from nvoi.providers.aws.quotas import Quotas
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.resources import Resource, build_pairs
from nvoi.providers.aws.servers import IS_ALIVE, Servers, describe_other_type, wait
from nvoi.providers.aws.volumes import Volumes, find_device, list_holders
from nvoi.providers.cloud import RentedServers, log
from nvoi.providers.provider import Server
from nvoi.providers.rented import (
    WantedServer,
    build_disk,
    build_server,
    get_account,
    list_name_faults,
    list_volume_names,
    list_wanted,
)
from nvoi.providers.wording import (
    build_left_error,
    build_moved_error,
    describe_changes,
    describe_deletion,
    list_volume_faults,
)
from nvoi.ssh.routes import Routes
from nvoi.waiting import NotReadyError

__all__ = ["AWS", "list_regions", "list_types"]

#: What says that an app is in a region: its network, or volumes, which a deletion may have spared.
TRACES = ("vpc", "volume")
#: States of disks that go with their servers.
GOING = ("in-use", "deleting")


class AWS(RentedServers[Situation]):
    """``compute_provider: {aws: {…}}``.

    Args:
        routes: the ways to servers, whose addresses the account tells.
        environ: the caller's environment.
        pace: how long AWS is waited for.
    """

    title, console = "AWS", "at AWS"
    api: EC2

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace = PACE,
    ) -> None:
        account = get_account(application, AWSProvider)
        ec2 = EC2(account, environ, pace)
        super().__init__(application, routes, ec2)
        self._owner = Owner(ec2, application)
        self._offers = Offers(ec2, application, account)
        self._networks = Networks(ec2, self._owner, application)
        self._servers = Servers(ec2, self._owner, application)
        self._volumes = Volumes(ec2, self._owner)
        self._network: Network | None = None

    def find_faults(self) -> list[Fault]:
        return [*self._offers.find_faults(), *list_name_faults(self.application)]

    def _explain(self, error: NvoiError) -> NvoiError:
        fault = self._offers.find_account_fault(error) if isinstance(error, EC2Error) else None
        return fault or error

    def _read(self) -> Situation:
        """What there is of servers, volumes and network."""
        wanted = [*list_wanted(self.application)]
        servers = self._owner.list_there("instance", [one.name for one in wanted], IS_ALIVE)
        volumes = self._owner.list_there("volume", list_volume_names(wanted))
        return Situation(self.application, (*servers, *volumes, *self._networks.list_vpcs()))

    def _build_server(self, seen: Situation, wanted: WantedServer, found: Resource) -> Server:
        private: str | None = found.item.get("PrivateIpAddress")
        return build_server(
            self.application,
            wanted,
            self.routes,
            # One that is stopped has no public address: it does not answer anyway.
            found.item.get("PublicIpAddress") or private or found.id,
            labels=found.tags,
            private_ip=private,
            disks=[
                build_disk(one.name, find_device(one), one.size)
                for one in seen.data
                if found.id in list_holders(one)
            ],
        )

    def ensure_servers(self) -> tuple[Server, ...]:
        situation, choice = self._check(self._look())
        self._seen = None
        for one, type_ in situation.list_other_types():
            log.warning("%s", describe_other_type(one, type_))
        with telling_made(self.api.made):
            network = self._networks.ensure(situation.vpc, situation.subnet, situation.zone)
            self._network = network
            made = parallel.work_on_all(
                situation.wanted,
                lambda one: self._ensure_server(
                    one, situation.find_server(one.name), network, choice
                ),
            )
            running = self._servers.wait_until_running([*made.values()])
            volumes = self._volumes.ensure(running, situation.wanted, situation.find_data)
        self._seen = situation.replace([*running.values(), *volumes, network.vpc])
        return self.list_servers()

    def _check(self, situation: Situation) -> tuple[Situation, Choice | None]:
        """What there is with its network and zone, and what servers that lack are made of.

        Raises:
            ConfigError: the account cannot have what the config says.
            NvoiError: something hinders it, such as what is another's and bears a name of the
                app's, or AWS cannot be asked.
        """
        self._check_names(situation)
        with self._asking():
            vpc = self._networks.choose_vpc([situation.vpc] if situation.vpc else [])
            if vpc is None:
                for region, trace in self._find_traces().items():
                    raise build_moved_error(region, self.api.region, trace, "region")
            subnet = self._networks.find_subnet(vpc) if vpc else None
            whole = replace(situation, subnet=subnet)
            zone, reason = whole.find_zone()
            whole = replace(whole, zone=zone or "")
            if faults := [*list_volume_faults(whole, "zone")]:
                raise ConfigError("config", faults)
            choice = None
            if whole.lacking:
                choice = self._offers.choose(whole.lacking, zone, reason)
                self._offers.check_rights(choice, whole.lacking)
            Quotas(self.api, self._offers).check(whole)
            return (replace(whole, zone=choice.zone) if choice else whole), choice

    def _ensure_server(
        self, one: WantedServer, found: Resource | None, network: Network, choice: Choice | None
    ) -> Resource:
        """A server of the config, which may still be starting.

        Raises:
            NvoiError: it cannot be had.
        """
        if found is not None:
            return self._servers.keep(one, found, network)
        if choice is None:
            raise NvoiError(f"{one.name} is not there any more", hint="run nvoi again")
        try:
            return self._servers.make(one, network, choice)
        except EC2Error as error:
            if error.is_sold_out:
                error.hint = self._offers.catalog.list_nearest(one.type, network.zone)
            raise

    def close_ports(self) -> None:
        if self._network is None or not self._network.former:
            return
        self._networks.close(self._network)
        self._network = replace(self._network, former=())

    def _relabel(self, found: Resource, labels: dict[str, str]) -> Resource:
        if new := {key: text for key, text in labels.items() if found.tags.get(key) != text}:
            self.api.call("create_tags", Resources=[found.id], Tags=build_pairs(new))
        if gone := [{"Key": key} for key in found.tags if key not in labels]:
            self.api.call("delete_tags", Resources=[found.id], Tags=gone)
        return replace(found, tags=labels)

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        names = {server.name for server in servers}
        self._seen = None
        failures = self._delete([one for one in self._servers.list_own() if one.name in names])
        if with_volumes:
            named = list_volume_names(list_wanted(self.application))
            unnamed = [one for one in self._volumes.list_own() if one.name not in named]
            failures |= try_all(unnamed, self._volumes.detach)
            failures |= self._delete([one for one in unnamed if one not in failures])
        if failures:
            raise build_error(failures)

    def _delete_own(self, seen: Situation, *, with_volumes: bool) -> Sequence[str]:
        del seen
        with self._asking():
            own = self._list_own(with_volumes=with_volumes)
        self._check_all_gone({*own}, self._delete(own), with_volumes=with_volumes)
        if traces := self._find_traces():
            raise build_elsewhere_error(traces)
        return [] if with_volumes else [one.name for one in self._volumes.list_own()]

    def _check_all_gone(
        self,
        asked: set[Resource],
        failures: dict[Resource, NvoiError],
        *,
        with_volumes: bool,
    ) -> None:
        """Look again; what is deleted may be shown for a while.

        What shows only now is asked to go as well, such as a disk that has outlived its server.
        """

        def look() -> list[Resource]:
            left = self._list_own(with_volumes=with_volumes)
            if not any(one.is_server for one in failures):
                left += self._volumes.list_root()
            late = [one for one in left if one not in asked and one.state not in GOING]
            asked.update(late)
            failures.update(self._delete(late))
            if going := [one for one in left if one not in failures]:
                raise NotReadyError(", ".join(map(str, going)))
            return left

        if left := wait(self.api, "what was deleted to be gone", look):
            raise build_error({one: failures.get(one) for one in left})

    def _list_own(self, *, with_volumes: bool) -> list[Resource]:
        """All that bears the app's tags, in the order in which it can be deleted."""
        volumes = self._volumes.list_own() if with_volumes else []
        return [*self._servers.list_own(), *volumes, *self._networks.list_own()]

    def _delete(self, resources: Sequence[Resource]) -> dict[Resource, NvoiError]:
        """End servers and wait for their ends, then delete all else in this order.

        Returns:
            what could not be deleted.
        """
        servers = [one for one in resources if one.is_server]
        failures = try_all(servers, self._servers.end)
        ending = [one for one in servers if one not in failures]
        try:
            self._servers.wait_until_gone(ending)
        except NvoiError as error:
            failures |= dict.fromkeys(ending, error)
        parts = [one for one in resources if not one.is_server]
        return failures | try_all(parts, self._networks.delete)

    def _find_traces(self) -> dict[str, Resource]:
        """What says that the app is in other regions, by these.

        One that cannot be asked is told, and no hindrance: an account, or a network that leads to
        AWS, may be closed to all regions but its own.
        """
        here = self.api.region
        try:
            states = self.api.list_regions(here)
        except EC2Error as error:
            log.warning("Whether the app is in other regions is not known: %s", error.message)
            return {}
        others = sorted(one for one, state in states.items() if one != here and state != DISABLED)
        places = {region: self.api.move(region) for region in others}
        found = parallel.work_on_all(others, lambda region: self._find_trace(places[region]))
        silent = {one: trace for one, trace in found.items() if isinstance(trace, EC2Error)}
        if silent:
            reason = next(iter(silent.values())).message
            log.warning("Whether the app is in %s is not known: %s", ", ".join(silent), reason)
        return {one: trace for one, trace in found.items() if isinstance(trace, Resource)}

    def _find_trace(self, there: EC2) -> Resource | EC2Error | None:
        try:
            return next((one for kind in TRACES for one in self._owner.list_in(there, kind)), None)
        except EC2Error as error:
            return error

    def _describe(self, *, with_volumes: bool) -> list[str]:
        situation, _ = self._check(self._look())
        shared = self._networks.describe_changes(situation.vpc, situation.subnet, situation.zone)
        others = (describe_other_type(one, type_) for one, type_ in situation.list_other_types())
        lines = describe_changes(situation, shared, with_volumes=with_volumes)
        costs = describe_costs(
            self.api,
            (*situation.servers, *situation.lacking),
            lambda tariff: tariff.describe_changes(situation, with_volumes=with_volumes),
        )
        return [*others, *lines, costs]

    def _describe_deletion(self, *, with_volumes: bool) -> list[str]:
        with self._asking():
            own = self._list_own(with_volumes=True)
        kept = [one for one in own if one.is_data and not with_volumes]
        lines = describe_deletion(own, kept)
        traces = self._find_traces().items()
        lines += [f"leaves {trace}, which is in {region}" for region, trace in traces]
        if own:
            servers = [one for one in own if one.is_server]
            priced = [*servers, *(one for one in own if one.is_data)]
            costs = describe_costs(self.api, servers, lambda it: it.describe(priced, kept))
            lines.append(costs)
        return lines


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


def build_error(failures: Mapping[Resource, NvoiError | None]) -> NvoiError:
    """The error of what could not be deleted."""
    hints = {error.hint: None for error in failures.values() if error and error.hint}
    hint = "; ".join(hints) or "see what uses it at AWS, and run it again"
    return build_left_error("AWS", failures, hint)


def build_elsewhere_error(traces: Mapping[str, Resource]) -> NvoiError:
    """The error of a delete that leaves what is in other regions."""
    told = ", ".join(f"{trace} in {region}" for region, trace in traces.items())
    return NvoiError(
        f"left at AWS: {told}",
        hint=f"set region to {' and then to '.join(traces)}, and run {name_command('delete')} "
        "there as well",
    )
