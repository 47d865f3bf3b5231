"""Servers rented at Scaleway: ``compute_provider: {scaleway: …}``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import ConfigError, Fault, HostsError, NvoiError, RequestError
from nvoi.invocation import name_command
from nvoi.log.levels import get_logger
from nvoi.parallel import work_on_all
from nvoi.providers.host_keys import replace_host_key_labels
from nvoi.providers.provider import Disk, Server
from nvoi.providers.rented import (
    GROUP,
    RentedServers,
    WantedServer,
    build_disk_folder,
    build_server,
    build_surplus,
    get_account,
    list_name_faults,
    list_open_ports,
    list_wanted,
)
from nvoi.providers.scaleway.api import NETWORK, SERVER, Pace, Resource, ScalewayAPI
from nvoi.providers.scaleway.description import (
    describe_changes,
    describe_deletion,
    describe_needs,
)
from nvoi.providers.scaleway.faults import (
    find_overlap,
    get_size,
    list_config_faults,
    list_zones,
)
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
from nvoi.providers.scaleway.offers import ZONES, read_shelf
from nvoi.providers.scaleway.refusals import KEY_PATH, KEY_REFUSALS, find_type
from nvoi.providers.scaleway.removal import Remover
from nvoi.providers.scaleway.situation import Situation, read_situation
from nvoi.providers.wording import build_left_error, describe_ports, describe_silence
from nvoi.ssh.routes import Routes

log = get_logger("nvoi.providers")

#: Where a server sees a disk of block storage, whatever it calls it.
DEVICE = "/dev/disk/by-id/scsi-0SCW_sbs_volume-{id}"


class Scaleway(RentedServers):
    """The servers of an app in one project, and all that they need there.

    Raises:
        UsageError: the address of the API, or a proxy, in ``environ`` cannot be used.
    """

    def __init__(
        self,
        application: Application,
        routes: Routes,
        environ: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        account = get_account(application, ScalewayProvider)
        self.routes = routes
        self._api = ScalewayAPI(account.secret_key, account.project_id, environ, pace or Pace())
        self._region = find_region(account.zone)
        #: Of what follows, which servers that are worked on side by side change.
        self._lock = Lock()
        #: What was seen of each app last, and of servers by their names.
        self._seen: dict[str, Inventory] = {}
        self._servers: dict[str, Resource] = {}
        #: The ports that were left open for the release before, by the groups that let them in.
        self._former: dict[Resource, list[int]] = {}

    def find_faults(self, application: Application) -> list[Fault]:
        return [*list_config_faults(application), *list_name_faults(application)]

    def list_servers(self, application: Application) -> tuple[Server, ...]:
        inventory = self._look(application).drop_others()
        return tuple(self._build_servers(application, inventory))

    def ensure_servers(self, application: Application) -> tuple[Server, ...]:
        situation = self._read_situation(application, with_prices=False)
        for text in situation.list_differences():
            log.warning(text)
        if situation.remark:
            log.info(situation.remark)
        maker = Maker(self._api, application, situation.inventory, self._region)
        self._seen.pop(application.name, None)
        remover = Remover(self._api, situation.inventory)
        remover.delete_all(situation.lost)
        for one in remover.left.values():
            log.warning(
                "%s leads nowhere, and goes on costing money: %s", one, remover.reasons[one.id]
            )
        inventory = maker.ensure_all(situation.orders)
        self._seen[application.name] = inventory
        self._former = maker.former
        return tuple(self._build_servers(application, inventory))

    def close_ports(self, application: Application) -> None:
        rules = build_rules(list_open_ports(application))
        for group, ports in [*self._former.items()]:
            set_rules(self._api, group, rules)
            log.info("%s no longer lets in %s", group, describe_ports(ports))
            del self._former[group]

    def list_unlabelled(self, application: Application) -> Sequence[str]:
        inventory = self._look(application).drop_others()
        return [str(one) for one in inventory.resources if not inventory.is_own(one)]

    def list_surplus(self, application: Application) -> tuple[Server, ...]:
        inventory = self._look(application).drop_others()
        return tuple(
            self._build(application, inventory, resource, wanted)
            for resource in inventory.list_surplus(application)
            for wanted in [build_surplus(resource.name, resource.labels.get(GROUP, ""))]
        )

    def keep_host_keys(self, server: Server, keys: Sequence[str]) -> Server:
        known = self._servers.get(server.name)
        resource = self._api.find(known) if known is not None else None
        if resource is None:
            raise NvoiError(f"the server {server.name} is no longer at Scaleway")
        labels = replace_host_key_labels(resource.labels, keys)
        others = [tag for tag in resource.tags if "=" not in tag]
        tags = [*others, *(f"{key}={value}" for key, value in labels.items())]
        resource = self._api.update(resource, {"tags": tags})
        with self._lock:
            self._servers[server.name] = resource
            for name, inventory in self._seen.items():
                if resource.id in {one.id for one in inventory.resources}:
                    self._seen[name] = inventory.replace([resource])
        return server.known_by(keys)

    def delete_surplus(
        self, application: Application, servers: Sequence[Server], *, with_volumes: bool
    ) -> None:
        inventory = self._read(application, [self._region]).drop_strangers()
        # One that goes by itself since a run was killed may be gone by now, and leave its parts.
        names = {server.name for server in servers}
        names -= {one.name for one in list_wanted(application)}
        these = [one for one in inventory.resources if inventory.get_server_name(one) in names]
        if with_volumes:
            these += inventory.list_surplus_data(application)
            # A run that was killed has left them.
            these += inventory.list_remains(application)
        remover = Remover(self._api, inventory)
        self._seen.pop(application.name, None)
        remover.delete_all(these)
        check_left(remover.left.values(), remover.reasons)

    def delete_servers(self, application: Application, *, with_volumes: bool) -> Sequence[str]:
        regions = self._find_regions(application)
        whole = self._read(application, regions)
        for clash in whole.list_clashes():
            log.warning("%s, and stays", clash)
        inventory = whole.drop_strangers()
        kept = {} if with_volumes else {one.id: one for one in inventory.list_data()}
        remover = Remover(self._api, inventory)
        self._seen.pop(application.name, None)
        remover.delete_all(one for one in inventory.resources if one.id not in kept)
        after = self._read(application, regions).drop_others()
        spared = () if with_volumes else after.list_data()
        left = {one.id: one for one in after.resources if one not in spared}
        strangers = {
            key: NvoiError(
                f"no tag says whose it is; {name_command('deploy --adopt')} takes it over"
            )
            for key, one in left.items()
            if not after.is_own(one)
        }
        check_left({**remover.left, **left}.values(), {**remover.reasons, **strangers})
        return [one.name for one in kept.values()]

    def describe(self, application: Application, *, with_volumes: bool = False) -> list[str]:
        self._api.pace = self._api.pace.hurry()
        try:
            situation = self._read_situation(application, with_prices=True)
        except RequestError as error:
            return [describe_silence(error), *describe_needs(application)]
        return describe_changes(situation, with_volumes=with_volumes)

    def describe_deletion(self, application: Application, *, with_volumes: bool) -> list[str]:
        self._api.pace = self._api.pace.hurry()
        try:
            regions = self._find_regions(application)
            inventory = self._read(application, regions).drop_strangers()
            zones = dict.fromkeys(one.place for one in inventory.list_priced())
            with asking():
                shelves = work_on_all([*zones], lambda zone: read_shelf(self._api, zone))
        except RequestError as error:
            return [describe_silence(error)]
        return describe_deletion(inventory, shelves, with_volumes=with_volumes)

    def _read_situation(self, application: Application, *, with_prices: bool) -> Situation:
        """What there is to be done.

        Raises:
            ConfigError: the account cannot have what the config says.
            NvoiError: a name is another's, or the app is in another region.
        """
        inventory = self._look(application)
        inventory.check_owners()
        overlap = find_overlap(application, inventory)
        if overlap is not None:
            hint = "delete it where nothing uses it, or give this app another name"
            raise NvoiError(overlap, hint=hint)
        with asking():
            if inventory.find_in(NETWORK, self._region) is None:
                self._check_regions(application)
            situation = read_situation(self._api, application, inventory, with_prices=with_prices)
        if situation.faults:
            raise ConfigError("config", situation.faults)
        return situation

    def _look(self, application: Application) -> Inventory:
        """What there is of the app, as far as it was seen already."""
        if application.name not in self._seen:
            with asking():
                found = read_inventory(self._api, application, list_zones(application))
            self._seen[application.name] = found
        return self._seen[application.name]

    def _read(self, application: Application, regions: Sequence[str]) -> Inventory:
        with asking():
            return read_regions(self._api, application, regions)

    def _find_regions(self, application: Application) -> list[str]:
        """The regions where the app has something, and that of the config."""
        with asking():
            traces = read_traces(self._api, application, list(ZONES))
        return list(dict.fromkeys([self._region, *traces]))

    def _check_regions(self, application: Application) -> None:
        """See that the app has nothing in another region: its cluster cannot be in two.

        Raises:
            NvoiError: it has.
        """
        others = [one for one in ZONES if one != self._region]
        for region, trace in read_traces(self._api, application, others).items():
            raise NvoiError(
                f"the app is in {region} already, and the config says {self._region}: {trace}",
                hint="set the zone that it had again; to move it, save the data, and run "
                f"{name_command('delete --delete-volumes')} first",
            )

    def _build_servers(self, application: Application, inventory: Inventory) -> Iterable[Server]:
        for wanted in list_wanted(application):
            resource = inventory.find(SERVER, wanted.name)
            if resource is not None:
                yield self._build(application, inventory, resource, wanted)

    def _build(
        self,
        application: Application,
        inventory: Inventory,
        resource: Resource,
        wanted: WantedServer,
    ) -> Server:
        self._servers[resource.name] = resource
        networks = inventory.list(NETWORK)
        nic = find_nic(resource, networks[0]) if networks else None
        return build_server(
            application,
            wanted,
            self.routes,
            # One that has lost its address does not answer until the next deploy gives it one.
            find_public_ip(resource) or resource.id,
            labels=resource.labels,
            private_ip=inventory.private_ips.get(nic or ""),
            disks=list_disks(inventory, resource, wanted),
        )


@contextmanager
def asking() -> Iterator[None]:
    """Tell of questions that were asked side by side by the first that got no answer.

    All were asked with the same key: where that is refused, it is a fault of the config.
    """
    try:
        yield
    except (HostsError, RequestError) as failed:
        error = failed.errors[0] if isinstance(failed, HostsError) else failed
        if isinstance(error, RequestError) and find_type(error) in KEY_REFUSALS:
            fault = Fault(0, 0, KEY_PATH, error.message)
            raise ConfigError("config", [fault], hint=error.hint) from failed
        raise error from failed


def list_disks(inventory: Inventory, server: Resource, wanted: WantedServer) -> tuple[Disk, ...]:
    """The disks with data that are attached to a server."""
    sizes = {volume.name: volume.size for volume in wanted.volumes}
    attached = list_attached(server)
    return tuple(
        Disk(
            name=volume.name,
            folder=build_disk_folder(volume.name),
            device=DEVICE.format(id=volume.id),
            size=sizes.get(volume.name, get_size(volume)),
        )
        for volume in inventory.list_data()
        if volume.id in attached
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
