"""What an app's config says put against what there is at Scaleway, and told, with what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import Fault
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.parallel import work_on_all
from nvoi.providers import rented
from nvoi.providers.rented import (
    WantedServer,
    get_account,
    list_open_ports,
    list_wanted,
)
from nvoi.providers.scaleway.api import (
    FIREWALL,
    NETWORK,
    SERVER,
    VOLUME,
    Resource,
    ScalewayAPI,
)
from nvoi.providers.scaleway.faults import (
    find_fault,
    get_size,
    list_volume_faults,
)
from nvoi.providers.scaleway.firewall import find_drift, list_rules
from nvoi.providers.scaleway.inventory import Inventory
from nvoi.providers.scaleway.offers import (
    CURRENCY,
    ROOT_SIZE,
    Shelf,
    describe_shortage,
    find_image,
    read_shelf,
)
from nvoi.providers.scaleway.orders import Order
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    Costs,
    describe_surplus,
    describe_volume,
    describe_wanted,
)


@dataclass(frozen=True)
class Situation:
    """What a config says, and what there is.

    Attributes:
        shelves: what is sold, by zone; empty where nothing has to be made.
        orders: the servers of the config, the master first.
        faults: what of the config the account cannot have.
        drift: what of the security groups that are there is not as it is to be, by zone.
    """

    application: Application
    inventory: Inventory
    orders: tuple[Order, ...]
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    drift: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def surplus(self) -> tuple[Resource, ...]:
        return self.inventory.list_surplus(self.application)

    def describe(self, *, with_volumes: bool) -> list[str]:
        """What is made, changed and removed, a line each, and what a month costs."""
        lines = [*self._list_shared(), *self._list_parts(), *self._list_takeovers()]
        lines += [describe_surplus(one.name) for one in self.surplus]
        lines += [
            describe_volume(one.name, goes=with_volumes)
            for one in self.inventory.list_surplus_data(self.application)
        ]
        what = lines or [AS_IT_IS_TO_BE]
        costs = describe_costs(self._sum_costs(with_volumes=with_volumes))
        return [*self.list_differences(), *what, costs]

    def list_differences(self) -> Iterator[str]:
        """What the config says in vain of a server that is there, and what is of none."""
        for one in self.inventory.list_orphans():
            yield (
                f"volume {one.name} is of a server that is gone, and goes on costing money: "
                "delete it in Scaleway's console where nothing on it is needed"
            )
        account = get_account(self.application, ScalewayProvider)
        for order in self.orders:
            wanted = order.wanted
            for what, there, said in (
                ("type", order.type, wanted.type or account.server_type),
                ("zone", order.zone, wanted.location or account.zone),
            ):
                if there != said:
                    yield (
                        f"server {wanted.name} keeps its {what} {there}, though the config says "
                        f"{said}: delete it first to have another"
                    )

    def _list_shared(self) -> Iterator[str]:
        network = build_network_name(self.application.name)
        if self.inventory.find(NETWORK, network) is None:
            yield f"makes private network {network}, {rented.SUBNET}, in a VPC of its own"
        ports = ", ".join(f"tcp/{port}" for port in list_open_ports(self.application))
        firewall = build_firewall_name(self.application.name)
        for zone in dict.fromkeys(order.zone for order in self.orders):
            group = f"security group {firewall} in {zone}"
            if zone not in self.drift:
                yield f"makes {group}, which lets in {ports}"
            elif self.drift[zone]:
                yield f"corrects {group}: {', '.join(self.drift[zone])}"

    def _list_parts(self) -> Iterator[str]:
        for order in self.orders:
            if self.inventory.find(SERVER, order.wanted.name) is None:
                yield f"makes server {order.wanted.name}, a {order.type} in {order.zone}"
            for volume in order.wanted.volumes:
                found = self.inventory.find_data(volume.name)
                if found is None:
                    yield f"makes volume {volume.name}, {volume.size} GB in {order.zone}"
                elif get_size(found) < volume.size:
                    sizes = f"from {get_size(found)} GB to {volume.size} GB"
                    yield f"extends volume {volume.name} {sizes}"

    def _list_takeovers(self) -> Iterator[str]:
        for one in self.inventory.resources:
            if not self.inventory.is_own(one):
                yield f"takes over {one.kind.noun} {one.name}, and labels it"

    def _sum_costs(self, *, with_volumes: bool) -> Costs:
        names = {one.name for one in self.surplus}
        going = {
            one for one in self.inventory.resources if self.inventory.get_server_name(one) in names
        }
        if with_volumes:
            going.update(self.inventory.list_surplus_data(self.application))
        prices = {
            one: price_resource(self.shelves[one.place], one)
            for one in self.inventory.list_priced()
        }
        stays = [price for one, price in prices.items() if one not in going]
        now = sum(prices.values(), Decimal())
        return Costs(CURRENCY, now, sum(stays, Decimal()) + self._price_new())

    def _price_new(self) -> Decimal:
        total = Decimal()
        for order in self.orders:
            shelf = self.shelves[order.zone]
            if self.inventory.find(SERVER, order.wanted.name) is None:
                total += get_price(shelf, order.type) + shelf.disk * ROOT_SIZE
            for volume in order.wanted.volumes:
                found = self.inventory.find_data(volume.name)
                total += shelf.disk * max(volume.size - (get_size(found) if found else 0), 0)
        return total


def read_situation(
    api: ScalewayAPI, application: Application, inventory: Inventory, *, with_prices: bool
) -> Situation:
    """What there is to be done.

    Args:
        with_prices: read also what is sold where nothing has to be made.

    Raises:
        NvoiError: the API cannot be asked.
    """
    account, wanted = get_account(application, ScalewayProvider), list(list_wanted(application))
    servers = {one.name: inventory.find(SERVER, one.name) for one in wanted}
    new = [one for one in wanted if servers[one.name] is None]
    zones = {one.location or account.zone for one in new}
    if with_prices:
        zones |= {one.place for one in inventory.resources if one.kind in {SERVER, VOLUME}}
        zones |= {found.place for found in servers.values() if found}
    shelves = work_on_all(sorted(zones), lambda zone: read_shelf(api, zone))
    types = dict.fromkeys(
        (one.location or account.zone, one.type or account.server_type) for one in new
    )
    images = work_on_all([*types], lambda it: find_image(api, it[0], account.architecture, it[1]))
    orders = tuple(
        build_order(application, one, servers[one.name], shelves, images) for one in wanted
    )
    faults = [*list_volume_faults(inventory, orders)]
    faults += [
        fault for one in new if (fault := find_fault(application, one, shelves, images)) is not None
    ]
    groups = {one.place: one for one in inventory.list(FIREWALL)}
    ports = list_open_ports(application)
    drift = (
        {
            zone: find_drift(groups[zone], rules, ports)
            for zone, rules in work_on_all([*groups], lambda z: list_rules(api, groups[z])).items()
        }
        if with_prices
        else {}
    )
    return Situation(application, inventory, orders, shelves, tuple(dict.fromkeys(faults)), drift)


def build_order(
    application: Application,
    wanted: WantedServer,
    found: Resource | None,
    shelves: Mapping[str, Shelf],
    images: Mapping[tuple[str, str], str | None],
) -> Order:
    if found is not None:
        return Order(wanted, found.place, found.data["commercial_type"])
    account = get_account(application, ScalewayProvider)
    zone, type_ = wanted.location or account.zone, wanted.type or account.server_type
    shortage = describe_shortage(shelves[zone], type_, account.architecture)
    return Order(wanted, zone, type_, images[zone, type_], shortage)


def describe_deletion(
    inventory: Inventory, shelves: Mapping[str, Shelf], *, with_volumes: bool
) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    kept = () if with_volumes else inventory.list_data()
    lines = []
    for one in inventory.resources:
        if one in kept:
            lines.append(describe_volume(one.name, goes=False))
        elif one in inventory.list_data():
            lines.append(describe_volume(one.name, goes=True))
        else:
            detail = f", a {one.data['commercial_type']}" if one.kind is SERVER else ""
            lines.append(f"deletes {one.kind.noun} {one.name}{detail} in {one.place}")
    prices = {one.id: price_resource(shelves[one.place], one) for one in inventory.list_priced()}
    stays = sum((prices[one.id] for one in kept), Decimal())
    return [*lines, describe_costs(Costs(CURRENCY, sum(prices.values(), Decimal()), stays))]


def describe_needs(application: Application) -> Iterator[str]:
    """What the config names, where nobody knows what of it is there."""
    account = get_account(application, ScalewayProvider)
    return describe_wanted(
        application,
        lambda server: server.type or account.server_type,
        lambda server: server.location or account.zone,
    )


def describe_costs(costs: Costs) -> str:
    # Scaleway's API tells no prices of addresses.
    return f"{costs}, without public addresses"


def price_resource(shelf: Shelf, resource: Resource) -> Decimal:
    """Of a server or a disk for a month; of all else it has no price."""
    if resource.kind is SERVER:
        return get_price(shelf, resource.data["commercial_type"])
    return shelf.disk * get_size(resource) if resource.kind is VOLUME else Decimal()


def get_price(shelf: Shelf, type_: str) -> Decimal:
    offer = shelf.offers.get(type_)
    return offer.monthly if offer else Decimal()
