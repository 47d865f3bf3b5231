"""Hetzner for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fakes.clouds.hetzner import FIREWALLS, SERVERS, TOKEN, VOLUMES, Hetzner
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import Attached, ProjectSite


class HetznerSite(ProjectSite):
    cloud: Hetzner

    def __init__(self) -> None:
        self.cloud = Hetzner(polls=1)
        self.provider = {
            "hetzner": {
                "api_token": TOKEN,
                "server_type": "cx23",
                "server_location": "fsn1",
                "architecture": "x86",
            }
        }
        self.environ = {"HCLOUD_ENDPOINT": self.cloud.url}

    def read_boot(self, server: Json) -> tuple[str, str, str]:
        (private,) = server["private_net"]
        address, data = server["public_net"]["ipv4"]["ip"], self.cloud.user_data[server["id"]]
        return address, private["ip"], data

    def list_open_ports(self) -> set[int]:
        walls = self.cloud.things[FIREWALLS].values()
        return {int(rule["port"]) for wall in walls for rule in wall["rules"]}

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            server = servers.get(volume["server"])
            if server is not None:
                yield Attached(server["name"], volume["linux_device"], volume["size"])
