"""What of an app is in the account: found by name and tags, and told from what is another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.parallel import work_on_all
from nvoi.providers.rented import build_labels, find_other_owner, list_volume_names, list_wanted
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
)
from nvoi.providers.scaleway.offers import ZONES

#: The tag of an address and of the disk that a server starts from: the server's name. The API
#: gives the one no name, and the other that of its image.
OF_SERVER = "server"
#: Kinds that are in zones and in regions; of those what a deploy looks at where nothing lacks.
ZONAL, REGIONAL = (SERVER, ADDRESS, VOLUME, FIREWALL), (NETWORK, VPC)
NEEDED = (SERVER, VOLUME, FIREWALL)


@dataclass(frozen=True)
class Inventory:
    """The resources that are an app's, or have the names of what is to be.

    Attributes:
        own: the labels of all that is the app's.
        private_ips: addresses in the private network, by the ids of servers' interfaces.
    """

    own: Mapping[str, str]
    resources: tuple[Resource, ...]
    private_ips: Mapping[str, str] = field(default_factory=dict)

    def list(self, kind: Kind) -> tuple[Resource, ...]:
        return tuple(one for one in self.resources if one.kind is kind)

    def find(self, kind: Kind, name: str) -> Resource | None:
        return next((one for one in self.list(kind) if one.name == name), None)

    def find_data(self, name: str) -> Resource | None:
        """The disk with data of this name; one that a server starts from may have it too."""
        return next((one for one in self.list_data() if one.name == name), None)

    def find_in(self, kind: Kind, place: str) -> Resource | None:
        return next((one for one in self.list(kind) if one.place == place), None)

    def find_address(self, server: str, zone: str) -> Resource | None:
        """The address that was made for a server of this name, in its zone."""
        addresses = (one for one in self.list(ADDRESS) if one.place == zone)
        return next((one for one in addresses if one.labels.get(OF_SERVER) == server), None)

    def list_roots(self) -> tuple[Resource, ...]:
        """The disks that servers start from."""
        return tuple(one for one in self.list(VOLUME) if OF_SERVER in one.labels)

    def list_data(self) -> tuple[Resource, ...]:
        """The disks that services keep their data on."""
        return tuple(one for one in self.list(VOLUME) if OF_SERVER not in one.labels)

    def list_priced(self) -> tuple[Resource, ...]:
        return (*self.list(SERVER), *self.list(VOLUME))

    def get_server_name(self, resource: Resource) -> str:
        """The name of the server that it is, or is a part of; empty for all else."""
        name = resource.name if resource.kind is SERVER else resource.labels.get(OF_SERVER)
        return name or ""

    def list_orphans(self) -> tuple[Resource, ...]:
        """The disks that servers started from which are gone."""
        roots = {find_root(server) for server in self.list(SERVER)}
        return tuple(one for one in self.list_roots() if one.id not in roots)

    def list_surplus(self, application: Application) -> tuple[Resource, ...]:
        """The app's servers that the config no longer names."""
        names = {one.name for one in list_wanted(application)}
        surplus = (one for one in self.list(SERVER) if one.name not in names)
        return tuple(sorted(surplus, key=lambda one: one.name))

    def list_surplus_data(self, application: Application) -> tuple[Resource, ...]:
        """The app's disks with data that the config no longer names."""
        names = list_volume_names(list_wanted(application))
        return tuple(one for one in self.list_data() if one.name not in names)

    def list_remains(self, application: Application) -> tuple[Resource, ...]:
        """What is left of servers that are gone, and that the config no longer names."""
        servers = {one.name for one in list_wanted(application)}
        servers |= {one.name for one in self.list(SERVER)}
        parts = ((one, self.get_server_name(one)) for one in self.resources)
        return tuple(one for one, name in parts if name and name not in servers)

    def drop_others(self) -> Inventory:
        """Without what is another's."""
        return replace(self, resources=tuple(filter(self.is_free, self.resources)))

    def drop_strangers(self) -> Inventory:
        """With what bears the app's labels alone."""
        return replace(self, resources=tuple(filter(self.is_own, self.resources)))

    def is_own(self, resource: Resource) -> bool:
        """Whether it bears the app's labels."""
        return self.own.items() <= resource.labels.items()

    def is_free(self, resource: Resource) -> bool:
        """Whether it is the app's, or bears nobody's labels."""
        return find_other_owner(resource.labels, self.own) is None

    def is_complete(self, application: Application) -> bool:
        """Whether all that the config names is there and the app's, and nothing hints at more."""
        wanted = list(list_wanted(application))
        servers = [self.find(SERVER, one.name) for one in wanted]
        volumes = [self.find_data(name) for name in list_volume_names(wanted)]
        network = self.find(NETWORK, build_network_name(application.name))
        nics = {find_nic(one, network) for one in self.list(SERVER)}
        return (
            all(one is not None and self.is_own(one) for one in (*servers, *volumes, network))
            and all(one is not None and find_public_ip(one) for one in servers)
            and nics >= set(self.private_ips)
        )

    def replace(self, changed: Iterable[Resource]) -> Inventory:
        """With resources as they are now, and new ones."""
        by_id = {one.id: one for one in (*self.resources, *changed)}
        return replace(self, resources=tuple(by_id.values()))

    def list_clashes(self) -> Sequence[str]:
        """Names of the app that something else has."""
        owners = {one: find_other_owner(one.labels, self.own) for one in self.resources}
        return [
            f"{one} is not this app's: its tag is {owner}" for one, owner in owners.items() if owner
        ]

    def check_owners(self) -> None:
        """See that what has the name of something to be is free to be used, and is one.

        Raises:
            NvoiError: it is another's, which the error names; or there are two.
        """
        for clash in self.list_clashes():
            raise NvoiError(
                clash, hint="give this app another name, or that one in Scaleway's console"
            )
        named = [one for one in self.resources if one.kind in {SERVER, NETWORK, VPC}]
        named += self.list_data()
        counts = Counter((one.kind.noun, one.name) for one in named)
        for (noun, name), count in counts.items():
            if count > 1:
                raise NvoiError(
                    f"{count} {noun}s are called {name}",
                    hint="keep the one with your data, and delete the other in Scaleway's console",
                )


def read_inventory(api: ScalewayAPI, application: Application, zones: Sequence[str]) -> Inventory:
    """What of the app is in these zones, and in those of their region where something lacks.

    A deploy with nothing to change asks no more than it needs.

    Raises:
        NvoiError: the API cannot be asked.
    """
    region = find_region(zones[0])
    places = [(NETWORK, region), *((kind, zone) for zone in zones for kind in NEEDED)]
    inventory = build_inventory(api, application, places)
    if not inventory.is_complete(application):
        return read_regions(api, application, [region])
    # The address of a server goes before the disk that it started from.
    orphaned = dict.fromkeys((ADDRESS, one.place) for one in inventory.list_orphans())
    return inventory.replace(read_resources(api, application, [*orphaned]))


def read_regions(api: ScalewayAPI, application: Application, regions: Sequence[str]) -> Inventory:
    """All of the app that is in these regions."""
    places = [(kind, region) for region in regions for kind in REGIONAL]
    places += [(kind, zone) for region in regions for zone in ZONES[region] for kind in ZONAL]
    return build_inventory(api, application, places)


def build_inventory(
    api: ScalewayAPI, application: Application, places: Sequence[tuple[Kind, str]]
) -> Inventory:
    inventory = Inventory(build_labels(application), read_resources(api, application, places))
    networks = [one for one in inventory.list(NETWORK) if inventory.is_free(one)]
    addresses = work_on_all(networks, lambda one: list_private_ips(api, one))
    return replace(
        inventory, private_ips={nic: ip for one in addresses.values() for nic, ip in one.items()}
    )


def read_traces(
    api: ScalewayAPI, application: Application, regions: Sequence[str]
) -> dict[str, Resource]:
    """What says that the app is in these regions, by region; it has nothing where that lacks.

    That is its network, or volumes, which a deletion may have spared.
    """
    places = [(kind, region) for region in regions for kind in REGIONAL]
    places += [(VOLUME, zone) for region in regions for zone in ZONES[region]]
    inventory = Inventory(build_labels(application), read_resources(api, application, places))
    found = inventory.drop_others().resources
    return {one.place if one.kind in REGIONAL else find_region(one.place): one for one in found}


def find_region(zone: str) -> str:
    return zone.rpartition("-")[0]


def read_resources(
    api: ScalewayAPI, application: Application, places: Sequence[tuple[Kind, str]]
) -> tuple[Resource, ...]:
    own, names = build_labels(application), list_names(application)
    found = work_on_all(places, lambda place: api.list_resources(*place))
    return tuple(
        one
        for listed in found.values()
        for one in listed
        if own.items() <= one.labels.items() or one.name in names[one.kind.noun]
    )


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
