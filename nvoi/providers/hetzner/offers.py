"""What Hetzner sells: server types by location, with what a month costs.

Pure, but for :func:`read_catalog`. Facts are of Hetzner's API reference, "Server Types",
"Locations" and "Pricing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from hcloud.server_types import BoundServerType

from nvoi.account import Pace
from nvoi.config.schema import HetznerProvider
from nvoi.errors import NvoiError, RequestError
from nvoi.providers.hetzner.api import API, ask_all
from nvoi.providers.hetzner.refusals import explain, find_config_fault
from nvoi.providers.provider import ServerType
from nvoi.providers.wording import find_nearest

#: Hetzner's words for the architectures of the config.
ARCHITECTURES = {"x86": "x86", "arm64": "arm"}
#: What servers run, of which Hetzner has an image for each architecture.
IMAGE = "ubuntu-24.04"


@dataclass(frozen=True)
class Offer(ServerType):
    """A server type in a location; its price is with VAT, and without an address.

    Attributes:
        zone: the network zone of the location.
        is_available: whether there are any now.
        leaves: when it is no longer sold, where that was announced.
    """

    zone: str = ""
    is_available: bool = True
    leaves: datetime | None = None

    @property
    def can_be_had(self) -> bool:
        return self.is_available and self.leaves is None

    def tell(self) -> str:
        return f"{self.name} in {self.location} for {self.currency} {self.price:.2f} a month"


@dataclass(frozen=True)
class Catalog:
    """All offers, the network zones of the locations, and what else costs money.

    Attributes:
        address_prices: of an IPv4 address for a month, by location, with VAT.
        volume_price: of a GB, likewise.
        image: the newest of Ubuntu for the architecture of the config.
    """

    offers: tuple[Offer, ...]
    zones: Mapping[str, str]
    currency: str
    address_prices: Mapping[str, Decimal]
    volume_price: Decimal
    image: int | None

    def find_offer(self, type_: str, location: str) -> Offer | None:
        fitting = (one for one in self.offers if (one.name, one.location) == (type_, location))
        return next(fitting, None)

    def get_server_price(self, type_: str, location: str) -> Decimal:
        """Of a server with its address; 0 where it is not sold and has no price any more."""
        offer = self.find_offer(type_, location)
        price = (offer.price if offer else None) or Decimal(0)
        return price + self.address_prices.get(location, Decimal(0))

    def list_alternatives(self, offer: Offer) -> list[Offer]:
        """What comes nearest to what cannot be had: another type there, the same type elsewhere."""
        fitting = [
            one
            for one in self.offers
            if one.can_be_had and one.architecture == offer.architecture and one != offer
        ]
        here = [one for one in fitting if one.location == offer.location]
        nearest = find_nearest(offer, sorted(here, key=lambda one: one.price or 0))
        elsewhere = sorted(
            (one for one in fitting if one.name == offer.name),
            key=lambda one: (one.zone != offer.zone, one.price or 0, one.location),
        )
        return [*([nearest] if nearest else []), *elsewhere[:1]]


def read_catalog(api: API, architecture: str) -> Catalog:
    """Ask for all of it.

    Raises:
        RequestError: the API refuses, or does not answer.
    """
    asks: dict[str, Callable[[], Any]] = {
        "types": api.cloud.server_types.get_all,
        "locations": api.cloud.locations.get_all,
        "prices": lambda: api.request("GET", "/pricing")["pricing"],
        "images": lambda: api.cloud.images.get_all(
            name=IMAGE,
            type=["system"],
            architecture=[ARCHITECTURES[architecture]],
            sort=["created:desc"],
        ),
    }
    found = ask_all(list(asks), lambda name: asks[name]())
    zones = {one.name: one.network_zone for one in found["locations"]}
    prices, currency = found["prices"], found["prices"]["currency"]
    return Catalog(
        offers=tuple(
            offer for one in found["types"] for offer in read_offers(one, zones, currency)
        ),
        zones=zones,
        currency=currency,
        address_prices=dict(read_address_prices(prices)),
        volume_price=Decimal(prices["volume"]["price_per_gb_month"]["gross"]),
        image=next((one.id for one in found["images"]), None),
    )


def list_types(account: HetznerProvider, environ: Mapping[str, str]) -> tuple[ServerType, ...]:
    """What a project can have now, of all locations.

    Raises:
        NvoiError: the token is not known or may only read, or the API does not answer.
    """
    api = API(account.api_token, environ, Pace().hurry())
    try:
        catalog = read_catalog(api, "x86")
        api.check_rights()
    except RequestError as error:
        fault = find_config_fault(error)
        raise (NvoiError(fault.message) if fault else explain(error, "")) from error
    return tuple(
        replace(one, price=catalog.get_server_price(one.name, one.location))
        for one in catalog.offers
        if one.can_be_had
    )


def read_offers(type_: BoundServerType, zones: Mapping[str, str], currency: str) -> Iterator[Offer]:
    words = {hetzners: ours for ours, hetzners in ARCHITECTURES.items()}
    prices = {one["location"]: one["price_monthly"]["gross"] for one in type_.prices or []}
    architecture = type_.architecture or ""
    for place in type_.locations or []:
        name = place.location.name or ""
        yield Offer(
            type_.name or "",
            name,
            words.get(architecture, architecture),
            type_.cores or 0,
            type_.memory or 0,
            Decimal(prices.get(name, 0)),
            currency,
            zone=zones.get(name, ""),
            is_available=bool(place.available),
            leaves=place.deprecation.unavailable_after if place.deprecation else None,
        )


def read_address_prices(prices: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for one in prices["primary_ips"]:
        if one["type"] == "ipv4":
            for place in one["prices"]:
                yield place["location"], Decimal(place["price_monthly"]["gross"])
