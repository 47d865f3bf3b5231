"""What of an app's config Scaleway cannot have, by the config alone and by the account. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping

from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import Fault
from nvoi.naming import build_network_name
from nvoi.providers import rented
from nvoi.providers.rented import WantedServer, build_path, get_account, list_wanted
from nvoi.providers.scaleway.api import NETWORK, Resource
from nvoi.providers.scaleway.inventory import Inventory, find_region
from nvoi.providers.scaleway.offers import GB, ZONES, Shelf, find_type_fault
from nvoi.providers.scaleway.orders import Order
from nvoi.providers.wording import build_place_fault, find_size_fault

ACCOUNT = "application.compute_provider.scaleway"
PROJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
IPV4 = 4
#: GB that a disk of block storage may have (Block Storage v1, "Create a volume").
LARGEST = 10_000


def list_config_faults(application: Application) -> Iterator[Fault]:
    """What of a config nobody can have at Scaleway."""
    account = get_account(application, ScalewayProvider)
    if not PROJECT.fullmatch(account.project_id):
        message = "must be the id of a project, as the console shows it in the project's settings"
        yield Fault(0, 0, f"{ACCOUNT}.project_id", message)
    zones = [zone for region in ZONES.values() for zone in region]
    places = {f"{ACCOUNT}.zone": account.zone}
    for group in application.servers.values():
        if group.location:
            places[build_path(group.name, "location")] = group.location
    for path, zone in places.items():
        if zone not in zones:
            yield Fault(0, 0, path, f"there is no zone {zone}; there are {', '.join(zones)}")
        elif account.zone in zones and find_region(zone) != find_region(account.zone):
            here = ", ".join(ZONES[find_region(account.zone)])
            message = f"all servers must be in one region; {account.zone} is in that of {here}"
            yield Fault(0, 0, path, message)
    for wanted in list_wanted(application):
        for volume in wanted.volumes:
            if volume.size > LARGEST:
                yield Fault(0, 0, f"{volume.path}.size", f"a volume has at most {LARGEST} GB")


def list_volume_faults(inventory: Inventory, orders: Iterable[Order]) -> Iterator[Fault]:
    for order in orders:
        for volume in order.wanted.volumes:
            found = inventory.find_data(volume.name)
            if found is None:
                continue
            if fault := find_size_fault(volume, get_size(found)):
                yield fault
            if found.place != order.zone:
                yield build_place_fault(volume, found.place, order.zone, "zone")


def find_fault(
    application: Application,
    wanted: WantedServer,
    shelves: Mapping[str, Shelf],
    images: Mapping[tuple[str, str], str | None],
) -> Fault | None:
    """Why a server cannot be made as the config says."""
    architecture = get_account(application, ScalewayProvider).architecture
    zone, type_ = get_zone(application, wanted), get_type(application, wanted)
    message = find_type_fault(shelves[zone], type_, architecture)
    if message is None and images[zone, type_] is None:
        message = f"there is no image of Ubuntu 24.04 for {type_} in {zone}"
    return None if message is None else Fault(0, 0, build_type_path(wanted), message)


def find_overlap(application: Application, inventory: Inventory) -> str | None:
    """Why the app's servers cannot be in the network that has its name."""
    network = inventory.find(NETWORK, build_network_name(application.name))
    subnets = [] if network is None else [one["subnet"] for one in network.data["subnets"]]
    ranges = [one for text in subnets if (one := ipaddress.ip_network(text)).version == IPV4]
    if network is None or any(one.overlaps(ipaddress.ip_network(rented.NETWORK)) for one in ranges):
        return None
    return f"{network} has {', '.join(map(str, ranges)) or 'no IPv4'}, and not {rented.SUBNET}"


def build_type_path(wanted: WantedServer) -> str:
    """The place of a server's type in the config."""
    return build_path(wanted.group, "type") if wanted.type else f"{ACCOUNT}.server_type"


def get_size(volume: Resource) -> int:
    return int(volume.data["size"]) // GB


def get_type(application: Application, server: WantedServer) -> str:
    return server.type or get_account(application, ScalewayProvider).server_type


def get_zone(application: Application, server: WantedServer) -> str:
    return server.location or get_account(application, ScalewayProvider).zone


def list_zones(application: Application) -> list[str]:
    """The zones of the config, that of the account first."""
    account = get_account(application, ScalewayProvider)
    places = (group.location for group in application.servers.values())
    return list(dict.fromkeys([account.zone, *filter(None, places)]))
