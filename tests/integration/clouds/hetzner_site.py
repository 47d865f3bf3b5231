"""Hetzner for tests of the whole way."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from tests.fakes.clouds.hetzner import KINDS, SERVERS, TOKEN, VOLUMES, Hetzner
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import MOST_SERVERS, Attached, Datacenter, Site

FIRST_ADDRESS = ipaddress.ip_address("198.18.0.0")


class HetznerSite(Site):
    """One project; its background actions take a look or two."""

    def __init__(self) -> None:
        self.cloud: Hetzner = Hetzner(polls=1)
        self.provider = {
            "hetzner": {
                "api_token": TOKEN,
                "server_type": "cx23",
                "server_location": "fsn1",
                "architecture": "x86",
            }
        }
        self.environ = {"HCLOUD_ENDPOINT": self.cloud.url}

    def connect(self, datacenter: Datacenter) -> None:
        def boot(server: Json) -> None:
            (private,) = server["private_net"]
            address, data = server["public_net"]["ipv4"]["ip"], self.cloud.user_data[server["id"]]
            datacenter.boot(server["name"], address, private["ip"], data)

        self.cloud.on_start = boot
        self.cloud.on_delete = lambda server: datacenter.end(server["name"])

    def list_addresses(self) -> Iterable[str]:
        return [str(FIRST_ADDRESS + number) for number in range(MOST_SERVERS)]

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            server = servers.get(volume["server"])
            if server is not None:
                yield Attached(server["name"], volume["linux_device"], volume["size"])

    def list_all(self) -> dict[str, list[str]]:
        names = {kind: self.cloud.list_names(kind) for kind in KINDS}
        return {kind: found for kind, found in names.items() if found}
