"""What Hetzner sells: server types by location, with what a month costs.

Pure, but for :func:`read_catalog`. Facts are of Hetzner's API reference, "Server Types",
"Locations" and "Pricing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hcloud.deprecation import DeprecationInfo
from hcloud.server_types import BoundServerType

from nvoi.account import Pace
from nvoi.config.schema import HetznerProvider
from nvoi.errors import HostsError, NvoiError, RequestError
from nvoi.parallel import work_on_all
from nvoi.providers import catalog
from nvoi.providers.catalog import Offer
from nvoi.providers.cloud import reading
from nvoi.providers.hetzner.api import API
from nvoi.providers.hetzner.refusals import explain, find_config_fault
from nvoi.providers.provider import ServerType

#: Hetzner's words for the architectures of the config.
ARCHITECTURES = {"x86": "x86", "arm64": "arm"}
#: What servers run, of which Hetzner has an image for each architecture.
IMAGE = "ubuntu-24.04"


@dataclass(frozen=True)
class Catalog(catalog.Catalog):
    """Prices are with VAT; regions are network zones.

    Attributes:
        image: the newest of Ubuntu for the architecture of the config.
    """

    image: int | None = None


@reading("Hetzner")
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
    found = work_on_all(list(asks), lambda name: asks[name]())
    zones = {one.name: one.network_zone for one in found["locations"]}
    prices, currency = found["prices"], found["prices"]["currency"]
    disk = Decimal(prices["volume"]["price_per_gb_month"]["gross"])
    return Catalog(
        currency,
        tuple(offer for one in found["types"] for offer in read_offers(one, currency)),
        zones,
        disks=dict.fromkeys(zones, disk),
        addresses=dict(read_address_prices(prices)),
        image=next((one.id for one in found["images"]), None),
    )


def list_types(account: HetznerProvider, environ: Mapping[str, str]) -> tuple[ServerType, ...]:
    """What a project can have now, of all locations.

    Raises:
        NvoiError: the token is not known or may only read, or the API does not answer.
    """
    api = API(account.api_token, environ, Pace().hurry())
    try:
        # Before all else: one refusal says more than four.
        api.check_rights()
        return read_catalog(api, "x86").list_types()
    except (HostsError, RequestError) as failed:
        error = failed.errors[0] if isinstance(failed, HostsError) else failed
        fault = find_config_fault(error) if isinstance(error, RequestError) else None
        raise (NvoiError(fault.message) if fault else explain(error, "")) from failed


def read_offers(type_: BoundServerType, currency: str) -> Iterator[Offer]:
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
            is_out=not place.available,
            ended=describe_end(place.deprecation),
        )


def describe_end(deprecation: DeprecationInfo | None) -> str:
    end = deprecation.unavailable_after if deprecation else None
    if end is None:
        return ""
    return "is no longer sold" if end <= datetime.now(UTC) else "is deprecated"


def read_address_prices(prices: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for one in prices["primary_ips"]:
        if one["type"] == "ipv4":
            for place in one["prices"]:
                yield place["location"], Decimal(place["price_monthly"]["gross"])
