"""Hetzner for the kill table, and for the tests that all clouds share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvoi.account import Pace
from nvoi.config.schema import Application
from nvoi.providers.hetzner import Hetzner as Provider
from nvoi.providers.hetzner.api import ENDPOINT_VARIABLE
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.hetzner import FIREWALLS, KEYS, SERVERS, TOKEN, VOLUMES, Hetzner
from tests.fakes.clouds.server import Json
from tests.integration.providers.site import Attached, Labels, ProjectSite
from tests.unit.config.texts import parse
from tests.waiting import PATIENCE

#: Whoever answers does so in the end, however busy the machine is.
PACE = Pace(pause=0.01, poll=0.005, longest_poll=0.05, deadline=PATIENCE)
#: The same where some answers never come.
BRISK = replace(PACE, answer=0.4, patience=20.0)
CONFIG = """\
application:
  name: shop
  compute_provider:
    hetzner:
      api_token: {token}
      server_type: {type}
      server_location: {location}
      architecture: {architecture}
  ssh_keys: {{private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}}
  servers: {servers}
  app: {{web: {{servers: [main]}}}}
"""
SERVER_GROUPS = "{main: {master: true, volumes: {data: {size: 20}}}, work: {type: cx33}}"


def build_config(
    servers: str = SERVER_GROUPS,
    *,
    token: str = TOKEN,
    type_: str = "cx23",
    location: str = "fsn1",
    architecture: str = "x86",
) -> Application:
    text = CONFIG.format(
        servers=servers, token=token, type=type_, location=location, architecture=architecture
    )
    return parse(text).application


def build_provider(cloud: Hetzner, application: Application, pace: Pace = PACE) -> Provider:
    """A provider as a new run has it."""
    return Provider(application, Routes(), {ENDPOINT_VARIABLE: cloud.url}, pace)


class HetznerSite(ProjectSite):
    title = "Hetzner"
    calls = 4
    groups = SERVER_GROUPS
    # More of each kind than an answer has.
    others = 300
    stand_in = Hetzner
    cloud: Hetzner

    def __init__(self, cloud: Hetzner | None = None) -> None:
        super().__init__(cloud)
        self.provider = {
            "hetzner": {
                "api_token": TOKEN,
                "server_type": "cx23",
                "server_location": "fsn1",
                "architecture": "x86",
            }
        }
        self.environ = {"HCLOUD_ENDPOINT": self.cloud.url}

    def is_apps(self, thing: Json) -> bool:
        return thing["labels"].get("app") == "shop" or "shop" in thing["name"]

    def name_parts(self, servers: list[str], volumes: list[str]) -> list[str]:
        return [
            "firewalls nvoi-shop-firewall",
            "networks nvoi-shop-network",
            *(f"servers {name}" for name in servers),
            f"{KEYS} nvoi-shop",
            *(f"volumes {name}" for name in volumes),
        ]

    def check_server(self, name: str) -> Labels:
        server = self.cloud.get(SERVERS, name)
        assert server["status"] == "running", server["status"]
        assert len(server["private_net"]) == 1
        assert len(server["public_net"]["firewalls"]) == 1
        return dict(server["labels"])

    def read_boot(self, server: Json) -> tuple[str, str, str]:
        (private,) = server["private_net"]
        address, data = server["public_net"]["ipv4"]["ip"], self.cloud.user_data[server["id"]]
        return address, private["ip"], data

    def list_open_ports(self) -> set[int]:
        wall = self.cloud.get(FIREWALLS, "nvoi-shop-firewall")
        return {int(rule["port"]) for rule in wall["rules"]}

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            server = servers.get(volume["server"])
            if server is not None:
                device, size = volume["linux_device"], volume["size"]
                yield Attached(volume["name"], server["name"], device, size)

    def read(self, servers: str) -> Application:
        return build_config(servers)

    def open(self, application: Application, *, in_haste: bool = False) -> Provider:
        pace = BRISK if self.cloud.has_faults else PACE
        pace = replace(PACE, patience=0.1) if in_haste else pace
        return build_provider(self.cloud, application, pace)

    def add(self, kind: str, name: str, labels: Labels) -> None:
        self.cloud.add_other(f"{kind}s", name, labels)

    def relabel(self, labels: Labels) -> None:
        for things in self.cloud.show_all().values():
            for one in things:
                one["labels"] = dict(labels)

    def list_labels(self, kind: str) -> list[Labels]:
        return [one["labels"] for one in self.cloud.things[f"{kind}s"].values()]
