"""Hetzner for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvoi.config.schema import Application
from nvoi.providers import Provider
from tests.fakes.clouds.hetzner import FIREWALLS, SERVERS, TOKEN, VOLUMES, Hetzner
from tests.fakes.clouds.server import Json
from tests.integration.clouds.datacenter import Attached, Labels, ProjectSite
from tests.integration.clouds.hetzner_case import PACE, build_config, build_provider


class HetznerSite(ProjectSite):
    calls = 4
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

    def read(self, servers: str) -> Application:
        return build_config(servers)

    def open(self, application: Application, *, in_haste: bool = False) -> Provider:
        pace = replace(PACE, patience=0.1) if in_haste else PACE
        return build_provider(self.cloud, application, pace)

    def add(self, kind: str, name: str, labels: Labels) -> None:
        self.cloud.add_other(f"{kind}s", name, labels)

    def relabel(self, labels: Labels) -> None:
        for things in self.cloud.show_all().values():
            for one in things:
                one["labels"] = dict(labels)

    def list_labels(self, kind: str) -> list[Labels]:
        return [one["labels"] for one in self.cloud.things[f"{kind}s"].values()]
