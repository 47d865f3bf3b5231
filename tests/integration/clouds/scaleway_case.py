"""Scaleway in the kill table: two groups, a volume, and more of each kind than a page has."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from nvoi.config.schema import Application
from nvoi.providers.scaleway import Scaleway as Provider
from nvoi.providers.scaleway.api import URL_VARIABLE, Pace
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.scaleway import GB, SERVERS, VOLUMES, Scaleway
from tests.fakes.clouds.server import Json
from tests.integration.clouds.case import build_case, list_left
from tests.unit.config.texts import parse, scaleway
from tests.waiting import PATIENCE

PACE = Pace(pause=0.01, poll=0.005, longest_poll=0.05, deadline=PATIENCE, release=PATIENCE)
#: The same where some answers never come.
BRISK = replace(PACE, answer=1.0, patience=20.0)
SERVER_GROUPS = "servers: {main: {master: true, volumes: {data: {size: 20}}}, work: {type: DEV1-M}}"


@cache
def get_config() -> Application:
    return parse(scaleway("app: {web: {servers: [main]}}", SERVER_GROUPS)).application


def build_run(cloud: Scaleway) -> tuple[Provider, Application]:
    """A run, which waits no longer than it must where an answer may not come."""
    pace, config = BRISK if cloud.has_faults else PACE, get_config()
    return Provider(config, Routes(), {URL_VARIABLE: cloud.url}, pace), config


def start(others: int = 700) -> Scaleway:
    cloud = Scaleway()
    cloud.add_others(others)
    return cloud


def is_apps(thing: Json) -> bool:
    """Whatever nobody else has made is the app's, were it marked or not."""
    return not thing["name"].startswith("other-")


def check_whole(cloud: Scaleway) -> None:
    assert sorted(list_left(cloud, is_apps)) == [
        "ips of a server",
        "ips of a server",
        "private_networks nvoi-shop-network",
        "security_groups nvoi-shop-firewall",
        "servers shop-main-1",
        "servers shop-work-1",
        "volumes shop-main-1-root",
        "volumes shop-main-data",
        "volumes shop-work-1-root",
        "vpcs nvoi-shop-network",
    ]
    volume, server = cloud.get(VOLUMES, "shop-main-data"), cloud.get(SERVERS, "shop-main-1")
    assert volume["size"] == 20 * GB
    assert [one["product_resource_id"] for one in volume["references"]] == [server["id"]]
    for name in ("shop-main-1", "shop-work-1"):
        server = cloud.get(SERVERS, name)
        assert server["state"] == "running", server["state"]
        assert len(server["private_nics"]) == 1
        assert server["security_group"]["name"] == "nvoi-shop-firewall"
        keys = {tag.partition("=")[0] for tag in server["tags"]}
        assert {"host-key", "group", "app"} <= keys
        assert "host-key-first" not in keys
        assert list(cloud.user_data[server["id"]]) == ["cloud-init"]


CASE = build_case("Scaleway", start, build_run, check_whole, is_apps)
