"""What of an app there is at AWS beside what the config wants, and what that comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nvoi.errors import ConfigError, NvoiError
from nvoi.providers.aws.ownership import find_other
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.volumes import get_zone
from nvoi.providers.inventory import Inventory
from nvoi.providers.wording import list_size_faults


@dataclass(frozen=True)
class Situation(Inventory[Resource]):
    """Servers, volumes and the VPC; what else there is of the network is found by that."""

    subnet: Resource | None = None

    word = "tag"

    @property
    def vpc(self) -> Resource | None:
        return next((one for one in self.usable if one.kind == "vpc"), None)

    def find_owner(self, one: Resource) -> str | None:
        return find_other(one, self.own)

    def list_clashes(self) -> list[str]:
        # Many may have one name at AWS: where one of them can be used, it is.
        names = {(one.kind, one.name) for one in self.usable}
        others = (one for one in self.resources if (one.kind, one.name) not in names)
        return Inventory.list_clashes(replace(self, resources=tuple(others)))

    def list_other_types(self) -> Iterator[tuple[Resource, str]]:
        """The servers that are of another type than the config says, with that."""
        for one in self.wanted:
            found = self.find_server(one.name)
            if found is not None and found.item["InstanceType"] != one.type:
                yield found, one.type

    def find_zone(self) -> tuple[str | None, str]:
        """The zone that the servers have to be in, and what is there; None where it is free.

        Raises:
            NvoiError: what is there is in different zones.
        """
        servers = (self.find_server(one.name) for one in self.wanted)
        volumes = (self.find_data(volume.name) for _, volume in self.list_volumes())
        there = [*filter(None, (self.subnet, *servers, *volumes))]
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
            fault
            for _, volume in self.list_volumes()
            if (found := self.find_data(volume.name))
            for fault in list_size_faults(volume, found.size)
        ]
        if faults:
            raise ConfigError("config", faults)
