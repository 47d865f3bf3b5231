"""What a deploy or a deletion would do at Scaleway, in lines for people, with costs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers import rented
from nvoi.providers.rented import (
    list_open_ports,
)
from nvoi.providers.scaleway.api import (
    NETWORK,
    SERVER,
    VOLUME,
    Resource,
)
from nvoi.providers.scaleway.inventory import Inventory
from nvoi.providers.scaleway.offers import (
    CURRENCY,
    ROOT_SIZE,
    Shelf,
)
from nvoi.providers.scaleway.situation import Situation
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    Costs,
    describe_closing,
    describe_parts,
    describe_surplus,
    describe_volume,
)


def describe_changes(situation: Situation, *, with_volumes: bool) -> list[str]:
    """What is made, changed and removed, a line each, and what a month costs."""
    zones = {order.wanted: order.zone for order in situation.orders}
    lines = [*list_shared(situation), *describe_parts(situation.inventory, zones.__getitem__)]
    lines += [
        f"takes over {one.kind.noun} {one.name}, and labels it"
        for one in situation.inventory.strangers
    ]
    lines += [f"deletes {one}, which leads nowhere" for one in situation.lost]
    lines += describe_surplus(situation.inventory, with_volumes=with_volumes)
    what = [*(lines or [AS_IT_IS_TO_BE]), *filter(None, [situation.remark])]
    costs = describe_costs(sum_costs(situation, with_volumes=with_volumes))
    return [*situation.list_differences(), *what, costs]


def list_shared(situation: Situation) -> Iterator[str]:
    application = situation.inventory.application
    network = build_network_name(application.name)
    if situation.inventory.find(NETWORK, network) is None:
        yield f"makes private network {network}, {rented.SUBNET}, in a VPC of its own"
    ports = ", ".join(f"tcp/{port}" for port in list_open_ports(application))
    firewall = build_firewall_name(application.name)
    for zone in dict.fromkeys(order.zone for order in situation.orders):
        group = f"security group {firewall} in {zone}"
        if zone not in situation.drift:
            yield f"makes {group}, which lets in {ports}"
        elif situation.drift[zone]:
            yield f"corrects {group}: {', '.join(situation.drift[zone])}"
        if situation.former.get(zone):
            yield describe_closing(group, situation.former[zone])


def sum_costs(situation: Situation, *, with_volumes: bool) -> Costs:
    names = {one.name for one in situation.inventory.surplus}
    going = {
        one
        for one in situation.inventory.resources
        if situation.inventory.get_server_name(one) in names
    }
    if with_volumes:
        going.update(situation.inventory.surplus_data)
    prices = {
        one: price_resource(situation.shelves[one.place], one)
        for one in situation.inventory.list_priced()
    }
    stays = [price for one, price in prices.items() if one not in going]
    now = sum(prices.values(), Decimal())
    return Costs(CURRENCY, now, sum(stays, Decimal()) + price_new(situation))


def price_new(situation: Situation) -> Decimal:
    total = Decimal()
    for order in situation.orders:
        shelf = situation.shelves[order.zone]
        if situation.inventory.find_server(order.wanted.name) is None:
            total += get_price(shelf, order.type) + shelf.disk * ROOT_SIZE
        for volume in order.wanted.volumes:
            found = situation.inventory.find_data(volume.name)
            total += shelf.disk * max(volume.size - (found.size if found else 0), 0)
    return total


def describe_deletion(
    inventory: Inventory, shelves: Mapping[str, Shelf], *, with_volumes: bool
) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    kept = () if with_volumes else inventory.data
    lines = []
    for one in inventory.resources:
        if one in kept:
            lines.append(describe_volume(one.name, goes=False))
        elif one in inventory.data:
            lines.append(describe_volume(one.name, goes=True))
        else:
            detail = f", a {one.data['commercial_type']}" if one.kind is SERVER else ""
            lines.append(f"deletes {one.kind.noun} {one.name}{detail} in {one.place}")
    prices = {one.id: price_resource(shelves[one.place], one) for one in inventory.list_priced()}
    stays = sum((prices[one.id] for one in kept), Decimal())
    return [*lines, describe_costs(Costs(CURRENCY, sum(prices.values(), Decimal()), stays))]


def describe_costs(costs: Costs) -> str:
    # Scaleway's API tells no prices of addresses.
    return f"{costs}, without public addresses"


def price_resource(shelf: Shelf, resource: Resource) -> Decimal:
    """Of a server or a disk for a month; of all else it has no price."""
    if resource.kind is SERVER:
        return get_price(shelf, resource.data["commercial_type"])
    return shelf.disk * resource.size if resource.kind is VOLUME else Decimal()


def get_price(shelf: Shelf, type_: str) -> Decimal:
    offer = shelf.offers.get(type_)
    return (offer.price if offer else None) or Decimal()
