"""Scaleway for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fakes.clouds.scaleway import (
    GB,
    KEY,
    PROJECT,
    SERVERS,
    VOLUMES,
    Scaleway,
)
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import FIRST_PLACE, Attached, ProjectSite


class ScalewaySite(ProjectSite):
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
