"""Scaleway for the kill table, and for the tests that all clouds share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nvoi.config.schema import Application
from nvoi.providers.scaleway import Scaleway as Rented
from nvoi.providers.scaleway.api import Pace
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.scaleway import (
    FIREWALLS,
    GB,
    KEY,
    NETWORKS,
    PROJECT,
    SERVERS,
    VOLUMES,
    Scaleway,
)
from tests.fakes.clouds.server import Json
from tests.integration.providers.site import FIRST_PLACE, Attached, Labels, ProjectSite
from tests.unit.config.texts import parse, scaleway
from tests.waiting import PATIENCE

PACE = Pace(pause=0.01, poll=0.005, longest_poll=0.05, deadline=PATIENCE, release=PATIENCE)
#: The same where some answers never come.
BRISK = replace(PACE, answer=1.0, patience=20.0)
#: What the stand-in calls kinds.
KINDS = {"server": SERVERS, "volume": VOLUMES, "network": NETWORKS}


class ScalewaySite(ProjectSite):
    title = "Scaleway"
    calls = 6
    groups = "{main: {master: true, volumes: {data: {size: 20}}}, work: {type: DEV1-M}}"
    # More of each kind than a page has.
    others = 700
    stand_in = Scaleway
    cloud: Scaleway
    #: Visitors come to its servers themselves.
    first_address = FIRST_PLACE

    def __init__(self, cloud: Scaleway | None = None) -> None:
        super().__init__(cloud)
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

    def is_apps(self, thing: Json) -> bool:
        # Whatever nobody else has made is the app's, were it marked or not.
        return not thing["name"].startswith("other-")

    def name_parts(self, servers: list[str], volumes: list[str]) -> list[str]:
        return [
            *("ips of a server" for _ in servers),
            "private_networks nvoi-shop-network",
            "security_groups nvoi-shop-firewall",
            *(f"servers {name}" for name in servers),
            *(f"volumes {name}" for name in [*volumes, *(f"{one}-root" for one in servers)]),
            "vpcs nvoi-shop-network",
        ]

    def check_server(self, name: str) -> Labels:
        server = self.cloud.get(SERVERS, name)
        assert server["state"] == "running", server["state"]
        assert len(server["private_nics"]) == 1
        assert server["security_group"]["name"] == "nvoi-shop-firewall"
        assert list(self.cloud.user_data[server["id"]]) == ["cloud-init"]
        return read_tags(server)

    def read_boot(self, server: Json) -> tuple[str, str, str]:
        (nic,) = server["private_nics"]
        data = self.cloud.user_data[server["id"]]["cloud-init"]
        return self.cloud.find_address(server), self.cloud.find_private_ip(nic), data

    def list_open_ports(self) -> set[int]:
        group = self.cloud.get(FIREWALLS, "nvoi-shop-firewall")
        return {rule["dest_port_from"] for rule in self.cloud.rules[group["id"]]}

    def list_attached(self) -> Iterator[Attached]:
        servers = self.cloud.things[SERVERS]
        for volume in list(self.cloud.things[VOLUMES].values()):
            for reference in volume["references"]:
                server = servers.get(reference["product_resource_id"])
                if server is not None and "server=" not in "".join(volume["tags"]):
                    device = f"/dev/disk/by-id/scsi-0SCW_sbs_volume-{volume['id']}"
                    size = volume["size"] // GB
                    yield Attached(volume["name"], server["name"], device, size)

    def read(self, servers: str) -> Application:
        return parse(scaleway("app: {web: {servers: [main]}}", f"servers: {servers}")).application

    def open(self, application: Application, *, in_haste: bool = False) -> Rented:
        pace = BRISK if self.cloud.has_faults else PACE
        pace = replace(PACE, patience=0.1) if in_haste else pace
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
        return [*map(read_tags, things)]


def write_tags(labels: Labels) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]


def read_tags(thing: Json) -> Labels:
    return dict(tag.split("=", 1) for tag in thing["tags"])
