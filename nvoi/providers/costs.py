"""What servers and disks cost a month, of what there is and of what the config wants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nvoi.providers.inventory import Inventory, Resource
from nvoi.providers.rented import WantedServer


@dataclass(frozen=True)
class Tariff:
    """Prices of a month.

    Attributes:
        server: of a type, in a place.
        disk: of a GB, in a place.
    """

    currency: str
    server: Callable[[str, str], Decimal]
    disk: Callable[[str], Decimal]

    def describe_changes(
        self, seen: Inventory[Any], get_place: Callable[[WantedServer], str], *, with_volumes: bool
    ) -> str:
        """What a deploy makes of the costs; volumes that it does not delete stay."""
        there = (*seen.servers, *seen.disks)
        going = seen.list_going(with_volumes=with_volumes)
        new = Decimal()
        for one in seen.lacking:
            place = get_place(one)
            new += self.server(one.type, place) + seen.root_size * self.disk(place)
        for server, volume in seen.list_volumes():
            found = seen.find_data(volume.name)
            growth = volume.size - (found.size if found else 0)
            new += max(growth, 0) * self.disk(get_place(server))
        return self.describe(there, (one for one in there if one not in going), new)

    def describe(
        self, now: Iterable[Resource], afterwards: Iterable[Resource], new: Decimal = Decimal()
    ) -> str:
        """What of these costs, which are servers and disks, and what is new beside them."""
        before, after = self._add(now), self._add(afterwards) + new
        if before == after:
            return f"costs {self.currency} {before:.2f} a month, as now"
        amounts = (f"{self.currency} {one:.2f}" for one in (after, before))
        return "costs {} a month afterwards, {} now".format(*amounts)

    def _add(self, resources: Iterable[Resource]) -> Decimal:
        prices = (
            self.server(one.type, one.place) if one.is_server else one.size * self.disk(one.place)
            for one in resources
        )
        return sum(prices, Decimal())
