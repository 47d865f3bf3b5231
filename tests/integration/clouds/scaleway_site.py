"""Scaleway for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvoi.config.schema import Application
from nvoi.providers.scaleway import Scaleway as Rented
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.scaleway import (
    GB,
    KEY,
    NETWORKS,
    PROJECT,
    SERVERS,
    VOLUMES,
    Scaleway,
)
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import FIRST_PLACE, Attached, Labels, ProjectSite
from tests.integration.clouds.scaleway_case import PACE
from tests.unit.config.texts import parse, scaleway

#: What the stand-in calls kinds.
KINDS = {"server": SERVERS, "volume": VOLUMES, "network": NETWORKS}


class ScalewaySite(ProjectSite):
    calls = 6
    cloud: Scaleway
    #: Visitors come to its servers themselves.
    first_address = FIRST_PLACE

    def __init__(self) -> None:
        self.cloud = Scaleway(polls=1)
        self.cloud.first_address = self.first_address
        self.provider = {
            "scaleway": {
                "secret_key": KEY,
                "project_id": PROJECT,
                "server_type": "DEV1-S",
                "architecture": "x86",
            }
        }
        self.environ = {"SCW_API_URL": self.cloud.url}

    def read_boot(self, server: Json) -> tuple[str, str, str]:
        (nic,) = server["private_nics"]
        data = self.cloud.user_data[server["id"]]["cloud-init"]
        return self.cloud.find_address(server), self.cloud.find_private_ip(nic), data

    def list_open_ports(self) -> set[int]:
        return {rule["dest_port_from"] for rules in self.cloud.rules.values() for rule in rules}

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            for reference in volume["references"]:
                server = servers.get(reference["product_resource_id"])
                if server is not None and "server=" not in "".join(volume["tags"]):
                    device = f"/dev/disk/by-id/scsi-0SCW_sbs_volume-{volume['id']}"
                    yield Attached(server["name"], device, volume["size"] // GB)

    def read(self, servers: str) -> Application:
        return parse(scaleway("app: {web: {servers: [main]}}", f"servers: {servers}")).application

    def open(self, application: Application, *, in_haste: bool = False) -> Rented:
        pace = replace(PACE, patience=0.1) if in_haste else PACE
        return Rented(application, Routes(), self.environ, pace)

    def add(self, kind: str, name: str, labels: Labels) -> None:
        place = "fr-par" if kind == "network" else "fr-par-1"
        self.cloud.add(KINDS[kind], place, name, write_tags(labels))

    def relabel(self, labels: Labels) -> None:
        for things in self.cloud.show_all().values():
            for one in things:
                one["tags"] = write_tags(labels)

    def list_labels(self, kind: str) -> list[Labels]:
        things = self.cloud.things[KINDS[kind]].values()
        return [dict(tag.split("=", 1) for tag in one["tags"]) for one in things]


def write_tags(labels: Labels) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]
