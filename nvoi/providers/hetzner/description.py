"""What a deploy or a deletion would do at Hetzner, in lines for people, with costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvoi.naming import build_firewall_name
from nvoi.providers.hetzner.inventory import FIREWALL, Record
from nvoi.providers.hetzner.offers import Catalog
from nvoi.providers.hetzner.plan import Plan, plan_removal
from nvoi.providers.hetzner.situation import Situation
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
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
    costs = catalog.build_tariff().describe_changes(plan, plan.get_place, with_volumes=with_volumes)
    return [*plan.list_warnings(), *(lines or [AS_IT_IS_TO_BE]), costs]


def list_closing(plan: Plan) -> Iterator[str]:
    if plan.former_ports:
        firewall = f"{FIREWALL} {build_firewall_name(plan.application.name)}"
        yield describe_closing(firewall, plan.former_ports)


def describe_deletion(situation: Situation, catalog: Catalog, going: Iterable[Record]) -> list[str]:
    """What is deleted and what stays, a line each, and what a month costs."""
    gone, priced = [*going], (*situation.servers, *situation.data)
    stays = [one for one in priced if one not in gone]
    return [
        *map(str, plan_removal(gone)),
        *(
            describe_volume(one.name, goes=False)
            for one in stays
            if one.is_data and situation.is_own(one)
        ),
        catalog.build_tariff().describe(priced, stays),
    ]
