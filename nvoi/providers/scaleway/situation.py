"""What an app's config says put against what there is at Scaleway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import Fault
from nvoi.parallel import work_on_all
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
    SERVER,
    VOLUME,
    Resource,
    ScalewayAPI,
)
from nvoi.providers.scaleway.faults import (
    find_fault,
    get_type,
    get_zone,
    list_volume_faults,
)
from nvoi.providers.scaleway.firewall import find_drift, find_open, list_rules
from nvoi.providers.scaleway.inventory import Inventory
from nvoi.providers.scaleway.offers import (
    Shelf,
    describe_shortage,
    find_image,
    read_shelf,
)
from nvoi.providers.scaleway.orders import Order
from nvoi.providers.scaleway.quotas import judge_quotas


@dataclass(frozen=True)
class Situation:
    """What a config says, and what there is.

    Attributes:
        shelves: what is sold, by zone; empty where nothing has to be made.
        orders: the servers of the config, the master first.
        faults: what of the config the account cannot have.
        drift: what of the security groups that are there is not as it is to be, by zone.
        former: the ports that they have open, and only the release before may need, likewise.
        remark: what could not be checked, and why; empty where all was.
    """

    application: Application
    inventory: Inventory
    orders: tuple[Order, ...]
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    drift: Mapping[str, Sequence[str]] = field(default_factory=dict)
    former: Mapping[str, Sequence[int]] = field(default_factory=dict)
    remark: str = ""

    @property
    def surplus(self) -> tuple[Resource, ...]:
        return self.inventory.list_surplus(self.application)

    @property
    def lost(self) -> tuple[Resource, ...]:
        """The app's addresses that lead nowhere, and that no server of the config takes up."""
        kept = {(one.name, one.place) for one in self.inventory.list(SERVER)}
        kept |= {(order.wanted.name, order.zone) for order in self.orders}
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
        for order in self.orders:
            wanted = order.wanted
            for what, there, said in (
                ("type", order.type, get_type(self.application, wanted)),
                ("zone", order.zone, get_zone(self.application, wanted)),
            ):
                if there != said:
                    yield (
                        f"server {wanted.name} keeps its {what} {there}, though the config says "
                        f"{said}: delete it first to have another"
                    )


def read_situation(
    api: ScalewayAPI, application: Application, inventory: Inventory, *, with_prices: bool
) -> Situation:
    """What there is to be done.

    Args:
        with_prices: read also what is sold where nothing has to be made.

    Raises:
        NvoiError: the API cannot be asked.
    """
    architecture = get_account(application, ScalewayProvider).architecture
    wanted = list(list_wanted(application))
    servers = {one.name: inventory.find(SERVER, one.name) for one in wanted}
    new = [one for one in wanted if servers[one.name] is None]
    zones = {get_zone(application, one) for one in new}
    if with_prices:
        zones |= {one.place for one in inventory.resources if one.kind in {SERVER, VOLUME}}
        zones |= {found.place for found in servers.values() if found}
    shelves = work_on_all(sorted(zones), lambda zone: read_shelf(api, zone))
    types = dict.fromkeys((get_zone(application, one), get_type(application, one)) for one in new)
    images = work_on_all([*types], lambda it: find_image(api, it[0], architecture, it[1]))
    orders = tuple(
        build_order(application, one, servers[one.name], shelves, images) for one in wanted
    )
    faults = [*list_volume_faults(inventory, orders)]
    faults += [
        fault for one in new if (fault := find_fault(application, one, shelves, images)) is not None
    ]
    # Only what there is to be had can be counted.
    lacking = [order for order in orders if order.image]
    beyond, remark = ([], "") if faults else judge_quotas(api, lacking)
    faults = list(dict.fromkeys([*faults, *beyond]))
    situation = Situation(application, inventory, orders, shelves, tuple(faults), remark=remark)
    return add_drift(api, situation) if with_prices else situation


def add_drift(api: ScalewayAPI, situation: Situation) -> Situation:
    """The situation, with how the security groups differ from what they are to be."""
    application = situation.application
    groups = {one.place: one for one in situation.inventory.list(FIREWALL)}
    rules = work_on_all([*groups], lambda zone: list_rules(api, groups[zone]))
    ports, former = list_open_ports(application), list_former_ports(application)
    left = {zone: find_open(found, former) for zone, found in rules.items()}
    drift = {
        zone: find_drift(groups[zone], found, [*ports, *left[zone]])
        for zone, found in rules.items()
    }
    return replace(situation, drift=drift, former=left)


def build_order(
    application: Application,
    wanted: WantedServer,
    found: Resource | None,
    shelves: Mapping[str, Shelf],
    images: Mapping[tuple[str, str], str | None],
) -> Order:
    if found is not None:
        return Order(wanted, found.place, found.data["commercial_type"])
    architecture = get_account(application, ScalewayProvider).architecture
    zone, type_ = get_zone(application, wanted), get_type(application, wanted)
    shortage = describe_shortage(shelves[zone], type_, architecture)
    return Order(wanted, zone, type_, images[zone, type_], shortage)
