"""The ports of the ingress in a cloud's firewall, which stay open while a release needs them."""

from __future__ import annotations

import pytest

from nvoi.errors import NvoiError
from tests.fakes.clouds.server import Fault, Refused
from tests.integration.providers.site import Site, open_to_public

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


def test_ports_stay_open_until_the_release_is_reached_without_them(site: Site) -> None:
    application = site.read("{main: {}}")
    site.begin(open_to_public(application))
    assert site.list_open_ports() == {22, 80, 443}
    planned = site.open(application).describe()
    closes = f"closes tcp/80 and tcp/443 of {PLACES[site.name]}, once the new release serves"
    assert [line for line in planned if "firewall" in line] == [closes]
    first = site.begin(application)
    site.cloud.fail_on(*CLOSING[site.name], Fault(Refused(403, "forbidden", "not now")))
    with pytest.raises(NvoiError, match="not now"):
        first.close_ports()
    assert site.list_open_ports() == {22, 80, 443}
    # The next run goes on from there.
    second = site.begin(application)
    second.close_ports()
    assert site.list_open_ports() == {22}
    with site.cloud.record() as calls:
        second.close_ports()
    assert calls == []
