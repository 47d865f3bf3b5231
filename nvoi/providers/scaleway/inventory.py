"""What of an app is in the account: found by name and tags, and told from what is another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvoi.config.schema import Application
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.parallel import work_on_all
from nvoi.providers import inventory
from nvoi.providers.cloud import reading
from nvoi.providers.rented import (
    OF_SERVER,
    build_labels,
    list_volume_names,
    list_wanted,
)
from nvoi.providers.scaleway.api import (
    ADDRESS,
    FIREWALL,
    IPAM,
    NETWORK,
    SERVER,
    VOLUME,
    VPC,
    Kind,
    Resource,
    ScalewayAPI,
    build_resource,
)
from nvoi.providers.scaleway.offers import ROOT_SIZE, ZONES

#: Kinds that are in zones and in regions; of those what a deploy looks at where nothing lacks.
ZONAL, REGIONAL = (SERVER, ADDRESS, VOLUME, FIREWALL), (NETWORK, VPC)
NEEDED = (SERVER, VOLUME, FIREWALL)


@dataclass(frozen=True)
class Inventory(inventory.Inventory[Resource]):
    """The resources that are an app's, or have the names of what is to be.

    Attributes:
        private_ips: addresses in the private network, by the ids of servers' interfaces.
        types: how many servers the project has, whosever they are, by their types and zones.
        unmarked: disks that its servers start from, and that bear nobody's tags yet.
    """

    private_ips: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unmarked: tuple[Resource, ...] = ()

    word = "tag"
    single = frozenset({NETWORK, VPC})
    root_size = ROOT_SIZE

    @property
    def disks(self) -> tuple[Resource, ...]:
        roots = {find_root(one) for one in self.servers}
        return (*self.list(VOLUME), *(one for one in self.unmarked if one.id in roots))

    def list_going(self, *, with_volumes: bool) -> tuple[Resource, ...]:
        roots = {find_root(one) for one in self.surplus}
        disks = (one for one in self.disks if one.id in roots)
        return (*super().list_going(with_volumes=with_volumes), *disks)

    def list(self, kind: Kind) -> tuple[Resource, ...]:
        return tuple(one for one in self.usable if one.kind is kind)

    def find(self, kind: Kind, name: str) -> Resource | None:
        return next((one for one in self.list(kind) if one.name == name), None)

    def find_in(self, kind: Kind, place: str) -> Resource | None:
        return next((one for one in self.list(kind) if one.place == place), None)

    def find_address(self, server: str, zone: str) -> Resource | None:
        """The address that was made for a server of this name, in its zone."""
        addresses = (one for one in self.list(ADDRESS) if one.place == zone)
        return next((one for one in addresses if one.labels.get(OF_SERVER) == server), None)

    def list_free_addresses(self, server: Resource) -> tuple[Resource, ...]:
        """The addresses of a server that nobody's labels are on."""
        addresses = (one for one in self.strangers if one.kind is ADDRESS)
        return tuple(one for one in addresses if one.data["server"]["id"] == server.id)

    def list_roots(self) -> tuple[Resource, ...]:
        """The disks that servers start from."""
        return tuple(one for one in self.list(VOLUME) if not one.is_data)

    def get_server_name(self, resource: Resource) -> str:
        """The name of the server that it is, or is a part of; empty for all else."""
        if resource.is_server:
            return resource.name
        # Whoever has a volume with data may have given it any tag.
        return "" if resource.is_data else resource.labels.get(OF_SERVER, "")

    def list_orphans(self) -> tuple[Resource, ...]:
        """The disks that servers started from which are gone."""
        roots = {find_root(server) for server in self.servers}
        return tuple(one for one in self.list_roots() if one.id not in roots)

    def list_leftovers(self) -> tuple[Resource, ...]:
        """What is left of servers that are gone, and that the config no longer names."""
        servers = {one.name for one in self.wanted} | {one.name for one in self.servers}
        parts = ((one, self.get_server_name(one)) for one in self.resources)
        return tuple(one for one, name in parts if name and name not in servers)

    def drop_strangers(self) -> Inventory:
        """With what bears the app's labels alone."""
        return replace(self, resources=tuple(filter(self.is_own, self.resources)))

    def is_complete(self) -> bool:
        """Whether all that the config names is there and the app's, and nothing hints at more."""
        servers = [self.find_server(one.name) for one in self.wanted]
        volumes = [self.find_data(name) for name in list_volume_names(self.wanted)]
        network = self.find(NETWORK, build_network_name(self.application.name))
        nics = {find_nic(one, network) for one in self.servers}
        return (
            all(one is not None and self.is_own(one) for one in (*servers, *volumes, network))
            and all(one is not None and find_public_ip(one) for one in servers)
            and nics >= set(self.private_ips)
        )


def read_inventory(api: ScalewayAPI, application: Application, zones: Sequence[str]) -> Inventory:
    """What of the app is in these zones, and in those of their region where something lacks.

    A deploy with nothing to change asks no more than it needs.

    Raises:
        NvoiError: the API cannot be asked.
    """
    region = find_region(zones[0])
    places = [(NETWORK, region), *((kind, zone) for zone in zones for kind in NEEDED)]
    found = build_inventory(api, application, places)
    if not found.is_complete():
        return read_regions(api, application, [region])
    # The address of a server goes before the disk that it started from.
    orphaned = dict.fromkeys((ADDRESS, one.place) for one in found.list_orphans())
    return found.replace(read_resources(api, application, [*orphaned]).resources)


def read_regions(api: ScalewayAPI, application: Application, regions: Sequence[str]) -> Inventory:
    """All of the app that is in these regions."""
    places = [(kind, region) for region in regions for kind in REGIONAL]
    places += [(kind, zone) for region in regions for zone in ZONES[region] for kind in ZONAL]
    return build_inventory(api, application, places)


def build_inventory(
    api: ScalewayAPI, application: Application, places: Sequence[tuple[Kind, str]]
) -> Inventory:
    found = read_resources(api, application, places)
    addresses = work_on_all(found.list(NETWORK), lambda one: list_private_ips(api, one))
    return replace(
        found, private_ips={nic: ip for one in addresses.values() for nic, ip in one.items()}
    )


def read_traces(
    api: ScalewayAPI, application: Application, regions: Sequence[str]
) -> dict[str, Resource]:
    """What says that the app is in these regions, by region; it has nothing where that lacks.

    That is its network, or volumes, which a deletion may have spared.
    """
    places = [(kind, region) for region in regions for kind in REGIONAL]
    places += [(VOLUME, zone) for region in regions for zone in ZONES[region]]
    found = read_resources(api, application, places).usable
    return {one.place if one.kind in REGIONAL else find_region(one.place): one for one in found}


def find_region(zone: str) -> str:
    return zone.rpartition("-")[0]


@reading("Scaleway")
def read_resources(
    api: ScalewayAPI, application: Application, places: Sequence[tuple[Kind, str]]
) -> Inventory:
    own, names = build_labels(application), list_names(application)
    listed = work_on_all(places, lambda place: api.list_resources(*place))
    there = [one for found in listed.values() for one in found]
    apps = [
        one
        for one in there
        if own.items() <= one.labels.items() or one.name in names[one.kind.noun]
    ]
    servers = [(one.data["commercial_type"], one.place) for one in there if one.is_server]
    known, roots = {one.id for one in apps}, {find_root(one) for one in apps if one.is_server}
    unmarked = tuple(one for one in there if one.id in roots - known)
    found = Inventory(application, tuple(apps), types=Counter(servers), unmarked=unmarked)
    # Only a server tells which addresses the gem has made for it.
    parts = (part for one in found.strangers if one.is_server for part in list_addresses(one))
    # One of another's stays what it is, whichever server it leads to.
    free = (part for part in parts if found.find_owner(part) is None)
    return found.replace([part for part in free if part.id not in known])


def list_names(application: Application) -> dict[str, set[str]]:
    """What the app's resources are called, by the nouns of their kinds.

    Addresses have no names.
    """
    wanted = list(list_wanted(application))
    network = build_network_name(application.name)
    return {
        SERVER.noun: {one.name for one in wanted},
        VOLUME.noun: set(list_volume_names(wanted)),
        FIREWALL.noun: {build_firewall_name(application.name)},
        NETWORK.noun: {network},
        VPC.noun: {network},
        ADDRESS.noun: set(),
    }


def build_tags(resource: Resource | None, labels: Mapping[str, str]) -> list[str]:
    """The tags of something with ``labels``, beside those of its that are none of these."""
    others = [tag for tag in (resource.tags if resource else ()) if tag.split("=")[0] not in labels]
    return [*others, *(f"{key}={value}" for key, value in labels.items())]


@reading("Scaleway")
def list_private_ips(api: ScalewayAPI, network: Resource) -> dict[str, str]:
    """The IPv4 addresses in a private network, by the ids of the interfaces that have them."""
    found = api.list_all(
        f"{IPAM.format(place=network.place)}/ips",
        "ips",
        f"list the addresses in {network}",
        {
            "project_id": api.project,
            "private_network_id": network.id,
            "resource_type": "instance_private_nic",
            "is_ipv6": "false",
        },
    )
    return {
        one["resource"]["id"]: one["address"].partition("/")[0]
        for one in found
        if one.get("resource")
    }


def find_nic(server: Resource, network: Resource | None) -> str | None:
    """The id of the server's interface in the network."""
    for nic in server.data.get("private_nics") or ():
        if network is not None and nic.get("private_network_id") == network.id:
            return str(nic["id"])
    return None


def list_addresses(server: Resource) -> Iterator[Resource]:
    """Those that stay when it goes."""
    holder = {"id": server.id, "name": server.name}
    for one in server.data.get("public_ips") or ():
        if not one.get("dynamic"):
            yield build_resource(ADDRESS, server.place, {**one, "server": holder})


def find_public_ip(server: Resource) -> str | None:
    """The IPv4 address under which everybody reaches it."""
    for one in server.data.get("public_ips") or ():
        if one.get("family", "inet") == "inet" and one.get("address"):
            return str(one["address"])
    return None


def list_attached(server: Resource) -> dict[str, str]:
    """The ids of the disks of block storage on a server, with their states, the first one first."""
    volumes = server.data.get("volumes") or {}
    return {
        volumes[key]["id"]: volumes[key].get("state") or ""
        for key in sorted(volumes, key=int)
        if volumes[key].get("volume_type") == "sbs_volume"
    }


def find_root(server: Resource) -> str | None:
    """The id of the disk that it starts from, where that is one of block storage."""
    volume = (server.data.get("volumes") or {}).get("0") or {}
    return str(volume["id"]) if volume.get("volume_type") == "sbs_volume" else None


def build_root(server: Resource, root: str) -> Resource:
    """The disk that a server starts from, which nobody has marked yet, as it is to be called."""
    return Resource(VOLUME, root, f"{server.name}-root", server.place, (), {"id": root})
