"""What a cloud sells: server types by place, which can be had now, and what a month costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from nvoi.providers.inventory import Inventory, Resource
from nvoi.providers.provider import ServerType

#: Values that a fault names at most.
SHOWN = 20


@dataclass(frozen=True)
class Offer(ServerType):
    """A server type in a place, which is its location; its price is without an address.

    Attributes:
        is_out: whether there are none to be had now.
        ended: why no new ones should be made, as it reads behind the name; empty where they may.
    """

    is_out: bool = False
    ended: str = ""

    @property
    def can_be_had(self) -> bool:
        return not (self.is_out or self.ended)

    def __str__(self) -> str:
        return f"{self.name} in {self.location} for {self.currency} {self.price:.2f} a month"


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

    def describe_changes(self, seen: Inventory[Any], *, with_volumes: bool) -> str:
        """What a deploy makes of the costs; volumes that it does not delete stay."""
        there = (*seen.servers, *seen.disks)
        going = seen.list_going(with_volumes=with_volumes)
        new = Decimal()
        for one in seen.lacking:
            place = seen.get_place(one)
            new += self.server(one.type, place) + seen.root_size * self.disk(place)
        for server, volume in seen.list_volumes():
            found = seen.find_data(volume.name)
            growth = volume.size - (found.size if found else 0)
            new += max(growth, 0) * self.disk(seen.get_place(server))
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


@dataclass(frozen=True)
class Catalog:
    """All offers, and what else costs money.

    Attributes:
        regions: by the places that there are; those of one are near each other.
        disks: what a GB costs a month, by place.
        addresses: what an address costs a month, likewise, where the API tells.
    """

    currency: str
    offers: tuple[Offer, ...] = ()
    regions: Mapping[str, str] = field(default_factory=dict)
    disks: Mapping[str, Decimal] = field(default_factory=dict)
    addresses: Mapping[str, Decimal] = field(default_factory=dict)

    def find_offer(self, type_: str, place: str) -> Offer | None:
        fitting = (one for one in self.offers if (one.name, one.location) == (type_, place))
        return next(fitting, None)

    def list_types(self) -> tuple[ServerType, ...]:
        """What can be had, each with the price of a server and its address."""
        return tuple(
            replace(one, price=self.get_server_price(one.name, one.location))
            for one in self.offers
            if one.can_be_had
        )

    def get_server_price(self, type_: str, place: str) -> Decimal:
        """Of a server with its address; of that alone where its type is not sold any more."""
        offer = self.find_offer(type_, place)
        price = (offer.price if offer else None) or Decimal()
        return price + self.addresses.get(place, Decimal())

    def build_tariff(self) -> Tariff:
        return Tariff(
            self.currency,
            self.get_server_price,
            lambda place: self.disks.get(place, Decimal()),
        )

    def find_fault(self, type_: str, place: str, architecture: str) -> str | None:
        """Why servers of this type cannot be had in a place, with those that can."""
        offers = [one for one in self.offers if one.name == type_]
        offer = self.find_offer(type_, place)
        fitting = self._list_fitting(architecture)
        names = (one.name for one in fitting if one.location == place)
        can = f"{place} has these of {architecture}: {join(names)}"
        if not offers:
            return f"there is no server type {type_}; {can}"
        if offers[0].architecture != architecture:
            return f"{type_} is {offers[0].architecture}, and `architecture` says another; {can}"
        if offer is None:
            places = join(sorted(one.location for one in fitting if one.name == type_))
            return f"{type_} is not sold in {place}, but in {places}; {can}"
        if offer.ended:
            return f"{type_} {offer.ended} in {place}; {can}"
        return self.describe_shortage(offer) if offer.is_out else None

    def describe_shortage(self, offer: Offer) -> str:
        """That it is out of stock, and what comes nearest: another type there, the same elsewhere.

        A type is near that is no smaller, if there is one, and then the cheapest.
        """
        others = [one for one in self._list_fitting(offer.architecture) if one != offer]
        here = [one for one in others if one.location == offer.location]
        larger = (one for one in here if one.cores >= offer.cores and one.memory >= offer.memory)
        largest = max(here, key=lambda one: (one.cores, one.memory), default=None)
        elsewhere = sorted(
            (one for one in others if one.name == offer.name),
            key=lambda one: self.regions.get(one.location) != self.regions.get(offer.location),
        )
        nearest = filter(None, [next(larger, largest), *elsewhere[:1]])
        told = " or ".join(map(str, nearest)) or "nothing like it; try another place"
        return f"{offer.name} is out of stock in {offer.location}; there is {told}"

    def _list_fitting(self, architecture: str) -> list[Offer]:
        """What can be had, the cheapest first."""
        fitting = (
            one for one in self.offers if one.can_be_had and one.architecture == architecture
        )
        return sorted(fitting, key=lambda one: (one.price or 0, one.name, one.location))


def join(values: Iterable[str]) -> str:
    """A list for a fault, each value once."""
    found = [*dict.fromkeys(values)]
    shown = ", ".join(found[:SHOWN])
    return f"{shown}, …" if len(found) > SHOWN else shown or "none"
