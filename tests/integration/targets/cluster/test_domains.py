"""Domains through Cloudflare's tunnels, by the installed command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clouds.cloudflare import ACCOUNT, TOKEN, Cloudflare
from tests.fakes.edge import Edge
from tests.fakes.receiver import Receiver
from tests.integration.commands import Outcome
from tests.integration.streams import KEY
from tests.integration.targets.cluster.fleet import Fleet

#: What leads visitors to the one service, in the cluster.
CONNECTOR = "cloudflared-shop-web"


@pytest.fixture
def cloudflare() -> Iterator[Cloudflare]:
    with Cloudflare() as found:
        yield found


@pytest.fixture
def edge(tmp_path: Path, fleet: Fleet) -> Iterator[Edge]:
    """Where the names of the app lead, from here and from its master."""
    with Edge("www.example.com", folder=tmp_path, is_public=True) as found:
        if not found.address:
            pytest.skip("port 443 of this machine cannot be had")
        hosts = fleet.master.root / "etc/hosts"
        hosts.write_text(f"{hosts.read_text()}\n{found.hosts}")
        yield found


def run(
    fleet: Fleet, cloudflare: Cloudflare, edge: Edge, verb: str = "deploy", *options: str
) -> Outcome:
    return fleet.run(verb, *options, CLOUDFLARE_BASE_URL=cloudflare.url, **edge.environ)


def name_domain(fleet: Fleet, subdomain: str = "www") -> None:
    fleet.web.update(domain="example.com", subdomain=subdomain)
    account = {"api_token": TOKEN, "account_id": ACCOUNT}
    fleet.application["domain_provider"] = {"cloudflare": account}


def test_an_app_has_a_public_address_from_its_deploy_to_its_deletion(
    fleet: Fleet, cloudflare: Cloudflare, edge: Edge
) -> None:
    # One that cannot be had is told before anything is touched.
    name_domain(fleet, "a.b")
    outcome = run(fleet, cloudflare, edge)
    assert outcome.code == 2, outcome.output
    told = outcome.output + outcome.errors
    assert "config: application.app.web.domain: a.b.example.com is more than one level" in told
    name_domain(fleet)
    plan = run(fleet, cloudflare, edge, "deploy", "--dry-run")
    assert plan.code == 0, plan.output + plan.errors
    assert "makes the tunnel nvoi-shop-web" in plan.output
    assert "makes the DNS record www.example.com, which leads to it" in plan.output
    assert not cloudflare.tunnels
    assert fleet.master.connection_count == 0

    with Receiver(KEY) as receiver:
        fleet.callback_url = receiver.url
        first = run(fleet, cloudflare, edge)
        assert first.code == 0, first.output
        assert receiver.statuses[-1]["tunnels"] == [
            {"service_name": "web", "hostname": "www.example.com"}
        ]
    fleet.callback_url = None
    assert "Running at https://www.example.com" in first.output
    # From here and from the cluster, three times each, as its healthcheck asks.
    assert edge.requests == [("www.example.com", "/up")] * 6
    tunnel = cloudflare.live_tunnels["nvoi-shop-web"]
    assert cloudflare.all_records["www.example.com CNAME"]["content"] == tunnel.target
    deployment = fleet.state.find("Deployment", CONNECTOR)
    assert deployment["metadata"]["annotations"]["nvoi.io/tunnel"] == tunnel.id
    assert tunnel.rules["www.example.com"].endswith("//shop-web.default.svc.cluster.local:80")
    service = fleet.state.find("Service", "shop-web")
    assert {port["port"] for port in service["spec"]["ports"]} == {3000, 80}
    # The token is in no log, and in no argument.
    assert "secret-of-nvoi-shop-web" not in first.output
    (secret,) = (name for name in fleet.state.names("Secret") if name.startswith(CONNECTOR))

    generation = deployment["metadata"]["generation"]
    with cloudflare.record() as calls:
        again = run(fleet, cloudflare, edge)
    assert again.code == 0, again.output
    assert len(calls) <= 5, [*map(str, calls)]
    assert fleet.state.find("Deployment", CONNECTOR)["metadata"]["generation"] == generation
    assert secret in fleet.state.names("Secret")

    other = cloudflare.add_record("other.example.com", "A", "192.0.2.9")
    gone = run(fleet, cloudflare, edge, "delete", "--yes")
    assert gone.code == 0, gone.output
    assert not cloudflare.live_tunnels
    assert [*cloudflare.all_records.values()] == [other]
    assert CONNECTOR not in fleet.state.names("Deployment")
