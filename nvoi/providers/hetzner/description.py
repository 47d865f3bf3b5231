"""What a deploy or a deletion would do at Hetzner, in lines for people, with costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from nvoi.config.schema import Application
from nvoi.naming import build_firewall_name
from nvoi.providers.hetzner.inventory import FIREWALL, ServerRecord, VolumeRecord
from nvoi.providers.hetzner.offers import Catalog
from nvoi.providers.hetzner.plan import Plan, Work
from nvoi.providers.hetzner.situation import Situation, get_location, get_type
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    Costs,
    describe_closing,
    describe_surplus,
    describe_volume,
    describe_wanted,
)


def describe_needs(application: Application) -> Iterator[str]:
    """What the config names, where nobody knows what of it is there."""
    return describe_wanted(
        application, partial(get_type, application), partial(get_location, application)
    )


def describe_changes(
    plan: Plan,
    catalog: Catalog,
    servers: Iterable[ServerRecord],
    volumes: Sequence[VolumeRecord],
    *,
    with_volumes: bool,
) -> list[str]:
    """What is made, changed and removed, a line each, and what a month costs.

    Args:
        servers, volumes: those that the config no longer names.
    """
    lines = [
        *map(str, plan.list_works()),
        *list_closing(plan),
        *(describe_surplus(one.name) for one in servers),
        *(describe_volume(one.name, goes=with_volumes) for one in volumes),
    ]
    costs = sum_costs(plan, catalog)
    if with_volumes:
        less = sum(one.size for one in volumes) * catalog.volume_price
        costs = replace(costs, afterwards=costs.afterwards - less)
    return [*plan.list_warnings(), *(lines or [AS_IT_IS_TO_BE]), str(costs)]


def list_closing(plan: Plan) -> Iterator[str]:
    if plan.former_ports:
        firewall = f"{FIREWALL} {build_firewall_name(plan.application.name)}"
        yield describe_closing(firewall, plan.former_ports)


def describe_deletion(
    situation: Situation, catalog: Catalog, works: Iterable[Work], *, with_volumes: bool
) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    found = situation.found
    kept = [] if with_volumes else list(found.volumes.own.values())
    free = situation.list_free(found.servers), situation.list_free(found.volumes)
    after = price_all(catalog, free[0], [*free[1], *kept])
    return [
        *map(str, works),
        *(describe_volume(one.name, goes=False) for one in kept),
        str(Costs(catalog.currency, price_all(catalog, *list_there(situation)), after)),
    ]


def sum_costs(situation: Situation, catalog: Catalog) -> Costs:
    """Of all that is there now, and of what the config names with the volumes that stay."""
    servers, volumes = list_there(situation)
    now = price_all(catalog, servers, volumes)
    sizes = {one.name: one.size for one in volumes}
    after = Decimal(0)
    for wanted in situation.wanted:
        record = situation.found.servers.find(wanted.name)
        type_ = record.type if record else get_type(situation.application, wanted)
        after += catalog.get_server_price(type_, situation.get_place(wanted))
    sizes |= {volume.name: volume.size for _, volume in situation.list_volumes()}
    after += sum(sizes.values()) * catalog.volume_price
    return Costs(catalog.currency, now, after)


def list_there(situation: Situation) -> tuple[list[ServerRecord], list[VolumeRecord]]:
    """What costs money now, with what bears the app's names and nobody's labels."""
    servers, volumes = situation.found.servers, situation.found.volumes
    return (
        [*servers.own.values(), *situation.list_free(servers)],
        [*volumes.own.values(), *situation.list_free(volumes)],
    )


def price_all(
    catalog: Catalog, servers: Iterable[ServerRecord], volumes: Iterable[VolumeRecord]
) -> Decimal:
    prices = (catalog.get_server_price(one.type, one.location) for one in servers)
    return sum(prices, sum(one.size for one in volumes) * catalog.volume_price)
