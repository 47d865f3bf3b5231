"""What of an app there is at AWS, whose a thing is by its tags, and what the config wants of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.resources import Resource, build_pairs
from nvoi.providers.inventory import Inventory
from nvoi.providers.rented import WantedServer, build_labels, find_other_owner

#: What AWS' own services make bears tags like these, such as ``aws:cloudformation:stack-name``.
RESERVED = "aws:"
NO_TAGS: Mapping[str, str] = MappingProxyType({})
NO_FILTERS: Mapping[str, Sequence[str]] = MappingProxyType({})


class Owner:
    """One app in its environment."""

    def __init__(self, ec2: EC2, application: Application) -> None:
        self._ec2 = ec2
        self.labels = build_labels(application)

    @property
    def _filters(self) -> dict[str, list[str]]:
        """What finds all that is the app's."""
        return {f"tag:{key}": [value] for key, value in self.labels.items()}

    def build_tags(self, name: str, others: Mapping[str, str] = NO_TAGS) -> dict[str, str]:
        return {"Name": name, **self.labels, **others}

    def owns(self, one: Resource) -> bool:
        return self.labels.items() <= one.tags.items()

    def choose(self, found: Sequence[Resource]) -> Resource | None:
        """The app's own of those that bear a name, else the one that nobody's tags are on.

        The gem put no tags on what it made but the name.

        Raises:
            NvoiError: all are others'.
        """
        free = [one for one in found if find_other(one, self.labels) is None]
        chosen = next((one for one in [*filter(self.owns, found), *free]), None)
        if found and chosen is None:
            other = find_other(found[0], self.labels)
            raise build_clash_error(f"{found[0]} is not this app's: it bears the tag {other}")
        return chosen

    def list_own(
        self, kind: str, filters: Mapping[str, Sequence[str]] = NO_FILTERS
    ) -> list[Resource]:
        """All that bear the app's tags, doubles too."""
        return self._ec2.find(kind, {**self._filters, **filters})

    def list_in(self, there: EC2, kind: str) -> list[Resource]:
        """All that bear the app's tags in another region."""
        return there.find(kind, self._filters)

    def list_there(
        self, kind: str, names: Sequence[str], filters: Mapping[str, Sequence[str]] = NO_FILTERS
    ) -> list[Resource]:
        """All that bear the app's tags, and all that bear those of ``names`` that they do not."""
        own = self.list_own(kind, filters)
        lacking = sorted({*names} - {one.name for one in own})
        named = self._ec2.find(kind, {"tag:Name": lacking, **filters}) if lacking else []
        return [*dict.fromkeys((*own, *named))]

    def claim(self, one: Resource, others: Mapping[str, str] = NO_TAGS) -> Resource:
        """It, once it bears the app's tags, and others beside them."""
        wanted = {**self.labels, **others}
        lacking = {key: value for key, value in wanted.items() if one.tags.get(key) != value}
        if lacking:
            self._ec2.call("create_tags", Resources=[one.id], Tags=build_pairs(lacking))
        return replace(one, tags={**one.tags, **wanted})


@dataclass(frozen=True)
class Situation(Inventory[Resource]):
    """Servers, volumes and the VPC; what else there is of the network is found by that.

    Attributes:
        zone: where all servers are, or are to be, once that was found.
    """

    subnet: Resource | None = None
    zone: str = ""

    word = "tag"
    single = frozenset({"vpc"})

    @property
    def vpc(self) -> Resource | None:
        return next((one for one in self.usable if one.kind == "vpc"), None)

    def get_place(self, server: WantedServer) -> str:
        del server
        return self.zone

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
        zone = there[0].place
        for one in there:
            if one.place != zone:
                raise NvoiError(
                    f"{one} is in {one.place}, and {there[0]} in {zone}",
                    hint="a volume comes to servers of its own zone alone: make one of a snapshot "
                    f"of it in {zone}, with its name, and delete it",
                )
        return zone, str(there[0])


def find_other(one: Resource, own: Mapping[str, str]) -> str | None:
    """The tag by which it is another's than of whom ``own`` are."""
    reserved = (f"{key}={value}" for key, value in one.tags.items() if key.startswith(RESERVED))
    return find_other_owner(one.tags, own) or next(reserved, None)


def build_clash_error(clash: str) -> NvoiError:
    return NvoiError(clash, hint="rename or delete it, or give the app another name")
