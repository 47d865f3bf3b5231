"""What Scaleway sells in a zone: server types, images, disks, with their prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nvoi.config.schema import ScalewayProvider
from nvoi.parallel import work_on_all
from nvoi.providers.provider import ServerType
from nvoi.providers.scaleway.api import SERVER, Pace, ScalewayAPI
from nvoi.providers.wording import find_nearest

#: Zones with Instances, by their regions (scaleway-sdk-go, ``scw/locality.go``).
ZONES: Mapping[str, tuple[str, ...]] = {
    "fr-par": ("fr-par-1", "fr-par-2", "fr-par-3"),
    "nl-ams": ("nl-ams-1", "nl-ams-2", "nl-ams-3"),
    "pl-waw": ("pl-waw-1", "pl-waw-2", "pl-waw-3"),
    "it-mil": ("it-mil-1",),
}
#: The architectures of the config, as the API calls them.
ARCHITECTURES = {"x86": "x86_64", "arm64": "arm64"}
#: Ubuntu 24.04. The marketplace has one image of it for each architecture, the newest.
IMAGE = "ubuntu_noble"
#: The image for disks of block storage; others are for servers with a disk of their own.
IMAGE_TYPE = "instance_sbs"
#: The class of disks that nvoi makes, and its operations a second.
DISK_TYPE, DISK_IOPS = "sbs_5k", 5000
#: GB of the disk that a server starts from: k3s, and the images of a few releases.
ROOT_SIZE = 40
#: Hours of a month, as Scaleway's monthly prices have it.
HOURS = 730
CURRENCY = "EUR"
SHORTAGE = "shortage"


@dataclass(frozen=True)
class Offer(ServerType):
    """A server type in a zone.

    Attributes:
        is_ended: whether no new ones are sold.
        is_out: whether there are none to be had now.
    """

    is_ended: bool = False
    is_out: bool = False


@dataclass(frozen=True)
class Shelf:
    """What is sold in a zone.

    Attributes:
        offers: by their names.
        disk: EUR for a GB a month.
    """

    zone: str
    offers: Mapping[str, Offer]
    disk: Decimal

    def list_fitting(self, architecture: str) -> list[Offer]:
        """What can be had of an architecture, the cheapest first."""
        fitting = (
            one
            for one in self.offers.values()
            if one.architecture == architecture and not (one.is_ended or one.is_out)
        )
        return sorted(fitting, key=lambda one: (one.price or 0, one.name))


def list_types(account: ScalewayProvider, environ: Mapping[str, str]) -> tuple[ServerType, ...]:
    """What a project can have now, in all zones; prices are without an address.

    Raises:
        NvoiError: the key is refused, or the API does not answer.
    """
    pace = Pace().hurry()
    api = ScalewayAPI(account.secret_key, account.project_id, environ, pace)
    zones = [zone for group in ZONES.values() for zone in group]
    # What is sold is told to anybody.
    api.list_resources(SERVER, zones[0])
    shelves = work_on_all(zones, lambda zone: read_shelf(api, zone))
    fitting = (shelf.list_fitting(ours) for shelf in shelves.values() for ours in ARCHITECTURES)
    return tuple(one for offers in fitting for one in offers)


def read_shelf(api: ScalewayAPI, zone: str) -> Shelf:
    products = f"/instance/v1/zones/{zone}/products/servers"
    what = f"list what is sold in {zone}"
    stock = api.list_all(f"{products}/availability", "servers", what, {})
    out = {one["name"] for one in stock if one.get("availability") == SHORTAGE}
    offers = [
        build_offer(zone, one, is_out=one["name"] in out)
        for one in api.list_all(products, "servers", what, {})
    ]
    types = api.list_all(f"/block/v1/zones/{zone}/volume-types", "volume_types", what, {})
    prices = [read_money(one.get("pricing")) for one in types if one.get("type") == DISK_TYPE]
    return Shelf(zone, {one.name: one for one in offers}, sum(prices[:1], Decimal()) * HOURS)


def build_offer(zone: str, found: Mapping[str, Any], *, is_out: bool) -> Offer:
    words = {theirs: ours for ours, theirs in ARCHITECTURES.items()}
    hourly, monthly = Decimal(str(found.get("hourly_price") or 0)), found.get("monthly_price")
    return Offer(
        found["name"],
        zone,
        words.get(found["arch"], found["arch"]),
        found["ncpus"],
        found["ram"] / 2**30,
        hourly * HOURS if monthly is None else Decimal(str(monthly)),
        CURRENCY,
        is_ended=bool(found.get("end_of_service")),
        is_out=is_out,
    )


def read_money(found: Mapping[str, Any] | None) -> Decimal:
    """An amount as Scaleway's APIs have it: whole units, and billionths of one."""
    money = found or {}
    return Decimal(money.get("units") or 0) + Decimal(money.get("nanos") or 0) / 10**9


def find_image(api: ScalewayAPI, zone: str, architecture: str, type_: str) -> str | None:
    """The id of the image for a server type; None where there is none for it."""
    query = {
        "image_label": IMAGE,
        "zone": zone,
        "type": IMAGE_TYPE,
        "arch": ARCHITECTURES[architecture],
    }
    path, what = "/marketplace/v2/local-images", f"list the images of Ubuntu in {zone}"
    for image in api.list_all(path, "local_images", what, query):
        if type_ in image["compatible_commercial_types"]:
            return str(image["id"])
    return None


def find_type_fault(shelf: Shelf, type_: str, architecture: str) -> str | None:
    """Why servers of this type cannot be had in the zone, with those that can."""
    offer = shelf.offers.get(type_)
    names = ", ".join(one.name for one in shelf.list_fitting(architecture))
    can = f"{shelf.zone} has these of {architecture}: {names or 'none'}"
    if offer is None:
        return f"there is no server type {type_} in {shelf.zone}; {can}"
    if offer.architecture != architecture:
        return f"{type_} is {offer.architecture}, and `architecture` says {architecture}; {can}"
    if offer.is_ended:
        return f"{type_} is no longer sold; {can}"
    return describe_shortage(shelf, type_, architecture) if offer.is_out else None


def describe_shortage(shelf: Shelf, type_: str, architecture: str) -> str:
    """That a type is out of stock, and the nearest that is not: no smaller, if there is one."""
    text = f"{type_} is out of stock in {shelf.zone}"
    offer = shelf.offers.get(type_)
    others = [one for one in shelf.list_fitting(architecture) if one is not offer]
    nearest = find_nearest(offer, others)
    if nearest is None:
        return f"{text}, and so is every other type of {architecture}; try another zone"
    return f"{text}; the nearest that can be had there is {nearest.describe()}"
