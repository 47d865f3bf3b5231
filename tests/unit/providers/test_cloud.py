"""What a run has seen of an account, whichever the cloud."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import pytest

from nvoi import parallel
from nvoi.errors import NvoiError
from nvoi.providers.cloud import RentedServers
from nvoi.providers.cloud_init import generate_host_key
from nvoi.providers.inventory import Inventory
from nvoi.providers.provider import Server
from nvoi.providers.rented import WantedServer, build_disk, build_labels, build_server
from nvoi.ssh.routes import Routes
from tests.unit.config.texts import hetzner, parse

APP = parse(
    hetzner("app: {web: {servers: [main]}}", "servers: {main: {count: 8, volumes: {data: {}}}}\n")
).application
#: Seconds in which another thread could come between.
WINDOW = 0.001


@dataclass(frozen=True)
class Thing:
    kind: str
    id: int
    name: str
    labels: dict[str, str] = field(compare=False)
    size: int = 10
    type: str = ""
    place: str = ""

    @property
    def is_server(self) -> bool:
        return self.kind == "server"

    @property
    def is_data(self) -> bool:
        return self.kind == "volume"


class SlowInventory(Inventory[Thing]):
    def replace(self, changed: Iterable[Thing]) -> Self:
        threading.Event().wait(WINDOW)
        return super().replace(changed)


class Cloud(RentedServers[SlowInventory]):
    """One whose account has all that the config names, and counts the things of each kind."""

    def _read(self) -> SlowInventory:
        labels = build_labels(self.application)
        numbers = range(1, 1 + self.application.servers["main"].count)
        servers = [Thing("server", one, f"shop-main-{one}", labels) for one in numbers]
        volume = Thing("volume", 1, "shop-main-data", labels)
        return SlowInventory(self.application, (*servers, volume))

    def _build_server(self, seen: SlowInventory, wanted: WantedServer, found: Thing) -> Server:
        address = f"127.0.0.{found.id}"
        disks = [build_disk(one.name, "sdb", one.size) for one in seen.data if one.id == found.id]
        return build_server(APP, wanted, self.routes, address, labels=found.labels, disks=disks)

    def _relabel(self, found: Thing, labels: dict[str, str]) -> Thing:
        return replace(found, labels=labels)

    def _delete_own(self, seen: SlowInventory, *, with_volumes: bool) -> list[str]:
        raise NotImplementedError

    def _describe(self, *, with_volumes: bool) -> list[str]:
        raise NotImplementedError

    def _describe_deletion(self, *, with_volumes: bool) -> list[str]:
        raise NotImplementedError


def test_keys_of_servers_that_are_worked_on_side_by_side_are_all_seen_afterwards() -> None:
    cloud = Cloud(APP, Routes(), None)
    keys = {one: generate_host_key().public for one in cloud.list_servers()}
    parallel.work_on_all([*keys], lambda one: cloud.keep_host_keys(one, [keys[one]]))
    after = cloud.list_servers()
    assert [one.host.host_keys for one in after] == [(key,) for key in keys.values()]


def test_a_server_and_a_volume_of_one_number_are_two() -> None:
    cloud = Cloud(APP, Routes(), None)
    [first, *_] = cloud.list_servers()
    cloud.keep_host_keys(first, [generate_host_key().public])
    [again, *_] = cloud.list_servers()
    assert [disk.name for disk in again.disks] == ["shop-main-data"]


class Stubborn(Cloud):
    """One of whose servers is nobody's, and which does not give the others back."""

    title, console = "Cloud", "there"

    def _read(self) -> SlowInventory:
        return super()._read().replace([Thing("server", 1, "shop-main-1", {})])

    def _delete_own(self, seen: SlowInventory, *, with_volumes: bool) -> list[str]:
        raise NvoiError("left at Cloud: shop-main-2")


def test_a_delete_names_what_is_nobodys_also_where_something_is_left() -> None:
    with pytest.raises(NvoiError) as raised:
        Stubborn(APP, Routes(), None).delete_servers(with_volumes=False)
    left, nobodys = raised.value.message.splitlines()
    assert left == "left at Cloud: shop-main-2"
    assert "shop-main-1" in nobodys
    assert "no label says whose they are" in nobodys


class Faulty(Cloud):
    """One of which nvoi has a fault of its own."""

    title = "Cloud"

    def _read(self) -> SlowInventory:
        raise KeyError("nvoi")


def test_a_fault_of_nvois_own_is_not_told_as_the_clouds() -> None:
    with pytest.raises(KeyError, match="nvoi"):
        Faulty(APP, Routes(), None).list_servers()
