"""What an account has of an app beside what its config wants, whichever the cloud. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from nvoi.config.schema import Application
from nvoi.providers.rented import (
    WantedServer,
    WantedVolume,
    build_labels,
    find_other_owner,
    list_volume_names,
    list_wanted,
)


class Resource(Protocol):
    """A thing in an account. As text it is what people call it."""

    @property
    def kind(self) -> Hashable: ...

    @property
    def id(self) -> Hashable:
        """It may be that of a thing of another kind, too."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def is_server(self) -> bool: ...

    @property
    def is_data(self) -> bool:
        """Whether it is a volume, and none that a server starts from."""

    @property
    def type(self) -> str:
        """The server type."""

    @property
    def place(self) -> str:
        """As far as it matters to prices."""

    @property
    def size(self) -> int:
        """GB of a volume."""


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Inventory(Generic[R]):
    """What bears an app's labels, and what else bears its names.

    What the gem made bears the names alone: a deploy uses it once ``--adopt`` has taken it over.
    What bears another's labels is never used.
    """

    application: Application
    resources: tuple[R, ...]

    #: What the cloud calls a label.
    word: ClassVar[str] = "label"
    #: The kinds beside servers and volumes of which an app has one of a name.
    single: ClassVar[frozenset[Hashable]] = frozenset()
    #: GB of the disk that a server starts from, where that has a price of its own.
    root_size: ClassVar[int] = 0

    @cached_property
    def own(self) -> Mapping[str, str]:
        """The labels of all that is the app's."""
        return build_labels(self.application)

    @cached_property
    def wanted(self) -> tuple[WantedServer, ...]:
        return tuple(list_wanted(self.application))

    @cached_property
    def usable(self) -> tuple[R, ...]:
        """What is the app's, and then what is nobody's."""
        return (*filter(self.is_own, self.resources), *self.strangers)

    @cached_property
    def strangers(self) -> tuple[R, ...]:
        """What bears the app's names, and nobody's labels."""
        return tuple(
            one for one in self.resources if not self.is_own(one) and self.find_owner(one) is None
        )

    @cached_property
    def servers(self) -> tuple[R, ...]:
        return tuple(one for one in self.usable if one.is_server)

    @cached_property
    def data(self) -> tuple[R, ...]:
        """The volumes that services keep their data on."""
        return tuple(one for one in self.usable if one.is_data)

    @property
    def disks(self) -> tuple[R, ...]:
        """The volumes that have a price of their own."""
        return self.data

    @property
    def lacking(self) -> tuple[WantedServer, ...]:
        return tuple(one for one in self.wanted if self.find_server(one.name) is None)

    @property
    def surplus(self) -> tuple[R, ...]:
        """The app's servers that the config no longer names."""
        return find_unnamed(self.servers, [one.name for one in self.wanted])

    @property
    def surplus_data(self) -> tuple[R, ...]:
        """The app's volumes that the config no longer names."""
        return find_unnamed(self.data, list_volume_names(self.wanted))

    def list_going(self, *, with_volumes: bool) -> tuple[R, ...]:
        """What is given back as the config no longer names it."""
        return (*self.surplus, *(self.surplus_data if with_volumes else ()))

    def find_server(self, name: str) -> R | None:
        return next((one for one in self.servers if one.name == name), None)

    def get_place(self, server: WantedServer) -> str:
        """Where a server is, or is to be."""
        found = self.find_server(server.name)
        return found.place if found else server.location or ""

    def find_data(self, name: str) -> R | None:
        return next((one for one in self.data if one.name == name), None)

    def list_volumes(self) -> Iterator[tuple[WantedServer, WantedVolume]]:
        """The volumes of the config with their servers."""
        for server in self.wanted:
            for volume in server.volumes:
                yield server, volume

    def is_own(self, one: R) -> bool:
        """Whether it bears the app's labels."""
        return self.own.items() <= one.labels.items()

    def find_owner(self, one: R) -> str | None:
        """The label by which it is another's."""
        return find_other_owner(one.labels, self.own)

    def list_clashes(self) -> list[str]:
        """Names of the app that something of another has."""
        return [
            f"{one} is not this app's: it bears the {self.word} {owner}"
            for one in self.resources
            if not self.is_own(one) and (owner := self.find_owner(one)) is not None
        ]

    def list_doubles(self) -> list[str]:
        """Those that can be used and have one name: which of them has the data, nobody knows.

        Of volumes that the config does not name all stay, or all go.
        """
        volumes = list_volume_names(self.wanted)
        named: dict[tuple[Hashable, str], list[R]] = {}
        for one in self.usable:
            is_wanted = one.is_data and one.name in volumes
            if one.is_server or is_wanted or one.kind in self.single:
                named.setdefault((one.kind, one.name), []).append(one)
        doubles = (those for those in named.values() if len(those) > 1)
        return [f"{' and '.join(tell_apart(those))} have one name" for those in doubles]

    def replace(self, changed: Iterable[R]) -> Self:
        """With resources as they are now, and new ones."""
        by_id = {(one.kind, one.id): one for one in (*self.resources, *changed)}
        return replace(self, resources=tuple(by_id.values()))


def tell_apart(resources: Sequence[Resource]) -> list[str]:
    """What people call each; with its id, where that would be the same."""
    told = [*map(str, resources)]
    if len({*told}) == len(told):
        return told
    return [f"{one} ({one.id})" for one in resources]


def find_unnamed(resources: Iterable[R], names: Sequence[str]) -> tuple[R, ...]:
    """Those without any of these names, by their own."""
    others = (one for one in resources if one.name not in names)
    return tuple(sorted(others, key=lambda one: one.name))
