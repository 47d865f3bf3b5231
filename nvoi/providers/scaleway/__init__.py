"""Servers rented at Scaleway: ``compute_provider: {scaleway: …}``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import ConfigError, Fault, NvoiError, RequestError
from nvoi.providers.cloud import RentedServers, log
from nvoi.providers.provider import Server
from nvoi.providers.rented import (
    WantedServer,
    build_disk,
    build_server,
    get_account,
    list_name_faults,
    list_open_ports,
    list_wanted,
)
from nvoi.providers.scaleway.api import NETWORK, Pace, Resource, ScalewayAPI
from nvoi.providers.scaleway.firewall import build_rules, set_rules
from nvoi.providers.scaleway.inventory import (
    Inventory,
    find_nic,
    find_public_ip,
    find_region,
    list_attached,
    read_inventory,
    read_regions,
    read_traces,
)
from nvoi.providers.scaleway.making import Maker
from nvoi.providers.scaleway.offers import ZONES, list_types, read_catalog
from nvoi.providers.scaleway.refusals import KEY_PATH, KEY_REFUSALS, find_type
from nvoi.providers.scaleway.removal import Remover
from nvoi.providers.scaleway.situation import (
    UNKNOWN,
    Situation,
    describe_plan,
    find_overlap,
    list_config_faults,
    list_zones,
    read_situation,
)
from nvoi.providers.wording import (
    build_left_error,
    build_moved_error,
    describe_deletion,
    describe_ports,
)
from nvoi.ssh.routes import Routes

__all__ = ["Scaleway", "list_types"]

#: Where a server sees a disk of block storage, whatever it calls it.
DEVICE = "/dev/disk/by-id/scsi-0SCW_sbs_volume-{id}"


class Scaleway(RentedServers[Inventory]):
    """The servers of an app in one project, and all that they need there.

    Raises:
        UsageError: the address of the API, or a proxy, in ``environ`` cannot be used.
    """

    title, console = "Scaleway", "in Scaleway's console"
    api: ScalewayAPI

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        account = get_account(application, ScalewayProvider)
        key, project = account.secret_key, account.project_id
        super().__init__(application, routes, ScalewayAPI(key, project, environ, pace or Pace()))
        self._region = find_region(account.zone)
        #: Those where the app was found to have something.
        self._regions = [self._region]
        #: The ports that were left open for the release before, by the groups that let them in.
        self._former: dict[Resource, list[int]] = {}

    def find_faults(self) -> list[Fault]:
        return [*list_config_faults(self.application), *list_name_faults(self.application)]

    def ensure_servers(self) -> tuple[Server, ...]:
        situation = self._read_situation(with_prices=False)
        for text in situation.list_differences():
            log.warning(text)
        if situation.remark:
            log.info(situation.remark)
        maker = Maker(self.api, situation, self._region)
        self._seen = None
        remover = Remover(self.api, situation.inventory)
        remover.delete_all(situation.lost)
        for one in remover.left.values():
            log.warning(
                "%s leads nowhere, and goes on costing money: %s", one, remover.reasons[one.id]
            )
        self._seen = maker.ensure_all()
        self._former = maker.former
        return self.list_servers()

    def close_ports(self) -> None:
        rules = build_rules(list_open_ports(self.application))
        for group, ports in [*self._former.items()]:
            set_rules(self.api, group, rules)
            log.info("%s no longer lets in %s", group, describe_ports(ports))
            del self._former[group]

    def _relabel(self, found: Resource, labels: dict[str, str]) -> Resource:
        others = [tag for tag in found.tags if "=" not in tag]
        tags = [*others, *(f"{key}={value}" for key, value in labels.items())]
        return self.api.update(found, {"tags": tags})

    def delete_surplus(self, servers: Sequence[Server], *, with_volumes: bool) -> None:
        inventory = self._read_regions([self._region]).drop_strangers()
        # One that goes by itself since a run was killed may be gone by now, and leave its parts.
        names = {server.name for server in servers}
        names -= {one.name for one in list_wanted(self.application)}
        these = [one for one in inventory.resources if inventory.get_server_name(one) in names]
        if with_volumes:
            these += inventory.surplus_data
            # A run that was killed has left them.
            these += inventory.list_leftovers()
        remover = Remover(self.api, inventory)
        self._seen = None
        remover.delete_all(these)
        check_left(remover.left.values(), remover.reasons)

    def _look_everywhere(self) -> Inventory:
        self._regions = self._find_regions()
        return self._read_regions(self._regions)

    def _delete_own(self, seen: Inventory, *, with_volumes: bool) -> Sequence[str]:
        inventory = seen.drop_strangers()
        kept = {} if with_volumes else {one.id: one for one in inventory.data}
        remover = Remover(self.api, inventory)
        remover.delete_all(one for one in inventory.resources if one.id not in kept)
        after = self._read_regions(self._regions).drop_strangers()
        spared = () if with_volumes else after.data
        left = {one.id: one for one in after.resources if one not in spared}
        check_left({**remover.left, **left}.values(), remover.reasons)
        return [one.name for one in spared]

    def _describe(self, *, with_volumes: bool) -> list[str]:
        situation = self._read_situation(with_prices=True)
        return describe_plan(situation, with_volumes=with_volumes)

    def _describe_deletion(self, *, with_volumes: bool) -> list[str]:
        inventory = self._look_everywhere().drop_strangers()
        zones = {one.place for one in (*inventory.servers, *inventory.disks)}
        with self._asking():
            tariff = read_catalog(self.api, zones).build_tariff()
        kept = () if with_volumes else inventory.data
        costs = tariff.describe((*inventory.servers, *inventory.disks), kept)
        return [*describe_deletion(inventory.resources, kept), f"{costs}{UNKNOWN}"]

    def _read_situation(self, *, with_prices: bool) -> Situation:
        """What there is to be done.

        Raises:
            ConfigError: the account cannot have what the config says.
            NvoiError: a name is another's, or the app is in another region.
        """
        inventory = self._look()
        self._check_names(inventory)
        overlap = find_overlap(inventory)
        if overlap is not None:
            hint = "delete it where nothing uses it, or give this app another name"
            raise NvoiError(overlap, hint=hint)
        with self._asking():
            if inventory.find_in(NETWORK, self._region) is None:
                self._check_regions()
            situation = read_situation(self.api, inventory, with_prices=with_prices)
        if situation.faults:
            raise ConfigError("config", situation.faults)
        return situation

    def _explain(self, error: NvoiError) -> NvoiError:
        if isinstance(error, RequestError) and find_type(error) in KEY_REFUSALS:
            fault = Fault(0, 0, KEY_PATH, error.message)
            return ConfigError("config", [fault], hint=error.hint)
        return error

    def _read(self) -> Inventory:
        return read_inventory(self.api, self.application, list_zones(self.application))

    def _read_regions(self, regions: Sequence[str]) -> Inventory:
        with self._asking():
            return read_regions(self.api, self.application, regions)

    def _find_regions(self) -> list[str]:
        """The regions where the app has something, and that of the config."""
        with self._asking():
            traces = read_traces(self.api, self.application, list(ZONES))
        return list(dict.fromkeys([self._region, *traces]))

    def _check_regions(self) -> None:
        """See that the app has nothing in another region: its cluster cannot be in two.

        Raises:
            NvoiError: it has.
        """
        others = [one for one in ZONES if one != self._region]
        for region, trace in read_traces(self.api, self.application, others).items():
            raise build_moved_error(region, self._region, trace, "zone")

    def _build_server(self, seen: Inventory, wanted: WantedServer, found: Resource) -> Server:
        networks, attached = seen.list(NETWORK), list_attached(found)
        nic = find_nic(found, networks[0]) if networks else None
        return build_server(
            self.application,
            wanted,
            self.routes,
            # One that has lost its address does not answer until the next deploy gives it one.
            find_public_ip(found) or found.id,
            labels=found.labels,
            private_ip=seen.private_ips.get(nic or ""),
            disks=[
                build_disk(one.name, DEVICE.format(id=one.id), one.size)
                for one in seen.data
                if one.id in attached
            ],
        )


def check_left(left: Iterable[Resource], reasons: Mapping[str, NvoiError]) -> None:
    """See that nothing is left.

    Raises:
        NvoiError: something is, which it names with the reason.
    """
    found = {one: reasons.get(one.id) for one in left}
    if found:
        hint = "run the same again, or delete it in Scaleway's console"
        raise build_left_error("Scaleway", found, hint)
