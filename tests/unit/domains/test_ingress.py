"""Domains by k3s' own Traefik: which names it serves, and which records they need."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.config.schema import Application
from nvoi.domains import get_domains
from nvoi.domains.ingress import ClusterIngress
from nvoi.errors import ConfigError
from tests.unit.config.texts import parse, ssh

TEXT = """\
domain_provider: {{ingress: {{email: ops@example.com}}}}
servers: {{main: {{host: 127.0.0.11}}}}
app:
  web: {{servers: [main], port: 3000, domain: {domain}{more}}}
"""


def load(domain: str, more: str = "") -> Application:
    return parse(ssh(TEXT.format(domain=domain, more=more))).application


def get(application: Application) -> ClusterIngress:
    domains = get_domains(application, {})
    assert isinstance(domains, ClusterIngress)
    return domains


def test_a_name_that_leads_to_the_first_server_will_do() -> None:
    application = load("127.0.0.11")
    get(application).check_addresses(application, ["127.0.0.11", "127.0.0.12"])


def test_every_record_that_is_wrong_is_told_at_once_with_its_value() -> None:
    more = "}\n  api: {servers: [main], port: 3001, domain: nowhere.invalid, subdomain: api"
    application = load("127.0.0.99", more)
    with pytest.raises(ConfigError) as raised:
        get(application).check_addresses(application, ["127.0.0.11", "127.0.0.99"])
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


def test_who_is_before_a_private_server_is_the_users(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="nvoi")
    application = load("127.0.0.99")
    get(application).check_addresses(application, ["10.0.0.5"])
    assert caplog.messages == ["10.0.0.5 is private: who brings visitors there is yours to see to"]


def test_all_names_below_a_domain_are_left_out_which_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="nvoi")
    application = load("example.com")
    domains = get(application)
    domains.check(application)
    told = "Not served by the ingress, as certificates are for single names: *.example.com"
    assert caplog.messages == [told]
    item: Any
    (item,) = domains.connect(application, "run/1")
    assert [rule["host"] for rule in item["spec"]["rules"]] == ["example.com"]
    assert domains.find_faults(application) == []


def test_all_names_alone_are_refused() -> None:
    application = load("example.com", ", subdomain: '*'")
    (fault,) = get(application).find_faults(application)
    assert fault.path == "application.app.web.subdomain"
    assert "use `domain_provider.cloudflare`" in fault.message


def test_an_ingress_leads_to_the_port_that_no_release_changes() -> None:
    application = load("example.com", ", subdomain: www")
    item: Any
    (item,) = get(application).connect(application, "run/1")
    (rule,) = item["spec"]["rules"]
    service = rule["http"]["paths"][0]["backend"]["service"]
    assert (rule["host"], service) == (
        "www.example.com",
        {"name": "shop-web", "port": {"number": 80}},
    )


def test_a_plan_names_the_authority() -> None:
    application = load("example.com", ", subdomain: www")
    assert get(application).describe(application) == [
        "leads www.example.com to shop-web, with a certificate of acme-v02.api.letsencrypt.org"
    ]
