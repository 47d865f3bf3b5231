"""Domains by k3s' own Traefik: which names it serves, and which records they need."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from nvoi.domains import Domains, get_domains
from nvoi.domains.ingress import is_public, list_faults, look_up
from nvoi.errors import ConfigError, NvoiError
from tests.unit.config.texts import parse, ssh

TEXT = """\
domain_provider: {{ingress: {{email: ops@example.com}}}}
servers: {{main: {{host: 127.0.0.11}}}}
app:
  web: {{servers: [main], port: 3000, domain: {domain}{more}}}
"""
SERVER = "203.0.113.10"
BY_IPV4 = "and the ingress takes visitors by IPv4: remove it"


def load(domain: str, more: str = "") -> Domains:
    return get_domains(parse(ssh(TEXT.format(domain=domain, more=more))).application, {})


def resolve(monkeypatch: pytest.MonkeyPatch, records: Mapping[str, object]) -> None:
    """Have names resolve to these addresses; a number is an error of getaddrinfo(3)."""

    def answer(name: str, _port: None, **_: object) -> list[tuple[Any, ...]]:
        found = records.get(name, socket.EAI_NONAME)
        if isinstance(found, int):
            raise socket.gaierror(found, "Temporary failure in name resolution")
        assert isinstance(found, list)
        return [(0, 0, 0, "", (text, 0)) for text in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def find(texts: Sequence[str]) -> tuple[Any, ...]:
    return tuple(map(ip_address, texts))


def test_every_record_that_is_wrong_is_told_at_once_with_its_value() -> None:
    more = "}\n  api: {servers: [main], port: 3001, domain: nowhere.invalid, subdomain: api"
    with pytest.raises(ConfigError) as raised:
        load("127.0.0.99", more).check_addresses(["127.0.0.11", "127.0.0.99"])
    assert [(fault.path, fault.message) for fault in raised.value.faults] == [
        (
            "application.app.web.domain",
            "127.0.0.99 leads to 127.0.0.99: have its A record be 127.0.0.11 alone",
        ),
        (
            "application.app.api.domain",
            "api.nowhere.invalid has no address: set an A record to 127.0.0.11",
        ),
    ]
    assert "the cluster was not changed" in raised.value.hint
    load("127.0.0.11").check_addresses(["127.0.0.11", "127.0.0.12"])


def test_who_is_before_a_private_server_is_the_users(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="nvoi")
    load("127.0.0.99").check_addresses(["10.0.0.5"])
    assert caplog.messages == ["10.0.0.5 is private: who brings visitors there is yours to see to"]


def test_all_names_below_a_domain_are_left_out_which_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="nvoi")
    domains = load("example.com")
    domains.check()
    told = "Not served by the ingress, as certificates are for single names: *.example.com"
    assert caplog.messages == [told]
    item: Any
    (item,) = domains.connect("run/1")
    assert [rule["host"] for rule in item["spec"]["rules"]] == ["example.com"]
    assert domains.find_faults() == []


def test_all_names_alone_are_refused() -> None:
    (fault,) = load("example.com", ", subdomain: '*'").find_faults()
    assert fault.path == "application.app.web.subdomain"
    assert "use `domain_provider.cloudflare`" in fault.message


def test_an_ingress_leads_to_the_port_that_no_release_changes_which_a_plan_names() -> None:
    domains = load("example.com", ", subdomain: www")
    item: Any
    (item,) = domains.connect("run/1")
    (rule,) = item["spec"]["rules"]
    service = rule["http"]["paths"][0]["backend"]["service"]
    assert (rule["host"], service) == (
        "www.example.com",
        {"name": "shop-web", "port": {"number": 80}},
    )
    assert domains.describe() == [
        "leads www.example.com to shop-web, with a certificate of acme-v02.api.letsencrypt.org"
    ]


def test_names_are_looked_up_and_one_that_does_not_exist_has_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert look_up(f"{'x' * 64}.example") == ()
    records = {"a.example": [SERVER, SERVER], "b.example": ["fe80::1%eth0", SERVER]}
    resolve(monkeypatch, records | {"away.example": socket.EAI_AGAIN})
    assert look_up("a.example") == find([SERVER])
    assert look_up("b.example") == find(["fe80::1", SERVER])
    assert look_up("c.example") == ()
    # A resolver that does not answer is no missing record.
    with pytest.raises(NvoiError, match=r"away\.example cannot be looked up from here: Temporary"):
        look_up("away.example")


def test_the_public_reaches_a_server_at_addresses_that_are_not_private() -> None:
    assert all(map(is_public, find([SERVER, "127.0.0.11"])))
    assert not any(map(is_public, find(["10.0.0.5", "100.64.1.1", "2001:db8::1"])))


@pytest.mark.parametrize(
    ("found", "wanted", "told"),
    [
        ([SERVER], [SERVER], []),
        ([], [SERVER], ["has no address: set an A record to 203.0.113.10"]),
        (
            [SERVER, "198.51.100.7"],
            [SERVER],
            ["leads to 198.51.100.7: have its A record be 203.0.113.10 alone"],
        ),
        (
            ["2001:db8::1"],
            [SERVER],
            [
                "has no A record: set one to 203.0.113.10",
                f"has an AAAA record, 2001:db8::1, {BY_IPV4}",
            ],
        ),
        (["198.51.100.7"], [], []),
        (
            [],
            [],
            ["has no address: set an A record to the address at which visitors reach the first"],
        ),
    ],
)
def test_records_that_lack_or_lead_elsewhere_are_told_with_the_values_to_set(
    found: list[str], wanted: list[str], told: list[str]
) -> None:
    lines = [*list_faults("a.example", find(found), find(wanted))]
    assert len(lines) == len(told)
    assert all(line.startswith(f"a.example {one}") for line, one in zip(lines, told, strict=True))
