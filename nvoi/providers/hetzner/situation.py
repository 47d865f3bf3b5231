"""What a config says against what an account has, and what of it cannot be. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from nvoi.config.schema import Application, HetznerProvider
from nvoi.errors import Fault
from nvoi.naming import build_network_name
from nvoi.providers.hetzner.inventory import (
    VOLUME,
    Found,
    Listing,
    NetworkRecord,
    R,
    Record,
)
from nvoi.providers.hetzner.offers import IMAGE, Catalog, Offer
from nvoi.providers.hetzner.refusals import ACCOUNT
from nvoi.providers.rented import (
    SUBNET,
    WantedServer,
    WantedVolume,
    build_labels,
    build_path,
    find_other_owner,
    get_account,
    list_wanted,
)
from nvoi.providers.wording import build_place_fault, find_size_fault

#: GB of a volume, and characters of its name: Hetzner's API reference, "Create a Volume".
SMALLEST, LARGEST, NAME_LENGTH = 10, 10240, 64
#: Values that a fault names at most.
SHOWN = 20


@dataclass(frozen=True)
class Situation:
    """What a config says, and what was found.

    Args:
        catalog: where servers or their network are to be made, what there is to choose from.
    """

    application: Application
    found: Found
    catalog: Catalog | None = None

    @cached_property
    def wanted(self) -> tuple[WantedServer, ...]:
        return tuple(list_wanted(self.application))

    @cached_property
    def lacking(self) -> tuple[WantedServer, ...]:
        return tuple(one for one in self.wanted if self.found.servers.find(one.name) is None)

    @cached_property
    def network(self) -> NetworkRecord | None:
        return self.found.networks.find(build_network_name(self.application.name))

    @property
    def needs_catalog(self) -> bool:
        return bool(self.lacking) or self.network is None or SUBNET not in self.network.subnets

    def list_volumes(self) -> Iterator[tuple[WantedServer, WantedVolume]]:
        for server in self.wanted:
            for volume in server.volumes:
                yield server, volume

    def get_place(self, server: WantedServer) -> str:
        """The location where a server is, or is to be."""
        record = self.found.servers.find(server.name)
        return record.location if record else get_location(self.application, server)

    def list_warnings(self) -> Iterator[str]:
        """What goes on all the same, though not as the config says."""
        yield from list_datacenters(self.application)
        for server in self.wanted:
            record = self.found.servers.find(server.name)
            if record is not None:
                there = f"{record.type} in {record.location}"
                place = get_location(self.application, server)
                given = f"{get_type(self.application, server)} in {place}"
                if there != given:
                    yield f"server {server.name} is a {there}: {given} is for new servers only"

    def list_strangers(self, *, with_volumes: bool) -> list[str]:
        """What bears the app's names, and neither its labels nor another's."""
        return [
            f"{kind} {name}"
            for kind, listing in self.found.list_kinds()
            for name, record in listing.others.items()
            if self.is_free(record) and (with_volumes or kind != VOLUME)
        ]

    def list_free(self, listing: Listing[R]) -> list[R]:
        """Those of a kind that bear the app's names, and neither its labels nor another's."""
        return [*filter(self.is_free, listing.others.values())]

    def is_free(self, record: Record) -> bool:
        return find_other_owner(record.labels, build_labels(self.application)) is None

    def list_clashes(self) -> list[str]:
        """Names of the app that something else has."""
        own = build_labels(self.application)
        return [
            f"{kind} {name} is not this app's: it bears the label {owner}"
            for kind, listing in self.found.list_kinds()
            for name, record in listing.others.items()
            if (owner := find_other_owner(record.labels, own)) is not None
        ]

    def list_faults(self) -> list[Fault]:
        """What of the config the account cannot have."""
        faults = list(self.list_volume_faults())
        if self.catalog is not None:
            faults += find_faults(self.application, self.lacking, self.catalog)
            faults += [] if faults else self.list_zone_faults(self.catalog)
        return faults

    def list_volume_faults(self) -> Iterator[Fault]:
        for server, volume in self.list_volumes():
            record = self.found.volumes.find(volume.name)
            if record is None:
                continue
            if fault := find_size_fault(volume, record.size):
                yield fault
            place, holder = self.get_place(server), self.found.servers.find(server.name)
            if record.location != place:
                yield build_place_fault(volume, record.location, place, "location")
            elif record.server is not None and record.server != (holder.id if holder else None):
                message = f"the volume {record.name} is attached to another server; detach it"
                yield Fault(0, 0, volume.path, message)

    def list_zone_faults(self, catalog: Catalog) -> Iterator[Fault]:
        """The network has one subnet, which is in one network zone."""
        subnets = self.network.subnets if self.network else {}
        zones = {catalog.zones[self.get_place(one)]: one for one in self.wanted}
        if SUBNET in subnets:
            zones.setdefault(subnets[SUBNET], self.wanted[0])
        if len(zones) > 1:
            text = " and ".join(f"{self.get_place(one)} in {zone}" for zone, one in zones.items())
            yield Fault(0, 0, "application.servers", f"all must be in one network zone, not {text}")

    def find_overlap(self) -> str | None:
        """Why the network cannot have nvoi's subnet."""
        if self.network is None or SUBNET in self.network.subnets:
            return None
        subnet = ipaddress.ip_network(SUBNET)
        name = f"network {self.network.name}"
        if not subnet.subnet_of(ipaddress.ip_network(self.network.range)):  # type: ignore[arg-type]
            return f"{name} has {self.network.range}, of which {SUBNET} is no part"
        for one in self.network.subnets:
            if subnet.overlaps(ipaddress.ip_network(one)):
                return f"{name} has the subnet {one}, which overlaps {SUBNET}"
        return None


def get_type(application: Application, server: WantedServer) -> str:
    return server.type or get_account(application, HetznerProvider).server_type


def get_location(application: Application, server: WantedServer) -> str:
    """The location; of a datacenter, which old configs name, the part before the last ``-``."""
    text = server.location or get_account(application, HetznerProvider).server_location
    return text.rpartition("-")[0] or text


def list_datacenters(application: Application) -> Iterator[str]:
    """The datacenters that the config names, each with its place in it."""
    given = {
        f"{ACCOUNT}.server_location": get_account(application, HetznerProvider).server_location
    }
    for group in application.servers.values():
        given[build_path(group.name, "location")] = group.location or ""
    for path, text in given.items():
        if "-" in text:
            place = text.rpartition("-")[0]
            yield f"{path}: Hetzner has no datacenters any more; {text} stands for {place}"


def find_limits(application: Application) -> Iterator[Fault]:
    """Volumes that Hetzner has not, whatever the account."""
    for volume in [volume for server in list_wanted(application) for volume in server.volumes]:
        if not SMALLEST <= volume.size <= LARGEST:
            message = f"Hetzner has volumes of {SMALLEST} to {LARGEST} GB"
            yield Fault(0, 0, f"{volume.path}.size", message)
        if len(volume.name) > NAME_LENGTH:
            message = (
                f"at Hetzner a name has at most {NAME_LENGTH} characters, not as {volume.name}"
            )
            yield Fault(0, 0, volume.path, message)


def find_faults(
    application: Application, servers: Iterable[WantedServer], catalog: Catalog
) -> list[Fault]:
    """Why these servers cannot be made as the config says."""
    faults = (find_fault(application, server, catalog) for server in servers)
    # Servers of a group have the same.
    return list(dict.fromkeys(fault for fault in faults if fault is not None))


def find_fault(application: Application, server: WantedServer, catalog: Catalog) -> Fault | None:
    name, location = get_type(application, server), get_location(application, server)
    type_path = build_path(server.group, "type") if server.type else f"{ACCOUNT}.server_type"
    place_path = (
        build_path(server.group, "location") if server.location else f"{ACCOUNT}.server_location"
    )
    architecture = get_account(application, HetznerProvider).architecture
    if catalog.image is None:
        message = f"there is no image {IMAGE} for {architecture}"
        return Fault(0, 0, f"{ACCOUNT}.architecture", message)
    sold = [one for one in catalog.offers if one.architecture == architecture and one.can_be_had]
    if location not in catalog.zones:
        return Fault(0, 0, place_path, f"no location {location}; use {join(catalog.zones)}")
    here = join(one.type for one in sold if one.location == location)
    offers = [one for one in catalog.offers if one.type == name]
    if not offers:
        return Fault(0, 0, type_path, f"no server type {name}; of {location} use {here}")
    if offers[0].architecture != architecture:
        message = f"{name} is {offers[0].architecture}; types of {architecture}: {here}"
        return Fault(0, 0, f"{ACCOUNT}.architecture", message)
    offer = catalog.find_offer(name, location)
    if offer is None:
        places = join(one.location for one in offers if one.can_be_had)
        message = f"{name} is not sold in {location}; it is in {places}, and there are {here}"
        return Fault(0, 0, type_path, message)
    return find_shortage(offer, type_path, here, catalog)


def find_shortage(offer: Offer, path: str, here: str, catalog: Catalog) -> Fault | None:
    """Why what is sold in principle cannot be had now."""
    if offer.leaves is not None:
        verb = "is no longer sold" if offer.leaves <= datetime.now(UTC) else "is deprecated"
        message = f"{offer.type} {verb} in {offer.location}; use {here}"
        return Fault(0, 0, path, message)
    if not offer.is_available:
        return Fault(0, 0, path, describe_shortage(offer, catalog))
    return None


def describe_shortage(offer: Offer, catalog: Catalog) -> str:
    nearest = [one.describe(catalog.currency) for one in catalog.list_alternatives(offer)]
    text = f"{offer.type} is out of stock in {offer.location}"
    return f"{text}; there is {' or '.join(nearest)}" if nearest else text


def join(values: Iterable[str]) -> str:
    """A list for a fault, sorted, each value once."""
    found = sorted(set(values))
    shown = ", ".join(found[:SHOWN])
    return f"{shown}, …" if len(found) > SHOWN else shown or "none"
