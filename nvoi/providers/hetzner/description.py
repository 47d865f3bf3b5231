"""What a deploy or a deletion would do at Hetzner, in lines for people, with costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from nvoi.naming import build_firewall_name
from nvoi.providers.hetzner.inventory import FIREWALL, Record
from nvoi.providers.hetzner.offers import Catalog
from nvoi.providers.hetzner.plan import Plan, plan_removal
from nvoi.providers.hetzner.situation import Situation
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    Costs,
    describe_closing,
    describe_surplus,
    describe_volume,
)


def describe_changes(plan: Plan, catalog: Catalog, *, with_volumes: bool) -> list[str]:
    """What is made, changed and removed, a line each, and what a month costs."""
    lines = [
        *map(str, plan.list_works()),
        *list_closing(plan),
        *describe_surplus(plan, with_volumes=with_volumes),
    ]
    costs = str(sum_costs(plan, catalog, with_volumes=with_volumes))
    return [*plan.list_warnings(), *(lines or [AS_IT_IS_TO_BE]), costs]


def list_closing(plan: Plan) -> Iterator[str]:
    if plan.former_ports:
        firewall = f"{FIREWALL} {build_firewall_name(plan.application.name)}"
        yield describe_closing(firewall, plan.former_ports)


def describe_deletion(situation: Situation, catalog: Catalog, going: Iterable[Record]) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    gone = [*going]
    stays = [one for one in situation.usable if one not in gone]
    return [
        *map(str, plan_removal(gone)),
        *(
            describe_volume(one.name, goes=False)
            for one in stays
            if one.is_data and situation.is_own(one)
        ),
        str(
            Costs(catalog.currency, price_all(catalog, situation.usable), price_all(catalog, stays))
        ),
    ]


def sum_costs(situation: Situation, catalog: Catalog, *, with_volumes: bool) -> Costs:
    """Of all that is there now, and of what the config names with the volumes that stay."""
    after = Decimal(0)
    for wanted in situation.wanted:
        found = situation.find_server(wanted.name)
        type_ = found.type if found else wanted.type
        after += catalog.get_server_price(type_, situation.get_place(wanted))
    gone = situation.surplus_data if with_volumes else ()
    sizes = {one.name: one.size for one in situation.data if one not in gone}
    sizes |= {volume.name: volume.size for _, volume in situation.list_volumes()}
    after += sum(sizes.values()) * catalog.volume_price
    return Costs(catalog.currency, price_all(catalog, situation.usable), after)


def price_all(catalog: Catalog, records: Iterable[Record]) -> Decimal:
    """Of all servers and volumes that there are; all else costs nothing."""
    prices = (
        catalog.get_server_price(one.type, one.location)
        if one.is_server
        else one.size * catalog.volume_price
        for one in records
        if one.is_server or one.is_data
    )
    return sum(prices, Decimal(0))
