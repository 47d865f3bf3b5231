"""Servers of Hetzner, as a deploy and a delete ask for them, against the stand-in's API."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from nvoi.errors import ConfigError, NvoiError
from nvoi.providers.cloud_init import decode_host_key
from nvoi.providers.hetzner import Hetzner as Provider
from tests.fakes.clouds.hetzner import (
    FIREWALLS,
    NETWORKS,
    READING_TOKEN,
    SERVERS,
    TOKEN,
    VOLUMES,
    Hetzner,
)
from tests.fakes.clouds.server import Answer, Call, Fault, Refused, route
from tests.integration.providers.hetzner_site import (
    BRISK,
    PACE,
    HetznerSite,
    build_config,
    build_provider,
)
from tests.integration.providers.site import deploy_servers

ONE = "{main: {master: true}}"
DISK = "{main: {master: true, volumes: {data: {size: 20}}}}"


@pytest.fixture
def cloud() -> Iterator[Hetzner]:
    with Hetzner() as started:
        yield started


def ensure(cloud: Hetzner, servers: str = ONE, **options: str) -> Provider:
    """A run that has made all that the config names."""
    provider = build_provider(cloud, build_config(servers, **options))
    provider.ensure_servers()
    return provider


def refuse(cloud: Hetzner, servers: str = ONE, **options: str) -> str:
    """The error of a run whose config the account cannot have, which has made nothing."""
    before = cloud.show_all()
    with pytest.raises(ConfigError) as caught:
        build_provider(cloud, build_config(servers, **options)).ensure_servers()
    assert cloud.show_all() == before
    return caught.value.message


def list_changes(calls: list[Call]) -> list[str]:
    return [f"{call.method} {call.path}" for call in calls if not call.is_reading]


# What is made


def test_an_empty_project_gets_all_that_the_config_names(cloud: Hetzner) -> None:
    cloud.polls = 2
    application = build_config()
    deploy_servers(build_provider(cloud, application))
    HetznerSite(cloud).check_whole(application)
    network = cloud.get(NETWORKS, "nvoi-shop-network")
    assert network["ip_range"] == "10.0.0.0/16"
    subnet = {key: network["subnets"][0][key] for key in ("type", "ip_range", "network_zone")}
    assert subnet == {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}
    rules = cloud.get(FIREWALLS, "nvoi-shop-firewall")["rules"]
    assert [(one["direction"], one["protocol"], one["port"]) for one in rules] == [
        ("in", "tcp", "22")
    ]
    assert rules[0]["source_ips"] == ["0.0.0.0/0", "::/0"]
    assert cloud.get(SERVERS, "shop-work-1")["server_type"]["name"] == "cx33"
    assert cloud.get(VOLUMES, "shop-main-data")["format"] is None


def test_a_server_starts_with_the_user_and_a_host_key_that_its_label_names(cloud: Hetzner) -> None:
    application = build_config(ONE)
    [server] = build_provider(cloud, application).ensure_servers()
    record = cloud.get(SERVERS, "shop-main-1")
    data = YAML(typ="safe").load(cloud.user_data[record["id"]])
    assert application.ssh_keys
    assert data["users"][0]["name"] == "deploy"
    key = data["users"][0]["ssh_authorized_keys"][0]
    assert application.ssh_keys.public_key.startswith(key)
    assert data["ssh_keys"]["ed25519_public"] == decode_host_key(record["labels"]["host-key-first"])
    assert server.is_new
    assert server.host.user == "deploy"
    assert server.host.host_keys == (data["ssh_keys"]["ed25519_public"],)
    assert server.host.address == record["public_net"]["ipv4"]["ip"]
    assert server.private_ip == record["private_net"][0]["ip"]


def test_an_arm_server_has_the_image_for_arm(cloud: Hetzner) -> None:
    ensure(cloud, type_="cax11", architecture="arm64")
    [call] = [one for one in cloud.calls if (one.method, one.path) == ("POST", "/servers")]
    assert call.json["image"] == 203


def test_what_was_changed_beside_nvoi_is_put_right(cloud: Hetzner) -> None:
    ensure(cloud, DISK)
    server, volume = cloud.get(SERVERS, "shop-main-1"), cloud.get(VOLUMES, "shop-main-data")
    wall = cloud.get(FIREWALLS, "nvoi-shop-firewall")
    rules = [dict(rule) for rule in wall["rules"]]
    wall["rules"].append({**rules[0], "port": "6443"})
    wall["applied_to"].clear()
    server["public_net"]["firewalls"].clear()
    server.update(status="off", private_net=[], volumes=[])
    volume["server"] = None
    ensure(cloud, DISK)
    assert wall["rules"] == rules
    assert [one["server"]["id"] for one in wall["applied_to"]] == [server["id"]]
    assert server["status"] == "running"
    assert len(server["private_net"]) == 1
    assert volume["server"] == server["id"]
    attached = [one for one in cloud.calls if one.path.endswith("/actions/attach")]
    assert [one.json["automount"] for one in attached] == [False, False]


def test_a_network_without_the_subnet_gets_it(cloud: Hetzner) -> None:
    ensure(cloud)
    network = cloud.get(NETWORKS, "nvoi-shop-network")
    network["subnets"].clear()
    ensure(cloud)
    assert [one["ip_range"] for one in network["subnets"]] == ["10.0.1.0/24"]


def test_servers_are_made_side_by_side(cloud: Hetzner) -> None:
    ensure(cloud, "{main: {master: true, count: 10}}")
    made = [index for index, one in enumerate(cloud.calls) if one.path == "/servers"]
    posts = [index for index in made if cloud.calls[index].method == "POST"]
    assert len(posts) == 10
    assert posts[-1] - posts[0] == 9, "others were asked between them"


# What is found


def test_an_app_of_another_name_with_the_same_key_shares_the_key_alone(cloud: Hetzner) -> None:
    ensure(cloud)
    branch = replace(build_config(ONE), name="shop-blue")
    build_provider(cloud, branch).ensure_servers()
    assert cloud.list_names(SERVERS) == ["shop-blue-main-1", "shop-main-1"]
    assert len(cloud.show_all()["ssh_keys"]) == 1
    build_provider(cloud, build_config(ONE)).delete_servers(with_volumes=True)
    assert cloud.list_names(SERVERS) == ["shop-blue-main-1"]


# What the account cannot have


def test_a_wrong_token_is_told_with_the_way_to_a_right_one(cloud: Hetzner) -> None:
    text = refuse(cloud, token="made-up-token")
    assert "application.compute_provider.hetzner.api_token: Hetzner does not know" in text
    assert "Read & Write" in text
    assert "made-up-token" not in text


class Revoking(Hetzner):
    """One whose token no longer counts once there is a network."""

    def authorize(self, call: Call) -> None:
        super().authorize(call)
        if call.is_reading and self.things[NETWORKS]:
            raise Refused(401, "unauthorized", "unable to authenticate")


def test_a_token_that_ends_meanwhile_is_told_with_what_was_made() -> None:
    with Revoking() as cloud, pytest.raises(NvoiError, match="unable to authenticate") as caught:
        build_provider(cloud, build_config()).ensure_servers()
    # Such a fault would say that nothing was changed.
    assert not isinstance(caught.value, ConfigError)
    assert "made so far, which the next run goes on from: network nvoi-shop-" in caught.value.hint


def test_a_token_that_may_only_read_is_told_before_anything_is_made(cloud: Hetzner) -> None:
    text = refuse(cloud, token=READING_TOKEN)
    assert text.startswith("config: application.compute_provider.hetzner.api_token: the token may")


def test_what_is_not_sold_is_told_with_what_is(cloud: Hetzner) -> None:
    path = "application.compute_provider.hetzner"
    text = refuse(cloud, type_="cx22")
    assert f"{path}.server_type: there is no server type cx22; fsn1 has these of x86: cx23" in text
    text = refuse(cloud, location="fsn2")
    assert (
        f"{path}.server_location: there is no location fsn2; there are ash, fsn1, hel1, nbg1"
        in text
    )
    text = refuse(cloud, type_="cax11")
    assert f"{path}.server_type: cax11 is arm64, and `architecture` says another; fsn1 has" in text
    text = refuse(cloud, location="ash")
    assert "cx23 is not sold in ash, but in fsn1, hel1, nbg1; ash has these of x86: cpx11" in text
    text = refuse(cloud, "{main: {master: true}, work: {type: cx99, count: 3}}")
    assert text.count("application.servers.work.type: there is no server type cx99") == 1


def test_what_is_deprecated_is_told_with_what_is_not(cloud: Hetzner) -> None:
    soon = {"announced": "2026-01-01T00:00:00Z", "unavailable_after": "2126-01-01T00:00:00Z"}
    place = cloud.types[0]["locations"][0]
    place["deprecation"] = soon
    assert "cx23 is deprecated in fsn1; fsn1 has these of x86: " in refuse(cloud)
    place["deprecation"] = {**soon, "unavailable_after": "2026-02-01T00:00:00Z"}
    assert "cx23 is no longer sold in fsn1; fsn1 has these of x86: " in refuse(cloud)


def test_what_is_out_of_stock_is_told_with_the_nearest_and_its_price(cloud: Hetzner) -> None:
    place = cloud.types[0]["locations"][0]
    place["available"] = False
    text = refuse(cloud)
    assert "cx23 is out of stock in fsn1" in text
    assert "cx33 in fsn1 for EUR 7.74 a month or cx23 in hel1 for EUR 4.76 a month" in text


def test_stock_that_ran_out_meanwhile_is_told_likewise(cloud: Hetzner) -> None:
    refusal = Refused(412, "resource_unavailable", "server type is not available")
    cloud.fail_on("POST", "/servers$", Fault(refusal))
    with pytest.raises(NvoiError, match="server shop-main-1: cx23 is out of stock") as caught:
        build_provider(cloud, build_config(ONE)).ensure_servers()
    assert "cx33 in fsn1 for EUR 7.74 a month" in caught.value.message
    assert "made so far, which the next run goes on from: network nvoi-shop-" in caught.value.hint
    ensure(cloud)
    assert cloud.list_names(NETWORKS) == ["nvoi-shop-network"]


def test_what_is_there_needs_not_be_on_sale(
    cloud: Hetzner, caplog: pytest.LogCaptureFixture
) -> None:
    ensure(cloud)
    cloud.types = cloud.types[1:]
    ensure(cloud, type_="cx33")
    assert "server shop-main-1 is a cx23 in fsn1: cx33 in fsn1 is for new servers" in caplog.text


def test_a_full_project_is_told_with_what_was_made(cloud: Hetzner) -> None:
    cloud.limits[SERVERS] = 1
    application = build_config("{main: {master: true, count: 2}}")
    with pytest.raises(NvoiError, match="servers limit exceeded") as caught:
        build_provider(cloud, application).ensure_servers()
    assert "under Limits" in caught.value.hint
    assert "server shop-main-" in caught.value.hint
    cloud.limits.clear()
    build_provider(cloud, application).ensure_servers()
    assert cloud.list_names(SERVERS) == ["shop-main-1", "shop-main-2"]


def test_servers_are_in_one_network_zone(cloud: Hetzner) -> None:
    text = refuse(cloud, "{main: {master: true}, work: {location: ash, type: cpx11}}")
    assert "one network zone, not fsn1 in eu-central and ash in us-east" in text


def test_a_network_that_overlaps_is_an_error_that_names_it(cloud: Hetzner) -> None:
    ensure(cloud)
    network = cloud.get(NETWORKS, "nvoi-shop-network")
    network["subnets"][0]["ip_range"] = "10.0.0.0/23"
    application = build_config(ONE)
    with pytest.raises(NvoiError, match=r"10\.0\.0\.0/23, which overlaps 10\.0\.1\.0/24"):
        build_provider(cloud, application).ensure_servers()
    network.update(ip_range="192.168.0.0/16", subnets=[])
    with pytest.raises(NvoiError, match=r"has 192\.168\.0\.0/16, of which 10\.0\.1\.0/24 is no"):
        build_provider(cloud, application).ensure_servers()


def test_a_volume_elsewhere_is_a_fault_that_names_it(cloud: Hetzner) -> None:
    ensure(cloud, DISK)
    build_provider(cloud, build_config(DISK)).delete_servers(with_volumes=False)
    text = refuse(cloud, DISK, location="nbg1")
    assert "volumes.data: the volume is in fsn1, and its server in nbg1" in text
    ensure(cloud, "{main: {master: true}}")
    cloud.get(VOLUMES, "shop-main-data")["server"] = 4711
    assert "shop-main-data is attached to another server" in refuse(cloud, DISK)


def test_volumes_that_hetzner_has_not_are_told_without_asking(cloud: Hetzner) -> None:
    text = "{main: {master: true, volumes: {data: {size: 9}, " + "v" * 60 + ": {}}}}"
    application = build_config(text)
    faults = build_provider(cloud, application).find_faults()
    told = [f"{fault.path}: {fault.message}" for fault in faults]
    path = "application.servers.main.volumes"
    assert told[0] == f"{path}.data.size: Hetzner has volumes of 10 to 10240 GB"
    assert told[1].startswith(f"{path}.{'v' * 60}: at Hetzner a name has at most 64 characters")
    assert cloud.calls == []


def test_a_datacenter_of_an_old_config_is_its_location(
    cloud: Hetzner, caplog: pytest.LogCaptureFixture
) -> None:
    ensure(cloud, location="fsn1-dc14")
    assert cloud.get(SERVERS, "shop-main-1")["location"]["name"] == "fsn1"
    assert "server_location: Hetzner has no datacenters any more" in caplog.text


# What goes wrong on the way


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Refused(423, "locked", "busy")),
        Fault(Refused(409, "conflict", "changed meanwhile")),
        Fault(Refused(429, "rate_limit_exceeded", "too many requests")),
        Fault(Refused(503, "unavailable", "down")),
    ],
)
def test_what_passes_is_waited_for(cloud: Hetzner, fault: Fault) -> None:
    cloud.fail_on("POST", "/servers$", fault, times=2)
    ensure(cloud)
    assert cloud.list_names(SERVERS) == ["shop-main-1"]


def test_an_answer_that_was_lost_makes_nothing_twice(cloud: Hetzner) -> None:
    for path in ("/networks$", "/firewalls$", "/ssh_keys$", "/servers$", "/volumes$", "/attach$"):
        cloud.fail_on("POST", path, Fault(acts=True, hangs=path == "/servers$"))
    build_provider(cloud, build_config(DISK), BRISK).ensure_servers()
    assert [len(things) for things in cloud.show_all().values()] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("command", ["create_server", "start_server", "attach_volume"])
def test_an_action_that_fails_is_tried_again(cloud: Hetzner, command: str) -> None:
    cloud.failing[command] = ("action_failed", "it did not work")
    ensure(cloud, DISK)
    assert cloud.get(SERVERS, "shop-main-1")["status"] == "running"


def test_an_action_that_never_ends_is_told_with_its_last_state(cloud: Hetzner) -> None:
    cloud.polls = 1_000_000
    pace = replace(PACE, deadline=0.3)
    with pytest.raises(NvoiError, match=r"create_server \(50 %\)") as caught:
        build_provider(cloud, build_config(ONE), pace).ensure_servers()
    assert "server shop-main-1" in caught.value.hint
    cloud.polls = 0
    for _ in range(2):
        cloud.finish_all()
    ensure(cloud)
    assert cloud.list_names(SERVERS) == ["shop-main-1"]


def test_one_that_fails_again_and_again_is_told_after_all(cloud: Hetzner) -> None:
    refusal = Refused(500, "server_error", "something went wrong")
    cloud.fail_on("POST", "/firewalls$", Fault(refusal), times=1000)
    with pytest.raises(NvoiError, match="firewall nvoi-shop-firewall: HTTP 500") as caught:
        build_provider(cloud, build_config(ONE)).ensure_servers()
    assert "network nvoi-shop-network" in caught.value.hint


class Forgetful(Hetzner):
    @route("POST", r"/firewalls/(\d+)/actions/set_rules")
    def set_rules(self, call: Call, number: str) -> Answer:
        return Answer(201, {"actions": []})


def test_what_is_taken_and_never_done_is_told_after_all() -> None:
    with Forgetful() as cloud:
        ensure(cloud)
        cloud.get(FIREWALLS, "nvoi-shop-firewall")["rules"].clear()
        with pytest.raises(NvoiError, match="does not do it: corrects firewall nvoi-shop-fire"):
            build_provider(cloud, build_config(ONE)).ensure_servers()


def test_the_token_is_in_no_line(cloud: Hetzner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cloud.fail_on("POST", "/servers$", Fault(Refused(400, "invalid_input", "no")))
    with pytest.raises(NvoiError) as caught:
        build_provider(cloud, build_config(ONE)).ensure_servers()
    assert TOKEN not in caplog.text
    assert TOKEN not in str(caught.value)


# What is given back


def test_a_delete_goes_on_past_a_failure_and_names_what_is_left(cloud: Hetzner) -> None:
    ensure(cloud, "{main: {master: true}, work: {}}")
    cloud.get(SERVERS, "shop-work-1")["protection"]["delete"] = True
    application = build_config(ONE)
    with pytest.raises(NvoiError, match="left at Hetzner: server shop-work-1") as caught:
        build_provider(cloud, application).delete_servers(with_volumes=True)
    assert "server shop-work-1: HTTP 403: resource is protected" in caught.value.message
    assert "it is protected: lift that" in caught.value.hint
    assert cloud.list_names(SERVERS) == ["shop-work-1"]
    cloud.get(SERVERS, "shop-work-1")["protection"]["delete"] = False
    build_provider(cloud, application).delete_servers(with_volumes=True)
    assert HetznerSite(cloud).list_left() == []


# What is shown beforehand


def test_a_plan_names_what_would_be_made_and_what_it_costs(cloud: Hetzner) -> None:
    lines = build_provider(cloud, build_config(DISK)).describe()
    assert lines[0] == "makes network nvoi-shop-network, 10.0.0.0/16 with 10.0.1.0/24"
    assert lines[1] == "makes firewall nvoi-shop-firewall, which lets in tcp/22"
    assert "makes server shop-main-1, a cx23 in fsn1" in lines
    assert "makes volume shop-main-data, 20 GB in fsn1" in lines
    # 1.19 times 4.00 for the server, 0.50 for its address and 0.04 for each GB.
    assert lines[-1] == "costs EUR 6.31 a month afterwards, EUR 0.00 now"
    assert list_changes(cloud.calls) == []


def test_a_plan_names_what_would_be_changed_and_removed(cloud: Hetzner) -> None:
    ensure(cloud, "{main: {master: true}, work: {volumes: {data: {}}}}")
    application = build_config(ONE)
    assert build_provider(cloud, application).describe() == [
        "deletes server shop-work-1, which the config no longer names",
        "keeps volume shop-work-data; --delete-volumes deletes it",
        "costs EUR 5.83 a month afterwards, EUR 11.19 now",
    ]
    assert build_provider(cloud, application).describe(with_volumes=True)[1:] == [
        "deletes volume shop-work-data with all its data",
        "costs EUR 5.36 a month afterwards, EUR 11.19 now",
    ]
    cloud.get(FIREWALLS, "nvoi-shop-firewall")["rules"].clear()
    lines = build_provider(cloud, application).describe()
    assert lines[0] == "corrects firewall nvoi-shop-firewall, which lets in tcp/22"
    lines = build_provider(cloud, application).describe_deletion(with_volumes=False)
    assert "deletes server shop-main-1, a cx23 in fsn1" in lines
    assert lines[-2:] == [
        "keeps volume shop-work-data; --delete-volumes deletes it",
        "costs EUR 0.48 a month afterwards, EUR 11.19 now",
    ]
    lines = build_provider(cloud, application).describe_deletion(with_volumes=True)
    assert "deletes volume shop-work-data with all its data" in lines
    assert lines[-1] == "costs EUR 0.00 a month afterwards, EUR 11.19 now"


# The library


def test_the_library_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys, nvoi.cli.commands, nvoi.providers, nvoi.targets.cluster\n"
        "sys.exit('hcloud' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
