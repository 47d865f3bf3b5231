"""Domains by the cluster's own ingress: the whole way of the installed command."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer

from tests.integration.targets.cluster.fleet import Fleet

#: A name that leads to the first server whatever a resolver says: its own address.
NAME = "127.0.0.11"


def find_values(fleet: Fleet) -> str:
    """What Traefik is set up by; empty where it never was."""
    item = fleet.state.find("HelmChartConfig", "traefik", "kube-system")
    return item["spec"]["valuesContent"] if item else ""


@pytest.fixture
def shop(fleet: Fleet) -> Fleet:
    """An app with a domain, on a server on which nothing is yet."""
    fleet.web["domain"] = NAME
    fleet.application["domain_provider"] = {"ingress": {"email": "ops@example.com"}}
    return fleet


@pytest.fixture
def front(shop: Fleet, tmp_path: Path) -> Iterator[HTTPServer]:
    """What answers at port 443 of the first server, in Traefik's place."""
    try:
        socket.create_server((NAME, 443)).close()
    except OSError:
        pytest.skip(f"port 443 of {NAME} cannot be had")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    shop.environ = shop.environ | {"SSL_CERT_FILE": str(bundle)}
    server = HTTPServer(host=NAME, port=443, ssl_context=context, threaded=True)
    server.expect_request("/up").respond_with_data("ok")
    server.start()
    yield server
    server.stop()


def test_records_that_lead_elsewhere_are_told_before_anything_is_changed(shop: Fleet) -> None:
    shop.web["domain"] = "127.0.0.99"
    for options in ((), ("--dry-run",)):
        outcome = shop.run("deploy", *options)
        assert outcome.code == 2, outcome.output + outcome.errors
        told = "127.0.0.99 leads to 127.0.0.99: have its A record be 127.0.0.11 alone"
        assert told in outcome.output + outcome.errors
        assert "the cluster was not changed" in outcome.output + outcome.errors
    assert shop.master.connection_count == 0


def test_an_app_is_reached_at_its_domain_and_no_more_without_one(
    shop: Fleet, front: HTTPServer
) -> None:
    outcome = shop.run()
    assert outcome.code == 0, outcome.output + outcome.errors
    assert f"https://{NAME}" in outcome.output
    # From here and from the cluster, three times each.
    assert [request.path for request, _ in front.log] == ["/up"] * 6
    assert shop.hosts["main"].read_config()["disable"] == []
    assert "--certificatesResolvers.nvoi.acme.email=ops@example.com" in find_values(shop)
    ingress = shop.state.find("Ingress", "shop-web")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == [NAME]
    assert shop.state.names("Deployment", "kube-system").count("traefik") == 1

    starts = shop.hosts["main"].starts
    del shop.web["domain"]
    outcome = shop.run()
    assert outcome.code == 0, outcome.output + outcome.errors
    assert shop.state.names("Ingress") == []
    assert "Traefik gives ports 80 and 443 back" in outcome.output
    shop.state.api.move()
    assert "traefik" not in shop.state.names("Deployment", "kube-system")
    # What there is stays: another app may come to need it.
    assert shop.hosts["main"].starts == starts
