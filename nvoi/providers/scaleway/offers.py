"""What Scaleway sells in a zone: server types, images, disks, with their prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from nvoi.config.schema import ScalewayProvider
from nvoi.parallel import work_on_all
from nvoi.providers.catalog import Catalog, Offer
from nvoi.providers.cloud import reading
from nvoi.providers.provider import ServerType
from nvoi.providers.scaleway.api import SERVER, Pace, ScalewayAPI

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
    types = read_catalog(api, zones).list_types()
    return tuple(one for one in types if one.architecture in ARCHITECTURES)


@reading("Scaleway")
def read_catalog(api: ScalewayAPI, zones: Iterable[str]) -> Catalog:
    """What is sold in these zones."""
    places = sorted(set(zones))
    regions = {zone: region for region, group in ZONES.items() for zone in group}
    offers = work_on_all(places, lambda zone: read_offers(api, zone))
    disks = work_on_all(places, lambda zone: read_disk_price(api, zone))
    every = tuple(one for found in offers.values() for one in found)
    return Catalog(CURRENCY, every, regions, disks)


def read_offers(api: ScalewayAPI, zone: str) -> list[Offer]:
    products = f"/instance/v1/zones/{zone}/products/servers"
    what = f"list what is sold in {zone}"
    stock = api.list_all(f"{products}/availability", "servers", what, {})
    out = {one["name"] for one in stock if one.get("availability") == SHORTAGE}
    found = api.list_all(products, "servers", what, {})
    return [build_offer(zone, one, is_out=one["name"] in out) for one in found]


def read_disk_price(api: ScalewayAPI, zone: str) -> Decimal:
    path, what = f"/block/v1/zones/{zone}/volume-types", f"list the disks sold in {zone}"
    types = api.list_all(path, "volume_types", what, {})
    prices = [read_money(one.get("pricing")) for one in types if one.get("type") == DISK_TYPE]
    return sum(prices[:1], Decimal()) * HOURS


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
        is_out=is_out,
        ended="is no longer sold" if found.get("end_of_service") else "",
    )


def read_money(found: Mapping[str, Any] | None) -> Decimal:
    """An amount as Scaleway's APIs have it: whole units, and billionths of one."""
    money = found or {}
    return Decimal(money.get("units") or 0) + Decimal(money.get("nanos") or 0) / 10**9


@reading("Scaleway")
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
