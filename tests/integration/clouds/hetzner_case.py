"""Hetzner in the kill table: two groups, a volume, and more of each kind than a page has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from nvoi.account import Pace
from nvoi.config.schema import Application
from nvoi.providers.hetzner import Hetzner as Provider
from nvoi.providers.hetzner.api import ENDPOINT_VARIABLE
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.hetzner import FIREWALLS, KEYS, SERVERS, TOKEN, VOLUMES, Hetzner
from tests.fakes.clouds.server import Json
from tests.integration.clouds.case import (
    build_case,
    list_left,
    list_ports,
    list_sizes,
    name_servers,
    show_others,
)
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


def open_provider(cloud: Hetzner, application: Application) -> Provider:
    """It waits no longer than it must where an answer may not come."""
    return build_provider(cloud, application, BRISK if cloud.has_faults else PACE)


def start(others: int = 300) -> Hetzner:
    """A project with more of each kind than an answer has."""
    cloud = Hetzner()
    cloud.add_others(others)
    return cloud


def is_apps(thing: Json) -> bool:
    return thing["labels"].get("app") == "shop" or "shop" in thing["name"]


def check_whole(cloud: Hetzner, application: Application) -> None:
    servers, volumes = name_servers(application), list_sizes(application)
    names = sorted(name.partition("-key-")[0] for name in list_left(cloud, is_apps))
    assert names == [
        "firewalls nvoi-shop-firewall",
        "networks nvoi-shop-network",
        *(f"servers {name}" for name in servers),
        f"{KEYS} nvoi-shop",
        *(f"volumes {name}" for name in volumes),
    ]
    firewall = cloud.get(FIREWALLS, "nvoi-shop-firewall")
    assert {int(rule["port"]) for rule in firewall["rules"]} == list_ports(application)
    for name, (holder, size) in volumes.items():
        volume = cloud.get(VOLUMES, name)
        assert (volume["server"], volume["size"]) == (cloud.get(SERVERS, holder)["id"], size)
    for name in servers:
        server = cloud.get(SERVERS, name)
        assert server["status"] == "running", server["status"]
        assert len(server["private_net"]) == 1
        assert len(server["public_net"]["firewalls"]) == 1
        assert {"host-key", "group", "app"} <= set(server["labels"])
        assert "host-key-first" not in server["labels"]


CASE = build_case(
    "Hetzner",
    build_config(),
    start=start,
    open_provider=open_provider,
    check_whole=check_whole,
    list_left=partial(list_left, is_apps=is_apps),
    show_others=partial(show_others, is_apps=is_apps),
)
