"""What an app's config says put against what there is at Scaleway, and how that is told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import Fault
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.parallel import work_on_all
from nvoi.providers import rented
from nvoi.providers.catalog import Catalog
from nvoi.providers.rented import (
    WantedServer,
    get_account,
    list_former_ports,
    list_open_ports,
    list_wanted,
)
from nvoi.providers.scaleway.api import (
    ADDRESS,
    FIREWALL,
    NETWORK,
    Resource,
    ScalewayAPI,
)
from nvoi.providers.scaleway.firewall import find_drift, find_open, list_rules
from nvoi.providers.scaleway.inventory import Inventory, find_region
from nvoi.providers.scaleway.offers import ZONES, find_image, read_catalog
from nvoi.providers.scaleway.quotas import judge_quotas
from nvoi.providers.wording import (
    describe_changes,
    describe_closing,
    list_volume_faults,
)

ACCOUNT = "application.compute_provider.scaleway"
PROJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
IPV4 = 4
#: GB that a disk of block storage may have (Block Storage v1, "Create a volume").
LARGEST = 10_000


@dataclass(frozen=True)
class Situation:
    """What a config says, and what there is.

    Attributes:
        catalog: what is sold, of zones where something is to be made; with prices of all.
        images: their ids by zone and server type; None where there is none.
        faults: what of the config the account cannot have.
        drift: what of the security groups that are there is not as it is to be, by zone.
        former: the ports that they have open, and only the release before may need, likewise.
        remark: what could not be checked, and why; empty where all was.
    """

    inventory: Inventory
    catalog: Catalog
    images: Mapping[tuple[str, str], str | None]
    faults: tuple[Fault, ...] = ()
    drift: Mapping[str, Sequence[str]] = field(default_factory=dict)
    former: Mapping[str, Sequence[int]] = field(default_factory=dict)
    remark: str = ""

    @property
    def lost(self) -> tuple[Resource, ...]:
        """The app's addresses that lead nowhere, and that no server of the config takes up."""
        kept = {(one.name, one.place) for one in self.inventory.servers}
        kept |= {(one.name, self.inventory.get_place(one)) for one in self.inventory.wanted}
        return tuple(
            one
            for one in self.inventory.list(ADDRESS)
            if not one.data.get("server")
            and (self.inventory.get_server_name(one), one.place) not in kept
        )

    def list_differences(self) -> Iterator[str]:
        """What the config says in vain of a server that is there, and what is of none."""
        for one in self.inventory.list_orphans():
            yield (
                f"volume {one.name} is of a server that is gone, and goes on costing money: "
                "delete it in Scaleway's console where nothing on it is needed"
            )
        for wanted in self.inventory.wanted:
            found = self.inventory.find_server(wanted.name)
            if found is None:
                continue
            for what, there, said in (
                ("type", found.type, wanted.type),
                ("zone", found.place, wanted.location),
            ):
                if there != said:
                    yield (
                        f"server {wanted.name} keeps its {what} {there}, though the config says "
                        f"{said}: delete it first to have another"
                    )


def read_situation(api: ScalewayAPI, inventory: Inventory, *, with_prices: bool) -> Situation:
    """What there is to be done.

    Args:
        with_prices: read also what is sold where nothing has to be made.

    Raises:
        NvoiError: the API cannot be asked.
    """
    application, new = inventory.application, inventory.lacking
    architecture = get_account(application, ScalewayProvider).architecture
    zones = {one.location or "" for one in new}
    if with_prices:
        zones |= {one.place for one in (*inventory.servers, *inventory.disks)}
    catalog = read_catalog(api, zones)
    types = dict.fromkeys((one.location or "", one.type) for one in new)
    images = work_on_all([*types], lambda it: find_image(api, it[0], architecture, it[1]))
    faults = [*list_volume_faults(inventory, "zone")]
    faults += filter(None, (find_fault(application, one, catalog, images) for one in new))
    # Only what there is to be had can be counted.
    lacking = [one for one in new if images[one.location or "", one.type]]
    beyond, remark = ([], "") if faults else judge_quotas(api, lacking, inventory.types)
    faults = list(dict.fromkeys([*faults, *beyond]))
    situation = Situation(inventory, catalog, images, tuple(faults), remark=remark)
    return add_drift(api, situation) if with_prices else situation


def add_drift(api: ScalewayAPI, situation: Situation) -> Situation:
    """The situation, with how the security groups differ from what they are to be."""
    application = situation.inventory.application
    groups = {one.place: one for one in situation.inventory.list(FIREWALL)}
    rules = work_on_all([*groups], lambda zone: list_rules(api, groups[zone]))
    ports, former = list_open_ports(application), list_former_ports(application)
    left = {zone: find_open(found, former) for zone, found in rules.items()}
    drift = {
        zone: find_drift(groups[zone], found, [*ports, *left[zone]])
        for zone, found in rules.items()
    }
    return replace(situation, drift=drift, former=left)


def list_config_faults(application: Application) -> Iterator[Fault]:
    """What of a config nobody can have at Scaleway."""
    account = get_account(application, ScalewayProvider)
    if not PROJECT.fullmatch(account.project_id):
        message = "must be the id of a project, as the console shows it in the project's settings"
        yield Fault(0, 0, f"{ACCOUNT}.project_id", message)
    zones = [zone for region in ZONES.values() for zone in region]
    places = {f"{ACCOUNT}.zone": account.zone}
    places |= {one.place_path: one.location or "" for one in list_wanted(application)}
    for path, zone in places.items():
        if zone not in zones:
            yield Fault(0, 0, path, f"there is no zone {zone}; there are {', '.join(zones)}")
        elif account.zone in zones and find_region(zone) != find_region(account.zone):
            here = ", ".join(ZONES[find_region(account.zone)])
            message = f"all servers must be in one region; {account.zone} is in that of {here}"
            yield Fault(0, 0, path, message)
    for wanted in list_wanted(application):
        for volume in wanted.volumes:
            if volume.size > LARGEST:
                yield Fault(0, 0, f"{volume.path}.size", f"a volume has at most {LARGEST} GB")


def find_fault(
    application: Application,
    wanted: WantedServer,
    catalog: Catalog,
    images: Mapping[tuple[str, str], str | None],
) -> Fault | None:
    """Why a server cannot be made as the config says."""
    architecture = get_account(application, ScalewayProvider).architecture
    zone, type_ = wanted.location or "", wanted.type
    message = catalog.find_fault(type_, zone, architecture)
    if message is None and images[zone, type_] is None:
        message = f"there is no image of Ubuntu 24.04 for {type_} in {zone}"
    return None if message is None else Fault(0, 0, wanted.type_path, message)


def find_overlap(inventory: Inventory) -> str | None:
    """Why the app's servers cannot be in the network that has its name."""
    network = inventory.find(NETWORK, build_network_name(inventory.application.name))
    subnets = [] if network is None else [one["subnet"] for one in network.data["subnets"]]
    ranges = [one for text in subnets if (one := ipaddress.ip_network(text)).version == IPV4]
    if network is None or any(one.overlaps(ipaddress.ip_network(rented.NETWORK)) for one in ranges):
        return None
    return f"{network} has {', '.join(map(str, ranges)) or 'no IPv4'}, and not {rented.SUBNET}"


def list_zones(application: Application) -> list[str]:
    """The zones of the config, that of the account first."""
    account = get_account(application, ScalewayProvider)
    places = (group.location for group in application.servers.values())
    return list(dict.fromkeys([account.zone, *filter(None, places)]))


#: Scaleway's API tells no prices of addresses.
UNKNOWN = ", without public addresses"


def describe_plan(situation: Situation, *, with_volumes: bool) -> list[str]:
    """What is made, changed and removed, a line each, and what a month costs."""
    seen = situation.inventory
    shared = [*list_shared(situation)]
    shared += [f"deletes {one}, which leads nowhere" for one in situation.lost]
    what = describe_changes(seen, shared, with_volumes=with_volumes)
    costs = situation.catalog.build_tariff().describe_changes(seen, with_volumes=with_volumes)
    remark = filter(None, [situation.remark])
    return [*situation.list_differences(), *what, *remark, f"{costs}{UNKNOWN}"]


def list_shared(situation: Situation) -> Iterator[str]:
    application = situation.inventory.application
    network = build_network_name(application.name)
    if situation.inventory.find(NETWORK, network) is None:
        yield f"makes private network {network}, {rented.SUBNET}, in a VPC of its own"
    ports = ", ".join(f"tcp/{port}" for port in list_open_ports(application))
    firewall = build_firewall_name(application.name)
    for zone in dict.fromkeys(map(situation.inventory.get_place, situation.inventory.wanted)):
        group = f"security group {firewall} in {zone}"
        if zone not in situation.drift:
            yield f"makes {group}, which lets in {ports}"
        elif situation.drift[zone]:
            yield f"corrects {group}: {', '.join(situation.drift[zone])}"
        if situation.former.get(zone):
            yield describe_closing(group, situation.former[zone])
