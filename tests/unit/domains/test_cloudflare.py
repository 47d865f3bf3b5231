"""Cloudflare's tunnels and DNS records, over HTTP with a stand-in for its API."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from nvoi.account import Pace
from nvoi.config.schema import Application
from nvoi.domains import Domains
from nvoi.domains.cloudflare import Tunnels
from nvoi.domains.cloudflare_api import Account
from nvoi.domains.cloudflare_records import Tunnel
from nvoi.errors import ConfigError, HostsError, NvoiError, RequestError
from tests.fakes.clouds.cloudflare import ACCOUNT, OTHER_ACCOUNT, RIGHTS, TOKEN, Access, Cloudflare
from tests.fakes.clouds.server import Answer, Fault, Refused
from tests.unit.domains.accounts import (
    API,
    WEB,
    build_application,
    build_config,
    delete,
    deploy,
    open_domains,
)

COMMENT = "managed-by=nvoi app=shop"
SERVICE = "http://shop-web.default.svc.cluster.local:80"


@pytest.fixture
def cloudflare() -> Iterator[Cloudflare]:
    with Cloudflare() as found:
        yield found


def find_faults(cloudflare: Cloudflare, application: Application) -> dict[str, str]:
    """The faults that a check finds, by their paths; what it changes is nothing."""
    with pytest.raises(ConfigError) as caught:
        open_domains(cloudflare, application).check()
    assert not [call for call in cloudflare.calls if call.method in {"POST", "PUT", "DELETE"}]
    return {fault.path: fault.message for fault in caught.value.faults}


def begin(cloudflare: Cloudflare, *apps: str, is_published: bool = True) -> Domains:
    """A deploy as it is before its release serves."""
    domains = open_domains(cloudflare, build_application(*apps))
    domains.check()
    domains.connect("run")
    if is_published:
        domains.publish()
    return domains


def test_a_deploy_makes_a_tunnel_its_rules_and_a_record(cloudflare: Cloudflare) -> None:
    cloudflare.lag = 2
    manifests = deploy(cloudflare, build_application())
    tunnel = cloudflare.live_tunnels["nvoi-shop-web"]
    assert tunnel.settings == {
        "ingress": [
            {"hostname": "www.example.com", "service": SERVICE},
            {"service": "http_status:404"},
        ]
    }
    (record,) = cloudflare.all_records.values()
    assert (record["name"], record["type"]) == ("www.example.com", "CNAME")
    assert (record["content"], record["proxied"]) == (tunnel.target, True)
    assert record["comment"] == COMMENT
    (secret,) = (item for item in manifests if item["kind"] == "Secret")
    token = b64decode(secret["data"]["token"]).decode()
    assert tunnel.id in b64decode(token).decode()
    created = next(call for call in cloudflare.calls if call.method == "POST")
    assert created.json == {"name": "nvoi-shop-web", "config_src": "cloudflare"}


def test_an_unchanged_deploy_asks_five_times_at_most(cloudflare: Cloudflare) -> None:
    application = build_application()
    deploy(cloudflare, application)
    with cloudflare.record() as calls:
        deploy(cloudflare, application)
    assert len(calls) <= 5, [*map(str, calls)]
    assert all(call.is_reading for call in calls)


def test_a_blank_subdomain_is_the_domain_and_all_names_below(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application("web: {servers: [main], port: 80, domain: Example.com}"))
    names = ["example.com", "*.example.com"]
    assert [*cloudflare.live_tunnels["nvoi-shop-web"].rules] == [*names, ""]
    assert {record["name"] for record in cloudflare.all_records.values()} == {*names}


def test_the_longest_zone_that_ends_the_domain_is_taken(cloudflare: Cloudflare) -> None:
    inner = cloudflare.add_zone("shop.example.com")
    # What can be beside it stays.
    cloudflare.add_record("www.shop.example.com", "TXT", "hello")
    web = WEB.replace("domain: example.com", "domain: shop.example.com")
    deploy(cloudflare, build_application(web))
    assert [one["type"] for one in cloudflare.records[inner]] == ["TXT", "CNAME"]


# What is not nvoi's


@pytest.mark.parametrize(
    ("type_", "content", "comment", "owner"),
    [
        ("A", "192.0.2.9", "by hand", "not nvoi's"),
        ("CNAME", "elsewhere.example.net", "by hand", "not nvoi's"),
        ("CNAME", "x.cfargotunnel.com", "managed-by=nvoi app=blog", "of nvoi's app blog"),
    ],
)
def test_a_record_of_another_is_told_and_never_overwritten(
    cloudflare: Cloudflare, type_: str, content: str, comment: str, owner: str
) -> None:
    before = cloudflare.add_record("www.example.com", type_, content, comment=comment)
    faults = find_faults(cloudflare, build_application())
    message = faults["application.app.web.domain"]
    assert message.startswith(f"www.example.com has a DNS record that is {owner}: {type_} ")
    assert "remove it at Cloudflare, or choose another subdomain" in message
    delete(cloudflare, build_application())
    assert [*cloudflare.all_records.values()] == [before]


def test_a_record_that_comes_meanwhile_is_not_overwritten(cloudflare: Cloudflare) -> None:
    domains = begin(cloudflare, is_published=False)
    before = cloudflare.add_record("www.example.com", "A", "192.0.2.9")
    with pytest.raises(NvoiError, match="already exists") as caught:
        domains.publish()
    assert "goes on from: the tunnel nvoi-shop-web" in caught.value.hint
    assert [*cloudflare.all_records.values()] == [before]


def test_a_tunnel_of_another_app_with_this_name_is_named(cloudflare: Cloudflare) -> None:
    tunnel = cloudflare.add_tunnel("nvoi-shop-blue-web", "blue.example.com")
    comment = "managed-by=nvoi app=shop-blue"
    cloudflare.add_record("blue.example.com", "CNAME", tunnel.target, comment=comment)
    faults = find_faults(cloudflare, build_application(WEB.replace("web:", "blue-web:")))
    assert "is of nvoi's app shop-blue" in faults["application.app.blue-web"]


def test_nothing_of_a_thousand_others_is_touched(cloudflare: Cloudflare) -> None:
    for number in range(1000):
        cloudflare.add_tunnel(f"nvoi-shop-{number}-web", f"x{number}.example.com")
        cloudflare.add_record(f"x{number}.example.com", "A", "192.0.2.9")
    cloudflare.quota = 2000
    for number in range(60):
        cloudflare.add_zone(f"zone-{number}.example.net")
    before = [*cloudflare.all_records], [*cloudflare.live_tunnels]
    application = build_application()
    deploy(cloudflare, application)
    assert len(cloudflare.live_tunnels) == 1001
    delete(cloudflare, application)
    assert ([*cloudflare.all_records], [*cloudflare.live_tunnels]) == before


# Bad input


def test_a_zone_that_lacks_is_told_with_those_there_are(cloudflare: Cloudflare) -> None:
    for number in range(60):
        cloudflare.add_zone(f"zone-{number}.example.net")
    faults = find_faults(cloudflare, build_application(WEB.replace("example.com", "example.org")))
    message = faults["application.app.web.domain"]
    assert message.startswith("no zone at Cloudflare ends example.org")
    # All pages of the list were read.
    assert "zone-59.example.net" in message


DOMAIN = "application.app.web.domain"
ACCESSES = {
    "old": Access(status="expired"),
    "off": Access(status="disabled"),
    "own": Access(status="expired", is_accounts=True),
    **{right.replace(":", "-"): Access(rights=RIGHTS - {right}) for right in RIGHTS},
}


@pytest.mark.parametrize(
    ("state", "service", "words"),
    [
        ({"status": "pending"}, "", "its name servers must be ada.ns.cloudflare.com and bob"),
        ({"paused": True}, "", "Cloudflare is paused for example.com"),
        # Two levels below the zone.
        ({}, "domain: shop.example.com, subdomain: www", r"^www\.shop\..* such as www-shop$"),
        ({}, "domain: shop.example.com", r"^\*\.shop\.example\.com is more .* such as shop$"),
        ({}, "domain: example.com, subdomain: a.b", "`domain: example.com`.* such as a-b$"),
    ],
)
def test_a_name_that_cannot_be_served_is_told(
    cloudflare: Cloudflare, state: dict[str, Any], service: str, words: str
) -> None:
    cloudflare.zones[0].update(state)
    apps = [f"web: {{servers: [main], port: 80, {service}}}"] if service else []
    assert re.search(words, find_faults(cloudflare, build_application(*apps))[DOMAIN])


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("unknown", "Cloudflare knows no such token"),
        ("not.a.token", "Cloudflare knows no such token"),
        ("old", "the token is expired"),
        ("off", "the token is disabled"),
        ("own", "the token is expired"),
        ("zone-read", "the token has no right to this: zones: "),
        ("dns-read", "the token has no right to this: DNS records: "),
        ("dns-edit", "the token has no right to this: changing DNS records of example.com: "),
        ("tunnel-read", "the token has no right to this: tunnels: "),
        ("tunnel-edit", "the token has no right to this: changing tunnels of the account: "),
    ],
)
def test_a_token_that_will_not_do_is_told_before_anything_is_made(
    cloudflare: Cloudflare, token: str, words: str
) -> None:
    if token in ACCESSES:
        cloudflare.tokens[token] = ACCESSES[token]
    faults = find_faults(cloudflare, build_application(token=token))
    message = faults["application.domain_provider.cloudflare.api_token"]
    assert message.startswith(words)
    assert token in ACCESSES or token not in message


def test_an_account_of_its_own_token_will_do(cloudflare: Cloudflare) -> None:
    cloudflare.tokens["cfat-own"] = Access(is_accounts=True)
    deploy(cloudflare, build_application(token="cfat-own"))
    assert len(cloudflare.live_tunnels) == 1


@pytest.mark.parametrize(("given", "owner"), [("none", ACCOUNT), (ACCOUNT, OTHER_ACCOUNT)])
def test_a_zone_of_another_account_names_that(
    cloudflare: Cloudflare, given: str, owner: str
) -> None:
    cloudflare.tokens[TOKEN].accounts = (ACCOUNT, OTHER_ACCOUNT)
    cloudflare.add_zone("example.org", account=owner)
    web = WEB.replace("example.com", "example.org")
    faults = find_faults(cloudflare, build_application(web, account=given))
    key = "application.domain_provider.cloudflare.account_id"
    assert f"the zone example.org is in the account {owner}" in faults[key]


def test_a_full_zone_is_told(cloudflare: Cloudflare) -> None:
    cloudflare.quota = 0
    with pytest.raises(NvoiError, match=r"the DNS record www.example.com: .*quota") as caught:
        deploy(cloudflare, build_application())
    assert "goes on from: the tunnel nvoi-shop-web" in caught.value.hint
    cloudflare.quota = 1
    deploy(cloudflare, build_application())
    assert len(cloudflare.live_tunnels) == 1


# What changes


def test_a_record_that_has_drifted_is_put_right(cloudflare: Cloudflare) -> None:
    application = build_application()
    deploy(cloudflare, application)
    (record,) = cloudflare.all_records.values()
    record["proxied"] = False
    deploy(cloudflare, application)
    assert [one["proxied"] for one in cloudflare.all_records.values()] == [True]


def test_what_the_owner_says_of_the_way_to_the_service_stays(cloudflare: Cloudflare) -> None:
    application = build_application()
    deploy(cloudflare, application)
    settings = cloudflare.live_tunnels["nvoi-shop-web"].settings
    assert settings is not None
    settings["ingress"][0]["originRequest"] = {"connectTimeout": 5}
    settings["warp-routing"] = {"enabled": True}
    with cloudflare.record() as calls:
        deploy(cloudflare, application)
    assert all(call.is_reading for call in calls)
    deploy(cloudflare, build_application(WEB.replace("www", "shop")))
    changed = cloudflare.live_tunnels["nvoi-shop-web"].settings
    assert changed is not None
    assert changed["warp-routing"] == {"enabled": True}


def test_a_name_that_the_config_leaves_goes_once_the_release_serves(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application())
    domains = begin(cloudflare, WEB.replace("www", "shop"))
    assert len(cloudflare.all_records) == 2
    tunnel = cloudflare.live_tunnels["nvoi-shop-web"]
    assert [*tunnel.rules] == ["shop.example.com", "www.example.com", ""]
    assert len({tunnel.rules[name] for name in ("shop.example.com", "www.example.com")}) == 1
    domains.trim(())
    assert [*cloudflare.all_records] == ["shop.example.com CNAME"]
    assert [*tunnel.rules] == ["shop.example.com", ""]


def test_a_name_that_comes_to_another_service_is_led_by_the_old_one_until_the_end(
    cloudflare: Cloudflare,
) -> None:
    both = WEB.replace("subdomain: www", "subdomain: ''")
    deploy(cloudflare, build_application(both, API))
    old, new = (cloudflare.live_tunnels[f"nvoi-shop-{name}"] for name in ("web", "api"))
    after = API.replace("subdomain: api", "subdomain: ''")
    domains = begin(cloudflare, WEB, after, is_published=False)
    # The records lead to the old tunnel still, and after that may be known for a while.
    assert {"example.com", "*.example.com"} <= {*old.rules}
    assert {"example.com", "*.example.com"} <= {*new.rules}
    domains.publish()
    assert {"example.com", "*.example.com"} <= {*old.rules}
    domains.trim(())
    assert [*old.rules] == ["www.example.com", ""]
    assert cloudflare.all_records["example.com CNAME"]["content"] == new.target


def test_a_run_that_was_cut_off_leaves_names_that_the_next_one_takes_away(
    cloudflare: Cloudflare,
) -> None:
    deploy(cloudflare, build_application())
    begin(cloudflare, WEB.replace("www", "shop"), is_published=False)
    with cloudflare.record() as calls:
        deploy(cloudflare, build_application(WEB.replace("www", "shop")))
    puts = [call for call in calls if call.method == "PUT"]
    assert len(puts) == 1, [*map(str, calls)]
    tunnel = cloudflare.live_tunnels["nvoi-shop-web"]
    assert [*tunnel.rules] == ["shop.example.com", ""]
    assert [*cloudflare.all_records] == ["shop.example.com CNAME"]


def test_a_service_that_the_config_leaves_takes_its_tunnel_along(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application(WEB, API))
    deploy(cloudflare, build_application())
    assert [*cloudflare.live_tunnels] == ["nvoi-shop-web"]
    assert [*cloudflare.all_records] == ["www.example.com CNAME"]


def test_a_service_with_another_name_gets_the_record(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application())
    deploy(cloudflare, build_application(WEB.replace("web:", "site:")))
    assert [*cloudflare.live_tunnels] == ["nvoi-shop-site"]
    (record,) = cloudflare.all_records.values()
    assert record["content"] == cloudflare.live_tunnels["nvoi-shop-site"].target


def test_without_any_domain_what_the_cluster_held_says_what_goes(cloudflare: Cloudflare) -> None:
    live = deploy(cloudflare, build_application())
    deploy(cloudflare, build_application("web: {servers: [main], port: 80}"), live)
    assert not cloudflare.live_tunnels
    assert not cloudflare.all_records


def test_a_tunnel_in_the_account_before_is_told(
    cloudflare: Cloudflare, caplog: pytest.LogCaptureFixture
) -> None:
    live = deploy(cloudflare, build_application())
    (lost,) = cloudflare.tunnels
    lost.account = "f" * 32
    lost.name = "in-another-account"
    cloudflare.records = {key: [] for key in cloudflare.records}
    deploy(cloudflare, build_application(), live)
    delete(cloudflare, build_application(), live)
    told = f"The tunnel {lost.id}, which led to the app, is not in the account"
    assert caplog.text.count(told) == 2
    assert not lost.is_deleted


def test_a_deploy_that_fails_leads_the_names_back(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application(WEB, API))
    before = {name: record["content"] for name, record in cloudflare.all_records.items()}
    rules = {name: one.rules for name, one in cloudflare.live_tunnels.items()}
    # A name changes its service, and a service its name.
    apps = WEB.replace("web:", "site:"), API.replace("subdomain: api", "subdomain: rest")
    domains = begin(cloudflare, *apps)
    assert cloudflare.all_records["www.example.com CNAME"]["content"] != before
    domains.restore()
    after = {name: record["content"] for name, record in cloudflare.all_records.items()}
    assert {name: after[name] for name in before} == before
    assert {name: cloudflare.live_tunnels[name].rules for name in rules} == rules


# What the gem made


def test_what_the_gem_made_is_taken_over(cloudflare: Cloudflare) -> None:
    tunnel = cloudflare.add_tunnel("nvoi-shop-web", "www.example.com", "old.example.com")
    cloudflare.add_record("www.example.com", "CNAME", tunnel.target, proxied=True)
    cloudflare.add_record("old.example.com", "CNAME", tunnel.target, proxied=True)
    # It leads to the app's tunnel, and is none of its names.
    cloudflare.add_record("mine.example.com", "CNAME", tunnel.target, proxied=True)
    deploy(cloudflare, build_application())
    assert [*cloudflare.live_tunnels.values()] == [tunnel]
    assert tunnel.rules["www.example.com"] == SERVICE
    records = cloudflare.all_records
    assert {name: record["comment"] for name, record in records.items()} == {
        "www.example.com CNAME": COMMENT,
        "mine.example.com CNAME": None,
    }


def test_what_the_gem_made_is_deleted(cloudflare: Cloudflare) -> None:
    tunnel = cloudflare.add_tunnel("nvoi-shop-web", "www.example.com")
    cloudflare.add_record("www.example.com", "CNAME", tunnel.target, proxied=True)
    delete(cloudflare, build_application())
    assert not cloudflare.live_tunnels
    assert not cloudflare.all_records
    with cloudflare.record() as calls:
        delete(cloudflare, build_application())
    assert all(call.is_reading for call in calls)


# Delete


def test_delete_takes_all_of_it_in_order(cloudflare: Cloudflare) -> None:
    application = build_application(WEB, API)
    deploy(cloudflare, application)
    for tunnel in cloudflare.tunnels:
        tunnel.connections = 4
    with cloudflare.record() as calls:
        delete(cloudflare, application)
    assert not cloudflare.live_tunnels
    assert not cloudflare.all_records
    paths = [call.path for call in calls if call.method == "DELETE"]
    # By the records the tunnels are found again, should it be cut off.
    assert [path.split("/")[-2 if "cfd_tunnel" not in path else -1] for path in paths] == [
        *[word for one in cloudflare.tunnels for word in ("connections", one.id)],
        *["dns_records"] * 2,
    ]


def test_delete_waits_for_a_cloudflared_on_its_way_out(cloudflare: Cloudflare) -> None:
    deploy(cloudflare, build_application())
    (tunnel,) = cloudflare.tunnels
    refused = Fault(Refused(400, "1022", "Cannot delete tunnel because it has active connections"))
    cloudflare.fail_on("DELETE", f"/cfd_tunnel/{tunnel.id}$", refused, times=2)
    delete(cloudflare, build_application())
    assert not cloudflare.live_tunnels


def test_delete_goes_on_past_what_fails_and_names_it(cloudflare: Cloudflare) -> None:
    application = build_application(WEB, API)
    deploy(cloudflare, application)
    refused = Fault(Refused(400, "1004", "no"))
    cloudflare.fail_on("DELETE", "/dns_records/", refused, times=2)
    with pytest.raises(HostsError) as caught:
        delete(cloudflare, application)
    assert [str(error) for error in caught.value.errors] == [
        "Cloudflare: the DNS record www.example.com: HTTP 400: no",
        "Cloudflare: the DNS record api.example.com: HTTP 400: no",
    ]
    assert not cloudflare.live_tunnels
    delete(cloudflare, application)
    assert not cloudflare.all_records


# Branches


def test_a_branch_has_its_own_and_its_deletion_takes_just_that(cloudflare: Cloudflare) -> None:
    main, branch = build_config(), build_config().for_branch("login")
    deploy(cloudflare, main.application)
    before = [*cloudflare.all_records], [*cloudflare.live_tunnels]
    deploy(cloudflare, branch.application)
    assert [*cloudflare.live_tunnels] == ["nvoi-shop-web", "nvoi-shop-login-web"]
    assert "login-www.example.com CNAME" in cloudflare.all_records
    # Neither takes the other's for its own.
    deploy(cloudflare, main.application)
    assert len(cloudflare.live_tunnels) == 2
    delete(cloudflare, branch.application)
    assert ([*cloudflare.all_records], [*cloudflare.live_tunnels]) == before


def test_an_app_with_a_long_name_has_a_comment_that_is_taken(cloudflare: Cloudflare) -> None:
    branch = build_config().for_branch("x" * 90).application
    application = Application(
        branch.name,
        branch.compute_provider,
        app=build_application(WEB.replace("subdomain: www", "subdomain: other")).app,
        cloudflare=branch.cloudflare,
    )
    deploy(cloudflare, application)
    (record,) = cloudflare.all_records.values()
    assert len(record["comment"]) <= 100
    delete(cloudflare, application)
    assert not cloudflare.all_records


# Dry run


def test_a_dry_run_reads_alone_and_says_what_would_be_done(cloudflare: Cloudflare) -> None:
    application = build_application()
    assert open_domains(cloudflare, application).describe() == [
        "makes the tunnel nvoi-shop-web",
        "makes the DNS record www.example.com, which leads to it",
    ]
    deploy(cloudflare, build_application(WEB, API))
    with cloudflare.record() as calls:
        assert open_domains(cloudflare, application).describe() == [
            "removes the DNS record api.example.com",
            "removes the tunnel nvoi-shop-api",
        ]
        assert open_domains(cloudflare, application).describe_deletion() == [
            "removes the DNS record www.example.com",
            "removes the DNS record api.example.com",
            "removes the tunnel nvoi-shop-web",
            "removes the tunnel nvoi-shop-api",
        ]
    assert all(call.is_reading for call in calls)


# Faults on the way


@pytest.mark.parametrize("acts", [True, False])
def test_what_was_made_without_an_answer_is_not_made_twice(
    cloudflare: Cloudflare, *, acts: bool
) -> None:
    for path in ("/cfd_tunnel$", "/dns_records$"):
        cloudflare.fail_on("POST", path, Fault(acts=acts))
    deploy(cloudflare, build_application())
    assert len(cloudflare.tunnels) == len(cloudflare.all_records) == 1


def test_a_tunnel_that_another_run_makes_meanwhile_is_taken(cloudflare: Cloudflare) -> None:
    application = build_application()
    domains = open_domains(cloudflare, application)
    domains.check()
    deploy(cloudflare, application)
    domains.connect("run")
    domains.publish()
    assert len(cloudflare.tunnels) == len(cloudflare.all_records) == 1


def test_a_rate_limit_is_waited_for(cloudflare: Cloudflare) -> None:
    limit = Refused(429, "10429", "More than 1200 requests per 300 seconds reached.")
    limit.headers["Retry-After"] = "1"
    cloudflare.fail_on("GET", "/zones$", Fault(limit))
    cloudflare.fail_on("POST", "/cfd_tunnel$", Fault(limit))
    deploy(cloudflare, build_application())
    assert len(cloudflare.tunnels) == 1


def test_a_limit_that_lasts_is_told_with_how_long_it_does(cloudflare: Cloudflare) -> None:
    limit = Fault(Refused(429, "10429", "More than 1200 requests per 300 seconds reached."))
    cloudflare.fail_on("GET", "/zones$", limit, times=100)
    with pytest.raises(RequestError) as caught:
        open_hastily(cloudflare.url).check()
    assert "More than 1200 requests" in caught.value.message
    assert "5 minutes" in caught.value.hint


def test_an_api_that_is_down_is_told_and_a_dry_run_says_what_it_cannot_see() -> None:
    with Cloudflare() as cloudflare:
        url = cloudflare.url
    with pytest.raises(RequestError, match=r"^Cloudflare: zones: the connection was") as caught:
        open_hastily(url).check()
    assert "cloudflarestatus" in caught.value.hint
    told = [
        *open_hastily(url).describe(),
        *open_hastily(url).describe_deletion(),
    ]
    assert len(told) == 2
    assert all(line.startswith("what there is at Cloudflare cannot be seen") for line in told)


def open_hastily(url: str) -> Tunnels:
    """Tunnels of a run that gives up soon."""
    application = build_application()
    assert application.cloudflare is not None
    return Tunnels(
        application,
        application.cloudflare,
        {"CLOUDFLARE_BASE_URL": url},
        Pace(patience=0.2, pause=0.05),
    )


@pytest.mark.parametrize(
    "document",
    [
        [],
        ["x"],
        "no JSON",
        {"result": 7, "result_info": "x", "errors": {"code": 1}},
        {"result": [None, "x", {}], "errors": "x"},
        {"result": [{"id": 7, "name": []}], "errors": [None, {"code": [], "error_chain": "x"}]},
        {"result": {}, "errors": [{"error_chain": [None, {"code": None}]}]},
    ],
)
@pytest.mark.parametrize("status", [200, 403])
def test_an_answer_of_another_form_ends_a_deploy_in_words(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch, document: Any, status: int
) -> None:
    monkeypatch.setattr(cloudflare, "_answer", lambda _: Answer(status, document))
    application = build_application()
    with pytest.raises(NvoiError, match=r"Cloudflare|domain_provider\.cloudflare"):
        deploy(cloudflare, application)
    account = application.cloudflare
    assert account is not None
    with pytest.raises(NvoiError, match="the tunnel x"):
        Account(account, {"CLOUDFLARE_BASE_URL": cloudflare.url}).get_token(Tunnel("x", "x"))


def test_a_page_that_says_it_has_room_for_nothing_is_the_last(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Answer(200, {"result": [], "result_info": {"per_page": 0}})
    answers = [empty, Answer(500)]
    monkeypatch.setattr(cloudflare, "_answer", lambda _: answers.pop(0))
    account = build_application().cloudflare
    assert account is not None
    assert Account(account, {"CLOUDFLARE_BASE_URL": cloudflare.url}).list_zones() == []
