"""Scaleway in the kill table: two groups, a volume, and more of each kind than a page has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from nvoi.config.schema import Application
from nvoi.providers.scaleway import Scaleway as Provider
from nvoi.providers.scaleway.api import URL_VARIABLE, Pace
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.scaleway import FIREWALLS, GB, SERVERS, VOLUMES, Scaleway
from tests.fakes.clouds.server import Json
from tests.integration.clouds.case import (
    build_case,
    list_left,
    list_ports,
    list_sizes,
    name_servers,
    show_others,
)
from tests.unit.config.texts import parse, scaleway
from tests.waiting import PATIENCE

PACE = Pace(pause=0.01, poll=0.005, longest_poll=0.05, deadline=PATIENCE, release=PATIENCE)
#: The same where some answers never come.
BRISK = replace(PACE, answer=1.0, patience=20.0)
SERVER_GROUPS = "servers: {main: {master: true, volumes: {data: {size: 20}}}, work: {type: DEV1-M}}"


def open_provider(cloud: Scaleway, application: Application) -> Provider:
    """It waits no longer than it must where an answer may not come."""
    pace = BRISK if cloud.has_faults else PACE
    return Provider(application, Routes(), {URL_VARIABLE: cloud.url}, pace)


def start(others: int = 700) -> Scaleway:
    cloud = Scaleway()
    cloud.add_others(others)
    return cloud


def is_apps(thing: Json) -> bool:
    """Whatever nobody else has made is the app's, were it marked or not."""
    return not thing["name"].startswith("other-")


def check_whole(cloud: Scaleway, application: Application) -> None:
    servers, volumes = name_servers(application), list_sizes(application)
    assert sorted(list_left(cloud, is_apps)) == [
        *("ips of a server" for _ in servers),
        "private_networks nvoi-shop-network",
        "security_groups nvoi-shop-firewall",
        *(f"servers {name}" for name in servers),
        *sorted(f"volumes {name}" for name in [*volumes, *(f"{one}-root" for one in servers)]),
        "vpcs nvoi-shop-network",
    ]
    rules = cloud.rules[cloud.get(FIREWALLS, "nvoi-shop-firewall")["id"]]
    assert {rule["dest_port_from"] for rule in rules} == list_ports(application)
    for name, (holder, size) in volumes.items():
        volume, server = cloud.get(VOLUMES, name), cloud.get(SERVERS, holder)
        assert volume["size"] == size * GB
        assert [one["product_resource_id"] for one in volume["references"]] == [server["id"]]
    for name in servers:
        server = cloud.get(SERVERS, name)
        assert server["state"] == "running", server["state"]
        assert len(server["private_nics"]) == 1
        assert server["security_group"]["name"] == "nvoi-shop-firewall"
        keys = {tag.partition("=")[0] for tag in server["tags"]}
        assert {"host-key", "group", "app"} <= keys
        assert "host-key-first" not in keys
        assert list(cloud.user_data[server["id"]]) == ["cloud-init"]


CASE = build_case(
    "Scaleway",
    parse(scaleway("app: {web: {servers: [main]}}", SERVER_GROUPS)).application,
    start=start,
    open_provider=open_provider,
    check_whole=check_whole,
    list_left=partial(list_left, is_apps=is_apps),
    show_others=partial(show_others, is_apps=is_apps),
)
