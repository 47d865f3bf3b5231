"""The ports of the ingress in a cloud's firewall, which stay open while a release needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.providers import Provider
from nvoi.providers.scaleway import Scaleway
from nvoi.providers.scaleway.api import URL_VARIABLE
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.server import Fault, Refused
from tests.integration.clouds import scaleway_case
from tests.integration.clouds.aws_account import build_app, build_aws
from tests.integration.clouds.aws_site import AWSSite
from tests.integration.clouds.case import open_to_public
from tests.integration.clouds.datacenter import Site
from tests.integration.clouds.hetzner_case import build_config, build_provider
from tests.integration.clouds.hetzner_site import HetznerSite
from tests.integration.clouds.scaleway_site import ScalewaySite
from tests.unit.config.texts import parse, scaleway

#: The calls by which something is let in no more.
CLOSING = {
    "hetzner": ("POST", "/set_rules$"),
    "scaleway": ("PUT", "/rules$"),
    "aws": ("POST", "RevokeSecurityGroupIngress"),
}
PLACES = {
    "hetzner": "firewall nvoi-shop-firewall",
    "scaleway": "security group nvoi-shop-firewall in fr-par-1",
    "aws": "firewall nvoi-shop-firewall",
}


@dataclass(frozen=True)
class World:
    """A cloud, and an app of one server there that nobody reaches by a domain."""

    name: str
    site: Site
    application: Application
    open: Callable[[Any, Application], Provider]

    @property
    def public(self) -> Application:
        """The app, with a domain by the ingress."""
        return open_to_public(self.application)

    def begin(self, application: Application) -> Provider:
        """A run that has its servers."""
        provider = self.open(self.site.cloud, application)
        provider.ensure_servers(application)
        return provider


def open_scaleway(cloud: Any, application: Application) -> Provider:
    return Scaleway(application, Routes(), {URL_VARIABLE: cloud.url}, scaleway_case.PACE)


def build_worlds() -> dict[str, Callable[[], World]]:
    text = scaleway("app: {web: {servers: [main]}}")
    return {
        "hetzner": lambda: World(
            "hetzner", HetznerSite(), build_config("{main: {}}"), build_provider
        ),
        "aws": lambda: World("aws", AWSSite(), build_app("servers: {main: {}}"), build_aws),
        "scaleway": lambda: World(
            "scaleway", ScalewaySite(), parse(text).application, open_scaleway
        ),
    }


@pytest.fixture(params=["hetzner", "aws", "scaleway"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = build_worlds()[request.param]()
    yield made
    made.site.cloud.close()


def test_ports_stay_open_until_the_release_is_reached_without_them(world: World) -> None:
    world.begin(world.public)
    assert world.site.list_open_ports() == {22, 80, 443}
    planned = world.open(world.site.cloud, world.application).describe(world.application)
    closes = f"closes tcp/80 and tcp/443 of {PLACES[world.name]}, once the new release serves"
    assert [line for line in planned if "firewall" in line] == [closes]
    first = world.begin(world.application)
    world.site.cloud.fail_on(*CLOSING[world.name], Fault(Refused(403, "forbidden", "not now")))
    with pytest.raises(NvoiError, match="not now"):
        first.close_ports(world.application)
    assert world.site.list_open_ports() == {22, 80, 443}
    # The next run goes on from there.
    second = world.begin(world.application)
    second.close_ports(world.application)
    assert world.site.list_open_ports() == {22}
    with world.site.cloud.record() as calls:
        second.close_ports(world.application)
    assert calls == []
