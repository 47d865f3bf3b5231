"""What of an app there is at AWS beside what the config wants, and what that comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nvoi.errors import ConfigError, Fault, NvoiError
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.volumes import build_disk, get_zone, list_holders
from nvoi.providers.provider import Disk
from nvoi.providers.rented import WantedServer, build_path, list_volume_names


@dataclass(frozen=True)
class Situation:
    """What there is, by names, and what is wanted."""

    wanted: tuple[WantedServer, ...]
    servers: Mapping[str, Resource]
    volumes: Mapping[str, Resource]
    vpc: Resource | None = None
    subnet: Resource | None = None

    @property
    def lacking(self) -> tuple[WantedServer, ...]:
        return tuple(one for one in self.wanted if one.name not in self.servers)

    @property
    def surplus(self) -> tuple[Resource, ...]:
        names = {one.name for one in self.wanted}
        return tuple(one for name, one in sorted(self.servers.items()) if name not in names)

    @property
    def surplus_volumes(self) -> tuple[Resource, ...]:
        wanted = list_volume_names(self.wanted)
        return tuple(one for name, one in sorted(self.volumes.items()) if name not in wanted)

    def find_zone(self) -> tuple[str | None, str]:
        """The zone that the servers have to be in, and what is there; None where it is free.

        Raises:
            NvoiError: what is there is in different zones.
        """
        own = [one for one in self.servers.values() if one not in self.surplus]
        names = list_volume_names(self.wanted)
        kept = [one for name, one in self.volumes.items() if name in names]
        there = [*filter(None, (self.subnet, *own, *kept))]
        if not there:
            return None, ""
        zone = get_zone(there[0])
        for one in there:
            if get_zone(one) != zone:
                raise NvoiError(
                    f"{one} is in {get_zone(one)}, and {there[0]} in {zone}",
                    hint="a volume comes to servers of its own zone alone: make one of a snapshot "
                    f"of it in {zone}, with its name, and delete it",
                )
        return zone, str(there[0])

    def check_sizes(self) -> None:
        """See that no volume is to be smaller than it is.

        Raises:
            ConfigError: one is.
        """
        faults = [
            Fault(
                0,
                0,
                build_path(server.group, "volumes"),
                f"{volume.name} has {self.volumes[volume.name].item['Size']} GB, and no volume "
                "can be made smaller",
            )
            for server in self.wanted
            for volume in server.volumes
            if volume.name in self.volumes and self.volumes[volume.name].item["Size"] > volume.size
        ]
        if faults:
            raise ConfigError("config", faults)

    def list_disks(self, server: Resource) -> Iterator[Disk]:
        """The volumes that are on a server."""
        for one in self.volumes.values():
            if server.id in list_holders(one):
                yield build_disk(one)
