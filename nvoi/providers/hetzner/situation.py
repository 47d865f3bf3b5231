"""What a config says against what an account has, and what of it cannot be. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from nvoi.config.schema import Application, HetznerProvider
from nvoi.errors import Fault
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers.catalog import join
from nvoi.providers.hetzner.api import FIREWALL, NETWORK, Record
from nvoi.providers.hetzner.offers import IMAGE, Catalog
from nvoi.providers.hetzner.refusals import ACCOUNT
from nvoi.providers.inventory import Inventory
from nvoi.providers.rented import SUBNET, WantedServer, get_account, list_wanted
from nvoi.providers.wording import list_volume_faults

#: GB of a volume, and characters of its name: Hetzner's API reference, "Create a Volume".
SMALLEST, LARGEST, NAME_LENGTH = 10, 10240, 64


@dataclass(frozen=True)
class Situation(Inventory[Record]):
    """What a config says, and what was found.

    Args:
        catalog: where servers or their network are to be made, what there is to choose from.
    """

    catalog: Catalog | None = None

    @cached_property
    def network(self) -> Record | None:
        return self.find(NETWORK)

    def find(self, kind: str) -> Record | None:
        """The app's network, or its firewall."""
        build_name = {NETWORK: build_network_name, FIREWALL: build_firewall_name}[kind]
        wanted = (kind, build_name(self.application.name))
        return next((one for one in self.usable if (one.kind, one.name) == wanted), None)

    @property
    def needs_catalog(self) -> bool:
        return bool(self.lacking) or self.network is None or SUBNET not in self.network.subnets

    def get_place(self, server: WantedServer) -> str:
        found = self.find_server(server.name)
        return found.place if found else get_location(server)

    def list_warnings(self) -> Iterator[str]:
        """What goes on all the same, though not as the config says."""
        yield from list_datacenters(self.wanted)
        for server in self.wanted:
            if found := self.find_server(server.name):
                there = f"{found.type} in {found.location}"
                given = f"{server.type} in {get_location(server)}"
                if there != given:
                    yield f"server {server.name} is a {there}: {given} is for new servers only"

    def list_faults(self) -> list[Fault]:
        """What of the config the account cannot have."""
        faults = [*list_volume_faults(self, "location"), *self.list_holder_faults()]
        if self.catalog is not None:
            faults += find_faults(self.application, self.lacking, self.catalog)
            faults += [] if faults else self.list_zone_faults(self.catalog)
        return faults

    def list_holder_faults(self) -> Iterator[Fault]:
        for server, volume in self.list_volumes():
            found, holder = self.find_data(volume.name), self.find_server(server.name)
            if (
                found
                and found.holder is not None
                and found.holder != (holder.id if holder else None)
            ):
                message = f"the volume {found.name} is attached to another server; detach it"
                yield Fault(0, 0, volume.path, message)

    def list_zone_faults(self, catalog: Catalog) -> Iterator[Fault]:
        """The network has one subnet, which is in one network zone."""
        subnets = self.network.subnets if self.network else {}
        zones = {
            zone: one
            for one in self.wanted
            if (zone := catalog.regions.get(self.get_place(one))) is not None
        }
        if SUBNET in subnets:
            zones.setdefault(subnets[SUBNET], self.wanted[0])
        if len(zones) > 1:
            text = " and ".join(f"{self.get_place(one)} in {zone}" for zone, one in zones.items())
            yield Fault(0, 0, "application.servers", f"all must be in one network zone, not {text}")

    def find_overlap(self) -> str | None:
        """Why the network cannot have nvoi's subnet."""
        if self.network is None or SUBNET in self.network.subnets:
            return None
        whole, subnet = self.network.data.ip_range, ipaddress.ip_network(SUBNET)
        if not subnet.subnet_of(ipaddress.ip_network(whole)):  # type: ignore[arg-type]
            return f"{self.network} has {whole}, of which {SUBNET} is no part"
        for one in self.network.subnets:
            if subnet.overlaps(ipaddress.ip_network(one)):
                return f"{self.network} has the subnet {one}, which overlaps {SUBNET}"
        return None


def get_location(server: WantedServer) -> str:
    """The location; of a datacenter, which old configs name, the part before the last ``-``."""
    text = server.location or ""
    return text.rpartition("-")[0] or text


def list_datacenters(servers: Iterable[WantedServer]) -> Iterator[str]:
    """The datacenters that the config names, each with its place in it."""
    for path, text in {one.place_path: one.location or "" for one in servers}.items():
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
    architecture = get_account(application, HetznerProvider).architecture
    if catalog.image is None:
        message = f"there is no image {IMAGE} for {architecture}"
        return Fault(0, 0, f"{ACCOUNT}.architecture", message)
    place = get_location(server)
    if place not in catalog.regions:
        message = f"there is no location {place}; there are {join(sorted(catalog.regions))}"
        return Fault(0, 0, server.place_path, message)
    fault = catalog.find_fault(server.type, place, architecture)
    return Fault(0, 0, server.type_path, fault) if fault else None
