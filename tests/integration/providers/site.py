"""A cloud with one account, as the kill table and the tests that all clouds share see each."""

from __future__ import annotations

import copy
import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from nvoi.config.schema import Application, Ingress, Volume
from nvoi.providers import Provider
from nvoi.providers.cloud_init import generate_host_key
from tests.fakes.clouds.server import FIRST_ADDRESS, Cloud, Json, Project

#: Where the first server is on this machine.
FIRST_PLACE = ipaddress.ip_address("127.77.0.1")
#: More servers than a test ever makes.
MOST_SERVERS = 100

Labels = dict[str, str]
Boot = Callable[[str, str, str, str], None]


class Case(ABC):
    """What the kill table does with one account, in which others have things too.

    Attributes:
        title: of the cloud.
        whole: what is deployed into an empty account; `before` and `after` a change.
    """

    title: ClassVar[str]
    cloud: Any
    whole: Application
    before: Application
    after: Application

    @classmethod
    @abstractmethod
    def start(cls, others: int = 0) -> Self:
        """A stand-in with its delays at 0, and so many things of others: more than a page has."""

    @abstractmethod
    def deploy(self, application: Application) -> None:
        """All calls of the API that a deploy makes, by an object of its own, as a process has it.

        `change` and `delete` are likewise; a change may do away with data.
        """

    @abstractmethod
    def change(self, application: Application) -> None: ...

    @abstractmethod
    def delete(self, application: Application) -> None: ...

    @abstractmethod
    def check_whole(self, application: Application) -> None:
        """That nothing of the app lacks, is there twice, or is not as the config says."""

    @abstractmethod
    def list_left(self) -> list[str]:
        """What there is of the app."""

    @abstractmethod
    def show_others(self) -> object:
        """All that is not the app's, to be compared."""


C = TypeVar("C", bound=Case)


@contextmanager
def start(kind: type[C], others: int = 0) -> Iterator[C]:
    """An account, in which what is of others has to be as it was at the end."""
    case = kind.start(others) if others else kind.start()
    try:
        before = copy.deepcopy(case.show_others())
        yield case
        assert case.show_others() == before, "what is of others was touched"
    finally:
        case.cloud.close()


@dataclass(frozen=True)
class Attached:
    """A volume that a server is to see as ``device``; ``size`` in GB."""

    name: str
    server: str
    device: str
    size: int


class Site(Case):
    """A cloud that has servers.

    Attributes:
        calls: of a deploy that changes nothing.
        groups: of `whole`: `main`, which has a volume, and `work`, as YAML.
        provider: ``compute_provider`` of the config.
        environ: what leads nvoi to the stand-in.
        first_address: the public one of the first server.
    """

    calls: ClassVar[int]
    groups = "{main: {master: true, volumes: {data: {size: 20}}}, work: {}}"
    first_address = FIRST_ADDRESS
    cloud: Cloud
    provider: Mapping[str, Any]
    environ: Mapping[str, str]

    def __init__(self) -> None:
        self.whole = self.read(self.groups)
        main, work = self.whole.servers["main"], self.whole.servers["work"]
        passing = {"scratch": Volume("scratch", 10)}
        groups = {
            "main": replace(main, volumes={**main.volumes, **passing}),
            "work": replace(work, volumes=passing),
        }
        grown = {name: replace(one, size=one.size + 10) for name, one in main.volumes.items()}
        self.before = open_to_public(replace(self.whole, servers=groups))
        self.after = replace(self.whole, servers={"main": replace(main, volumes=grown)})

    def deploy(self, application: Application) -> None:
        deploy_servers(self.open(application))

    def change(self, application: Application) -> None:
        deploy_servers(self.open(application), with_volumes=True)

    def delete(self, application: Application) -> None:
        provider = self.open(application)
        provider.list_servers()
        assert not provider.delete_servers(with_volumes=True)

    def check_whole(self, application: Application) -> None:
        servers = [f"shop-{group}-1" for group in application.servers]
        volumes = {
            (f"shop-{group.name}-{volume.name}", f"shop-{group.name}-1", volume.size)
            for group in application.servers.values()
            for volume in group.volumes.values()
        }
        names = [name for name, *_ in volumes]
        assert sorted(self.list_left()) == sorted(self.name_parts(servers, names))
        assert self.list_open_ports() == ({22, 80, 443} if application.ingress else {22})
        assert {one for one in self.list_disks() if one[0] in names} == volumes
        for name in servers:
            labels = self.check_server(name)
            assert {"host-key", "group", "app"} <= labels.keys(), labels
            assert "host-key-first" not in labels

    @abstractmethod
    def connect(self, boot: Boot, end: Callable[[str], None]) -> None:
        """Have servers run as they start for the first time, and end as they are deleted.

        Args:
            boot: by name, public and private address, and user data.
            end: by name.
        """

    def list_addresses(self) -> Iterable[str]:
        """The public addresses that servers get, one after the other."""
        return [str(self.first_address + number) for number in range(MOST_SERVERS)]

    @abstractmethod
    def list_attached(self) -> Iterable[Attached]:
        """The volumes that servers have now."""

    def list_disks(self) -> set[tuple[str, str, int]]:
        """The same, each by its name, its server's, and its size in GB."""
        return {(one.name, one.server, one.size) for one in self.list_attached()}

    @abstractmethod
    def list_open_ports(self) -> set[int]:
        """The TCP ports of the app that everybody may reach."""

    @abstractmethod
    def list_all(self) -> dict[str, list[str]]:
        """The names of all there is in the account, by kind; kinds of nothing are left out."""

    @abstractmethod
    def name_parts(self, servers: list[str], volumes: list[str]) -> list[str]:
        """What `list_left` has of an app with these."""

    @abstractmethod
    def check_server(self, name: str) -> Labels:
        """See that it runs, in the network and behind the firewall alone; returns its labels."""

    @abstractmethod
    def read(self, servers: str) -> Application:
        """An app by its ``servers``, as YAML."""

    @abstractmethod
    def open(self, application: Application, *, in_haste: bool = False) -> Provider:
        """A provider as a new run has it.

        One that is in haste waits for nobody; none waits longer than it must where an answer may
        not come.
        """

    @abstractmethod
    def show(self) -> object:
        """All there is, to be compared."""

    @abstractmethod
    def add(self, kind: str, name: str, labels: Labels) -> None:
        """Have something be there that others have made."""

    @abstractmethod
    def relabel(self, labels: Labels) -> None:
        """Have all that bears a label of nvoi's bear these labels alone."""

    @abstractmethod
    def list_labels(self, kind: str) -> list[Labels]:
        """The labels of all there is of a kind."""

    @property
    def name(self) -> str:
        return self.title.lower()

    def begin(self, application: Application) -> Provider:
        """A run that has its servers."""
        provider = self.open(application)
        provider.ensure_servers()
        return provider


class ProjectSite(Site):
    """One project.

    Attributes:
        others: how many things of others there are, where that is asked for.
        is_apps: whether a thing is the app's.
    """

    others: ClassVar[int]
    stand_in: ClassVar[Callable[..., Any]]
    cloud: Any

    def __init__(self, cloud: Project | None = None) -> None:
        # Its background actions take a look or two.
        self.cloud = cloud or self.stand_in(polls=1)
        super().__init__()

    @classmethod
    def start(cls, others: int = 0) -> Self:
        cloud = cls.stand_in()
        cloud.add_others(others or cls.others)
        return cls(cloud)

    @abstractmethod
    def is_apps(self, thing: Json) -> bool: ...

    def list_left(self) -> list[str]:
        return [
            f"{kind} {one['name'].partition('-key-')[0] or 'of a server'}"
            for kind, things in self.cloud.show_all().items()
            for one in filter(self.is_apps, things)
        ]

    def show_others(self) -> object:
        return {
            kind: [copy.deepcopy(one) for one in things if not self.is_apps(one)]
            for kind, things in self.cloud.show_all().items()
        }

    def connect(self, boot: Boot, end: Callable[[str], None]) -> None:
        self.cloud.on_start = lambda server: boot(server["name"], *self.read_boot(server))
        self.cloud.on_delete = lambda server: end(server["name"])

    @abstractmethod
    def read_boot(self, server: Json) -> tuple[str, str, str]:
        """A server's public and private address, and its user data."""

    def list_all(self) -> dict[str, list[str]]:
        names = {kind: self.cloud.list_names(kind) for kind in self.cloud.kinds}
        return {kind: found for kind, found in names.items() if found}

    def show(self) -> object:
        return copy.deepcopy(self.cloud.show_all())


def open_to_public(application: Application) -> Application:
    """The same with a domain by the ingress."""
    web = replace(application.app["web"], domain="example.com", port=3000)
    return replace(application, app={"web": web}, ingress=Ingress("ops@example.com"))


def deploy_servers(provider: Provider, *, with_volumes: bool = False) -> None:
    """What a deploy asks of a provider, in its order; the servers themselves are never reached."""
    assert not provider.find_faults()
    provider.list_servers()
    # Whatever a broken run has left bears labels: nobody is asked for --adopt.
    assert not provider.list_unlabelled()
    surplus = provider.list_surplus()
    servers = provider.ensure_servers()
    for server in servers:
        if server.is_new:
            present, following = server.host.host_keys[-1], generate_host_key().public
            both = provider.keep_host_keys(server, [present, following])
            assert not provider.keep_host_keys(both, [following]).is_new
    provider.close_ports()
    if surplus or with_volumes:
        provider.delete_surplus(surplus, with_volumes=with_volumes)
