"""Scaleway for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.fakes.clouds.scaleway import (
    FIRST_ADDRESS,
    GB,
    KEY,
    KINDS,
    PROJECT,
    SERVERS,
    VOLUMES,
    Scaleway,
)
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import MOST_SERVERS, Attached, Datacenter, Site


class ScalewaySite(Site):
    """One project; its background actions take a look or two."""

    def __init__(self) -> None:
        self.cloud: Scaleway = Scaleway(polls=1)
        self.provider = {
            "scaleway": {
                "secret_key": KEY,
                "project_id": PROJECT,
                "server_type": "DEV1-S",
                "architecture": "x86",
            }
        }
        self.environ = {"SCW_API_URL": self.cloud.url}

    def connect(self, datacenter: Datacenter) -> None:
        def boot(server: Json) -> None:
            (nic,) = server["private_nics"]
            data = self.cloud.user_data[server["id"]]["cloud-init"]
            address, private = self.cloud.find_address(server), self.cloud.find_private_ip(nic)
            datacenter.boot(server["name"], address, private, data)

        self.cloud.on_start = boot
        self.cloud.on_delete = lambda server: datacenter.end(server["name"])

    def list_addresses(self) -> Iterable[str]:
        return [str(FIRST_ADDRESS + number) for number in range(MOST_SERVERS)]

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            for reference in volume["references"]:
                server = servers.get(reference["product_resource_id"])
                if server is not None and "server=" not in "".join(volume["tags"]):
                    device = f"/dev/disk/by-id/scsi-0SCW_sbs_volume-{volume['id']}"
                    yield Attached(server["name"], device, volume["size"] // GB)

    def list_all(self) -> dict[str, list[str]]:
        names = {kind: self.cloud.list_names(kind) for kind in KINDS}
        return {kind: found for kind, found in names.items() if found}
