"""What a deploy or a deletion would do at Scaleway, in lines for people, with costs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers import rented
from nvoi.providers.catalog import Catalog
from nvoi.providers.rented import (
    list_open_ports,
)
from nvoi.providers.scaleway.api import (
    NETWORK,
    SERVER,
)
from nvoi.providers.scaleway.inventory import Inventory
from nvoi.providers.scaleway.situation import Situation
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    describe_closing,
    describe_parts,
    describe_surplus,
    describe_volume,
)

#: Scaleway's API tells no prices of addresses.
UNKNOWN = ", without public addresses"


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
    costs = situation.catalog.build_tariff().describe_changes(
        situation.inventory, zones.__getitem__, with_volumes=with_volumes
    )
    return [*situation.list_differences(), *what, f"{costs}{UNKNOWN}"]


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


def describe_deletion(inventory: Inventory, catalog: Catalog, *, with_volumes: bool) -> list[str]:
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
    priced = (*inventory.servers, *inventory.disks)
    return [*lines, f"{catalog.build_tariff().describe(priced, kept)}{UNKNOWN}"]
