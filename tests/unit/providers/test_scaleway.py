"""Servers rented of Scaleway: made, found again, changed and given back, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.providers.scaleway import Scaleway
from nvoi.providers.scaleway.api import Pace
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.scaleway import (
    ADDRESSES,
    FIREWALLS,
    GB,
    KINDS,
    NETWORKS,
    PRIVATE_IPS,
    SERVERS,
    VOLUMES,
    VPCS,
)
from tests.fakes.clouds.scaleway import Scaleway as Cloud
from tests.fakes.clouds.server import Call, Fault, Json, Refused
from tests.unit.config.texts import parse, scaleway
from tests.waiting import PATIENCE

PACE = Pace(
    answer=5.0,
    patience=1.0,
    pause=0.01,
    poll=0.005,
    longest_poll=0.02,
    deadline=PATIENCE,
    release=PATIENCE,
)
HASTE = replace(PACE, patience=0.1, deadline=0.1, release=0.1)
APP = "app: {web: {servers: [main], port: 3000}}"
SERVERS_TEXT = """\
servers:
  main: {master: true, volumes: {data: {size: 20, uid: 999}}}
  work: {count: 2}
"""
OWN = {"managed-by=nvoi", "app=shop", "environment=production"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(polls=1) as cloud:
        yield cloud


def read(servers: str = SERVERS_TEXT, zone: str = "", **options: str) -> Application:
    text = scaleway(APP, servers, **options)
    zoned = text.replace("DEV1-S", f"DEV1-S\n      zone: {zone}") if zone else text
    return parse(zoned).application


def rent(cloud: Cloud, application: Application, pace: Pace = PACE) -> Scaleway:
    return Scaleway(application, Routes(), {"SCW_API_URL": cloud.url}, pace)


def deploy(cloud: Cloud, application: Application) -> None:
    rent(cloud, application).ensure_servers()


def add(cloud: Cloud, kind: str, name: str, tags: list[str] | None = None, **shape: object) -> Json:
    """Something that is there before, made behind the API's back."""
    place = "fr-par" if kind in {NETWORKS, VPCS} else "fr-par-1"
    thing = cloud.add(kind, place, name, tags or [])
    thing.update(shape)
    return thing


def list_changes(calls: list[Call]) -> list[str]:
    return [str(call) for call in calls if not call.is_reading]


# Made


def test_servers_are_made_with_all_they_need_and_found_by_name_and_tags(cloud: Cloud) -> None:
    main, *work = rent(cloud, read()).ensure_servers()
    assert [one.name for one in (main, *work)] == ["shop-main-1", "shop-work-1", "shop-work-2"]
    assert cloud.list_names(SERVERS) == ["shop-main-1", "shop-work-1", "shop-work-2"]
    assert cloud.list_names(VOLUMES) == [
        "shop-main-1-root",
        "shop-main-data",
        "shop-work-1-root",
        "shop-work-2-root",
    ]
    assert cloud.list_names(NETWORKS) == cloud.list_names(VPCS) == ["nvoi-shop-network"]
    assert cloud.list_names(FIREWALLS) == ["nvoi-shop-firewall"]
    assert len(cloud.things[ADDRESSES]) == 3
    # Nothing can be lost: each of them says whose it is.
    assert all(set(one["tags"]) >= OWN for kind in KINDS for one in cloud.things[kind].values())
    network = cloud.get(NETWORKS, "nvoi-shop-network")
    assert [one["subnet"] for one in network["subnets"]] == ["10.0.1.0/24"]
    server = cloud.get(SERVERS, "shop-main-1")
    assert (server["state"], server["commercial_type"]) == ("running", "DEV1-S")
    assert "group=main" in server["tags"]
    assert main.is_master
    assert main.host.user == "deploy"
    assert main.private_ip in {"10.0.1.2", "10.0.1.3", "10.0.1.4"}
    volume = cloud.get(VOLUMES, "shop-main-data")
    assert volume["size"] == 20 * GB
    (disk,) = main.disks
    assert disk.device == f"/dev/disk/by-id/scsi-0SCW_sbs_volume-{volume['id']}"
    assert disk.folder == "/opt/nvoi/volumes/shop-main-data"
    assert main.owners == ((disk.folder, 999),)


def test_a_new_server_starts_once_it_knows_who_logs_in(cloud: Cloud) -> None:
    (server,) = rent(cloud, read("servers: {main: {}}")).ensure_servers()
    changes = list_changes(cloud.calls)
    (data,) = [place for place, one in enumerate(changes) if one.endswith("user_data/cloud-init")]
    starts = [place for place, one in enumerate(changes) if one.endswith("/action")]
    assert starts == [data + 1]
    (values,) = cloud.user_data.values()
    document = json.loads(values["cloud-init"].removeprefix("#cloud-config\n"))
    assert server.is_new
    assert server.host.host_keys == (document["ssh_keys"]["ed25519_public"],)
    assert document["users"][0]["name"] == "deploy"
    assert document["package_upgrade"] is False


def test_two_runs_at_once_make_nothing_twice(cloud: Cloud) -> None:
    application, more = read("servers: {main: {}}"), read()
    for app in (application, more):
        late = rent(cloud, app)
        # It looks, and another run makes all of it then.
        late.list_servers()
        deploy(cloud, app)
        names = {kind: cloud.list_names(kind) for kind in KINDS}
        with pytest.raises(NvoiError, match=r"another run makes .* at the same time") as caught:
            late.ensure_servers()
        assert "deploy again once it has ended" in caught.value.hint
        assert {kind: cloud.list_names(kind) for kind in KINDS} == names
        deploy(cloud, app)


def test_a_volume_that_is_called_like_the_disk_of_a_server_is_told_from_it(cloud: Cloud) -> None:
    application = read("servers: {main: {master: true}, main-1: {volumes: {root: {size: 7}}}}")
    first = rent(cloud, application).ensure_servers()
    assert cloud.list_names(VOLUMES) == [
        "shop-main-1-1-root",
        "shop-main-1-root",
        "shop-main-1-root",
    ]
    assert [[disk.size for disk in one.disks] for one in first] == [[], [7]]
    assert rent(cloud, application).ensure_servers() == first
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


# Taken up


def test_a_server_that_was_never_given_user_data_gets_it_with_a_key_that_is_noted(
    cloud: Cloud,
) -> None:
    application = read("servers: {main: {}}")
    cloud.fail_on("PATCH", r"/user_data/", Fault(Refused(403, "quotas_exceeded", "no", details=[])))
    with pytest.raises(NvoiError, match="give the server shop-main-1 in fr-par-1 its user data"):
        deploy(cloud, application)
    assert cloud.get(SERVERS, "shop-main-1")["state"] == "stopped"
    (server,) = rent(cloud, application).ensure_servers()
    (values,) = cloud.user_data.values()
    assert server.host.host_keys[0] in values["cloud-init"]
    assert cloud.get(SERVERS, "shop-main-1")["state"] == "running"


def test_a_server_that_was_stopped_starts_and_keeps_its_host_key(cloud: Cloud) -> None:
    application = read("servers: {main: {}}")
    before = rent(cloud, application).ensure_servers()
    cloud.get(SERVERS, "shop-main-1")["state"] = "stopped"
    with cloud.record() as calls:
        assert rent(cloud, application).ensure_servers() == before
    assert [one.rpartition("/")[2] for one in list_changes(calls)] == ["action"]


MADE = (
    *("/vpcs", "/private-networks", "/security_groups", "/ips", "/servers", "/volumes"),
    *("/private_nics", "/attach-volume", "/action"),
)


def test_what_was_made_though_no_answer_came_is_used_and_not_made_twice(cloud: Cloud) -> None:
    for path in MADE:
        cloud.fail_on("POST", f"{path}$", Fault(acts=True))
    (server,) = rent(cloud, read("servers: {main: {volumes: {data: {}}}}")).ensure_servers()
    assert not cloud.has_faults
    assert len(server.disks) == 1
    counts = {kind: len(cloud.things[kind]) for kind in KINDS}
    expected = {SERVERS: 1, ADDRESSES: 1, FIREWALLS: 1, VOLUMES: 2, NETWORKS: 1, VPCS: 1}
    assert counts == expected


def test_what_is_busy_or_limited_for_a_moment_is_asked_again(cloud: Cloud) -> None:
    busy = Refused(409, "transient_state", "resource is in a transient state")
    limited = Refused(429, "too_many_requests", "slow down")
    limited.headers["Retry-After"] = "0"
    cloud.fail_on("POST", "/private_nics$", Fault(busy))
    cloud.fail_on("POST", "/servers$", Fault(limited))
    cloud.fail_on("GET", "/volumes$", Fault(Refused(503, "unavailable", "later")), times=2)
    deploy(cloud, read("servers: {main: {}}"))
    assert not cloud.has_faults
    assert len(cloud.things[SERVERS]) == 1


def test_the_address_of_a_server_of_the_gem_is_taken_over_with_it_wherever_a_run_is_killed(
    cloud: Cloud,
) -> None:
    application = read("servers: {main: {}}")

    def make_as_the_gem() -> None:
        deploy(cloud, application)
        for things in cloud.show_all().values():
            for one in things:
                one["tags"] = []
        address = next(iter(cloud.things[ADDRESSES].values()))["address"]
        told = rent(cloud, application).list_unlabelled()
        assert f"the address {address} in fr-par-1" in told

    make_as_the_gem()
    with cloud.record() as calls:
        deploy(cloud, application)
    for number in [place for place, one in enumerate(calls, 1) if not one.is_reading]:
        rent(cloud, application).delete_servers(with_volumes=True)
        assert not any(cloud.show_all().values())
        make_as_the_gem()
        cloud.stop_at(number, Fault(acts=True))
        with suppress(NvoiError):
            deploy(cloud, application)
        cloud.heal()
        deploy(cloud, application)


def test_an_address_of_another_stays_whichever_server_it_leads_to(cloud: Cloud) -> None:
    application = read("servers: {main: {}}")
    deploy(cloud, application)
    for things in cloud.show_all().values():
        for one in things:
            one["tags"] = []
    (address,) = cloud.things[ADDRESSES].values()
    address["tags"] = ["managed-by=terraform"]
    told = rent(cloud, application).list_unlabelled()
    assert [one for one in told if "address" in one] == []
    deploy(cloud, application)
    rent(cloud, application).delete_servers(with_volumes=True)
    assert [*cloud.things[ADDRESSES].values()] == [address]
    assert (address["tags"], address["server"]) == (["managed-by=terraform"], None)


# Changed


def test_a_security_group_that_was_changed_is_put_right(cloud: Cloud) -> None:
    application = read("servers: {main: {}}")
    deploy(cloud, application)
    group = cloud.get(FIREWALLS, "nvoi-shop-firewall")
    assert (group["stateful"], group["inbound_default_policy"]) == (True, "drop")
    good = {key: one for key, one in cloud.rules[group["id"]][0].items() if key != "id"}
    assert (good["protocol"], good["dest_port_from"], good["ip_range"]) == ("TCP", 22, "0.0.0.0/0")
    opened = {**good, "dest_port_from": 6443, "dest_port_to": 6444}
    cloud.rules[group["id"]] = [opened]
    group["inbound_default_policy"] = "accept"
    (line,) = [one for one in rent(cloud, application).describe() if "security group" in one]
    assert "opens TCP port 22 for all" in line
    assert "no longer accepts inbound TCP ports 6443-6444 for all" in line
    assert "inbound_default_policy is drop again" in line
    deploy(cloud, application)
    assert group["inbound_default_policy"] == "drop"
    (rule,) = cloud.rules[group["id"]]
    assert {**rule, "id": ""} == {**good, "id": ""}


def test_a_server_is_behind_the_security_group_and_in_the_network_again(cloud: Cloud) -> None:
    application = read("servers: {main: {}}")
    deploy(cloud, application)
    group = add(cloud, FIREWALLS, "Default security group")
    server = cloud.get(SERVERS, "shop-main-1")
    server["security_group"] = {"id": group["id"], "name": group["name"]}
    server["private_nics"], cloud.things[PRIVATE_IPS] = [], {}
    address = next(iter(cloud.things[ADDRESSES].values()))
    address.update(server=None, state="detached")
    # It is there all the same, and no other one is made.
    (lost,) = rent(cloud, application).list_servers()
    assert lost.host.address == server["id"]
    (found,) = rent(cloud, application).ensure_servers()
    assert server["security_group"]["name"] == "nvoi-shop-firewall"
    assert found.private_ip == "10.0.1.2"
    assert found.host.address == address["address"]
    # The same where it lacks nothing else.
    address.update(server=None, state="detached")
    (found,) = rent(cloud, application).ensure_servers()
    assert found.host.address == address["address"]


def test_a_plan_names_what_it_costs(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {master: true}, work: {count: 2, volumes: {data: {}}}}"))
    provider = rent(cloud, read("servers: {main: {}}"))
    costs = "costs EUR {} a month afterwards, EUR 30.86 now, without public addresses"
    assert provider.describe()[-1] == costs.format("10.86")
    assert provider.describe(with_volumes=True)[-1] == costs.format("10.00")
    told = provider.describe_deletion(with_volumes=False)
    assert told[-1] == costs.format("0.86")


def test_a_plan_knows_the_price_of_a_disk_that_nobody_has_marked_yet(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {master: true}, work: {}}"))
    told = rent(cloud, read("servers: {main: {}}")).describe()
    for name in ("shop-main-1", "shop-work-1"):
        cloud.get(VOLUMES, f"{name}-root").update(name="Ubuntu", tags=[])
    add(cloud, VOLUMES, "theirs", size=40 * GB)
    provider = rent(cloud, read("servers: {main: {}}"))
    assert provider.describe()[-1] == told[-1]
    assert provider.describe_deletion(with_volumes=False)[-1].startswith("costs EUR 0.00 a month")


def test_an_address_that_a_killed_change_left_is_given_back_by_the_next_deploy(
    cloud: Cloud,
) -> None:
    """Wherever it was killed, no address is left; a disk may be, and is told of."""
    before, after = read("servers: {main: {master: true}, work: {}}"), read("servers: {main: {}}")

    def change() -> None:
        provider = rent(cloud, after)
        provider.ensure_servers()
        provider.delete_surplus(provider.list_surplus(), with_volumes=False)

    deploy(cloud, before)
    with cloud.record() as calls:
        change()
    left = []
    for number in [place for place, one in enumerate(calls, 1) if not one.is_reading]:
        deploy(cloud, before)
        cloud.stop_at(number, Fault(acts=True))
        with suppress(NvoiError):
            change()
        cloud.heal()
        staying = [one for one in cloud.things[SERVERS].values() if one["state"] != "stopping"]
        left.append(len(cloud.things[ADDRESSES]) - len(staying))
        change()
        assert len(cloud.things[ADDRESSES]) == len(cloud.things[SERVERS]) == 1
    assert 1 in left


def test_a_volume_has_data_whatever_tags_its_owner_has_given_it(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {master: true}, work: {volumes: {data: {}}}}"))
    cloud.get(VOLUMES, "shop-work-data")["tags"].append("server=shop-work-1")
    provider = rent(cloud, read("servers: {main: {}}"))
    provider.delete_surplus(provider.list_surplus(), with_volumes=False)
    assert cloud.list_names(VOLUMES) == ["shop-main-1-root", "shop-work-data"]


def test_an_address_that_cannot_be_given_back_holds_up_no_deploy(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(cloud, read("servers: {main: {master: true}, work: {}}"))
    gone = cloud.get(SERVERS, "shop-work-1")
    del cloud.things[SERVERS][gone["id"]]
    for address in cloud.things[ADDRESSES].values():
        if address["server"] == gone["id"]:
            address.update(server=None, state="detached")
    cloud.fail_on("DELETE", "/ips/", Fault(Refused(403, "permissions_denied", "no")))
    deploy(cloud, read("servers: {main: {}}"))
    (told,) = [one for one in caplog.messages if "leads nowhere" in one]
    assert "goes on costing money: Scaleway cannot delete the address 198.18.0." in told
    deploy(cloud, read("servers: {main: {}}"))
    assert len(cloud.things[ADDRESSES]) == 1


def test_an_address_goes_where_its_server_was_to_be_in_another_zone(cloud: Cloud) -> None:
    """As earlier versions left one where a type was out of stock; others' addresses stay."""
    deploy(cloud, read("servers: {main: {}}"))
    cloud.things[SERVERS].clear()
    add(cloud, ADDRESSES, "", ["server=shop-main-1"])
    (address, other) = cloud.things[ADDRESSES].values()
    address.update(server=None, state="detached")
    provider = rent(cloud, read("servers: {main: {}}", zone="fr-par-2"))
    told = f"deletes the address {address['address']} in fr-par-1, which leads nowhere"
    assert told in provider.describe()
    (server,) = provider.ensure_servers()
    kept, new = cloud.things[ADDRESSES].values()
    assert kept == other
    assert server.host.address == new["address"]


def test_a_volume_that_cannot_leave_its_server_is_named_with_the_reason(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {volumes: {old: {}}}}"))
    refused = Refused(403, "permissions_denied", "insufficient permissions")
    cloud.fail_on("POST", "/detach-volume$", Fault(refused))
    with pytest.raises(NvoiError, match="cannot detach the volume shop-main-old"):
        rent(cloud, read("servers: {main: {}}"), HASTE).delete_surplus([], with_volumes=True)


def test_a_type_that_the_config_says_in_vain_is_told(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {}}"))
    lines = rent(cloud, read("servers: {main: {type: DEV1-M}}")).describe()
    assert any("keeps its type DEV1-S, though the config says DEV1-M" in one for one in lines)


# Given back


def test_pages_that_are_shorter_than_what_was_asked_for_are_all_read(cloud: Cloud) -> None:
    cloud.largest_page = 2
    application = read()
    rent(cloud, application).ensure_servers()
    found = rent(cloud, application).list_servers()
    assert [one.name for one in found] == ["shop-main-1", "shop-work-1", "shop-work-2"]
    assert found[0].disks
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_a_project_that_is_named_in_capital_letters_is_the_same(cloud: Cloud) -> None:
    deploy(cloud, read())
    application = read(project="105BDCE1-64C0-48AB-899D-868455867ECF")
    assert len(rent(cloud, application).list_servers()) == 3
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_delete_goes_on_past_what_stays_and_names_it(cloud: Cloud) -> None:
    application = read()
    provider = rent(cloud, application, replace(HASTE, deadline=1.0, release=PATIENCE))
    deploy(cloud, application)
    cloud.get(SERVERS, "shop-work-2")["protected"] = True
    with pytest.raises(NvoiError) as raised:
        provider.delete_servers(with_volumes=True)
    assert "the server shop-work-2 in fr-par-1: Scaleway cannot delete" in raised.value.message
    assert "the server is protected" in raised.value.message
    assert cloud.list_names(SERVERS) == ["shop-work-2"]
    assert cloud.list_names(VOLUMES) == ["shop-work-2-root"]
    cloud.get(SERVERS, "shop-work-2")["protected"] = False
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_delete_takes_what_a_broken_run_left_of_a_server(cloud: Cloud) -> None:
    """A server that never started, and whose disk nobody has marked yet."""
    application = read("servers: {main: {}}")
    cloud.fail_on("PATCH", "/volumes/", Fault(Refused(403, "x", "no")))
    with pytest.raises(NvoiError, match="no"):
        deploy(cloud, application)
    assert cloud.list_names(VOLUMES) == ["Ubuntu 24.04 Noble Numbat_sbs_volume_0"]
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_a_zone_that_is_changed_doubles_nothing_and_leaves_nothing(cloud: Cloud) -> None:
    deploy(cloud, read())
    names = {kind: cloud.list_names(kind) for kind in KINDS}
    moved = read("servers: {main: {volumes: {data: {size: 20}}}}", zone="fr-par-2")
    provider = rent(cloud, moved)
    assert [one.name for one in provider.list_surplus()] == ["shop-work-1", "shop-work-2"]
    provider.ensure_servers()
    assert {kind: cloud.list_names(kind) for kind in KINDS} == names
    rent(cloud, moved).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_delete_finds_the_app_in_another_region_than_that_of_the_config(cloud: Cloud) -> None:
    text = "servers: {main: {location: nl-ams-2, volumes: {data: {}}}}"
    before = read(text, zone="nl-ams-1")
    deploy(cloud, before)
    application = read("servers: {main: {volumes: {data: {}}}}")
    with pytest.raises(NvoiError, match="in nl-ams already, and the config says fr-par"):
        deploy(cloud, application)
    assert rent(cloud, before).delete_servers(with_volumes=False) == ["shop-main-data"]
    # Volumes alone say it too: the app would begin with an empty one elsewhere.
    with pytest.raises(NvoiError, match="in nl-ams already, and the config says fr-par"):
        deploy(cloud, application)
    kept = rent(cloud, application).delete_servers(with_volumes=False)
    assert kept == ["shop-main-data"]
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())
