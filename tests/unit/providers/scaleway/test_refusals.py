"""What Scaleway cannot do or refuses: told with the place and what to do, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nvoi.config.schema import Application
from nvoi.errors import ConfigError, NvoiError, RequestError
from nvoi.providers.scaleway.quotas import list_limits
from nvoi.providers.scaleway.refusals import describe_refusal, explain
from tests.fakes.clouds.scaleway import (
    ADDRESSES,
    NETWORKS,
    SERVERS,
    VOLUMES,
    VPCS,
)
from tests.fakes.clouds.scaleway import Scaleway as Cloud
from tests.fakes.clouds.server import Fault, Refused
from tests.unit.config.texts import parse, scaleway
from tests.unit.providers.test_scaleway import APP, HASTE, PACE, add, deploy, read, rent

ACCOUNT = "application.compute_provider.scaleway"
ONE = "servers: {main: {}}"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


def find_fault(cloud: Cloud, application: Application) -> tuple[str, str]:
    """The one fault that ends a deploy before anything is made."""
    with cloud.record() as calls, pytest.raises(ConfigError) as raised:
        deploy(cloud, application)
    assert all(call.is_reading for call in calls)
    (fault,) = raised.value.faults
    return fault.path, fault.message


def test_why_it_refuses_is_one_line() -> None:
    refusal = {"type": "precondition_failed", "help_message": "not yet\n[ERROR] at all"}
    assert describe_refusal(refusal) == "not yet [ERROR] at all"


# Found without the account


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            scaleway(APP, ONE, project="my-project"),
            f"{ACCOUNT}.project_id: must be the id of a project, as the console shows it",
        ),
        (
            scaleway(APP, "servers: {main: {location: fr-par-9}}"),
            "application.servers.main.location: there is no zone fr-par-9; there are fr-par-1, fr",
        ),
        (
            scaleway(APP, "servers: {main: {location: nl-ams-1}}"),
            "application.servers.main.location: all servers must be in one region; fr-par-1 is in",
        ),
        (
            scaleway(APP, "servers: {main: {volumes: {data: {size: 10001}}}}"),
            "application.servers.main.volumes.data.size: a volume has at most 10000 GB",
        ),
    ],
)
def test_what_nobody_can_have_is_a_fault_that_needs_no_call(
    cloud: Cloud, text: str, fault: str
) -> None:
    application = parse(text).application
    (found,) = rent(cloud, application).find_faults()
    assert f"{found.path}: {found.message}".startswith(fault)
    assert cloud.calls == []


# The key


def test_a_key_that_is_not_known_is_a_fault_of_the_config(cloud: Cloud) -> None:
    text = scaleway(APP, ONE).replace("5cc0ffee", "00c0ffee")
    application = parse(text).application
    path, message = find_fault(cloud, application)
    assert path == f"{ACCOUNT}.secret_key"
    assert "the secret key is refused: no such key exists" in message
    assert "c0ffee" not in message


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("InstancesFullAccess", "may not read compute"),
        ("BlockStorageFullAccess", "may not read volume"),
        ("PrivateNetworksFullAccess", "may not read private_network"),
        ("VPCFullAccess", "may not read vpc"),
    ],
)
def test_a_key_without_rights_is_told_what_it_needs(cloud: Cloud, right: str, told: str) -> None:
    cloud.rights.discard(right)
    with pytest.raises(ConfigError) as raised:
        deploy(cloud, read(ONE))
    (fault,) = raised.value.faults
    assert fault.path == f"{ACCOUNT}.secret_key"
    assert told in fault.message
    assert right in raised.value.hint
    assert not any(cloud.show_all().values())


def test_a_right_that_shows_to_lack_later_says_what_was_made(cloud: Cloud) -> None:
    """A key that only reads: the API tells no rights, only what it refuses."""
    denied = Refused(
        403,
        "permissions_denied",
        "insufficient permissions",
        details=[{"action": "write", "resource": "compute"}],
    )
    cloud.fail_on("POST", "/security_groups$", Fault(denied))
    with pytest.raises(NvoiError) as raised:
        deploy(cloud, read(ONE))
    assert raised.value.message.startswith(
        "Scaleway cannot make the security group nvoi-shop-firewall in fr-par-1: the API key may "
        "not write compute"
    )
    assert "InstancesFullAccess, BlockStorageFullAccess" in raised.value.hint
    assert (
        "the next run goes on from: the VPC nvoi-shop-network in fr-par, the private"
        in raised.value.hint
    )
    deploy(cloud, read(ONE))
    assert cloud.list_names(VPCS) == cloud.list_names(NETWORKS) == ["nvoi-shop-network"]


# What is sold


@pytest.mark.parametrize(
    ("servers", "path", "told"),
    [
        (
            "servers: {main: {type: DEV9-S}}",
            "application.servers.main.type",
            "there is no server type DEV9-S; fr-par-1 has these of x86: DEV1-S, PLAY2",
        ),
        (
            "servers: {main: {type: BASIC2-A2C-4G}}",
            "application.servers.main.type",
            "BASIC2-A2C-4G is arm64, and `architecture` says another; fr-par-1 has these of x86: ",
        ),
        (
            "servers: {main: {type: VC1S}}",
            "application.servers.main.type",
            "VC1S is no longer sold in fr-par-1; fr-par-1 has these of x86: DEV1-S",
        ),
    ],
)
def test_a_type_that_cannot_be_had_is_told_with_those_that_can(
    cloud: Cloud, servers: str, path: str, told: str
) -> None:
    place, message = find_fault(cloud, read(servers))
    assert place == path
    assert message.startswith(told)


def test_a_type_that_is_out_of_stock_is_told_with_the_nearest_and_its_price(cloud: Cloud) -> None:
    cloud.shortages = {("fr-par-1", "DEV1-S")}
    path, message = find_fault(cloud, read(ONE))
    assert path == f"{ACCOUNT}.server_type"
    assert message == (
        "DEV1-S is out of stock in fr-par-1; there is DEV1-M in fr-par-1 for EUR 14.74 a month"
    )
    cloud.shortages = {("fr-par-1", name) for name in cloud.types}
    _, message = find_fault(cloud, read(ONE))
    assert message.endswith("there is nothing like it; try another place")
    # Elsewhere there are some.
    deploy(cloud, read("servers: {main: {location: fr-par-2}}"))
    assert cloud.get(SERVERS, "shop-main-1")["zone"] == "fr-par-2"


def test_the_last_one_that_another_has_bought_meanwhile_is_told_the_same_way(cloud: Cloud) -> None:
    gone = Refused(403, "out_of_stock", "out of stock", resource="instance_DEV1-S")
    cloud.fail_on("POST", "/servers$", Fault(gone))
    with pytest.raises(NvoiError) as raised:
        deploy(cloud, read(ONE))
    assert raised.value.message.startswith("DEV1-S is out of stock in fr-par-1; there is DEV1-M")
    assert "goes on from: the VPC" in raised.value.hint
    deploy(cloud, read(ONE))
    assert len(cloud.things[ADDRESSES]) == len(cloud.things[SERVERS]) == 1


@pytest.mark.parametrize("kind", [SERVERS, ADDRESSES, VOLUMES])
def test_a_quota_that_is_reached_is_told_with_what_was_made(cloud: Cloud, kind: str) -> None:
    cloud.limits = {kind: 1}
    application = read("servers: {main: {master: true, volumes: {data: {}}}, work: {}}")
    with pytest.raises(NvoiError) as raised:
        deploy(cloud, application)
    assert f"the quota is reached: {kind} (1 of 1)" in raised.value.message
    assert "Organization > Quotas" in raised.value.hint
    assert "made so far, " in raised.value.hint
    cloud.limits = {}
    deploy(cloud, application)
    assert cloud.list_names(SERVERS) == ["shop-main-1", "shop-work-1"]
    assert len(cloud.things[VOLUMES]) == 3


# What is there


def test_two_that_have_one_name_are_told(cloud: Cloud) -> None:
    """Scaleway lets them; which of them has the data, nvoi does not guess."""
    for _ in range(2):
        add(cloud, SERVERS, "shop-main-1")
    with pytest.raises(NvoiError, match="have one name") as raised:
        deploy(cloud, read(ONE))
    for number in cloud.things[SERVERS]:
        assert f"the server shop-main-1 in fr-par-1 ({number})" in raised.value.message


def test_a_network_with_other_addresses_is_told_before_anything_is_made(cloud: Cloud) -> None:
    add(cloud, NETWORKS, "nvoi-shop-network", subnets=[{"subnet": "192.168.0.0/24"}])
    before = cloud.show_all()
    with pytest.raises(NvoiError, match=r"has 192\.168\.0\.0/24, and not 10\.0\.1\.0/24"):
        deploy(cloud, read(ONE))
    assert cloud.show_all() == before


def test_a_subnet_that_overlaps_another_of_the_vpc_is_told(cloud: Cloud) -> None:
    vpc = add(cloud, VPCS, "nvoi-shop-network")
    add(cloud, NETWORKS, "mine", vpc_id=vpc["id"], subnets=[{"subnet": "10.0.0.0/22"}])
    with pytest.raises(NvoiError, match="subnets: overlaps with a subnet of the VPC"):
        deploy(cloud, read(ONE))


def test_a_volume_in_another_zone_than_its_server_is_a_fault(cloud: Cloud) -> None:
    deploy(cloud, read("servers: {main: {volumes: {data: {}}}}"))
    application = read("servers: {main: {volumes: {data: {}}}}")
    rent(cloud, application).delete_servers(with_volumes=False)
    moved = read("servers: {main: {location: fr-par-2, volumes: {data: {}}}}")
    path, message = find_fault(cloud, moved)
    assert path == "application.servers.main.volumes.data"
    assert "is in fr-par-1, and its server in fr-par-2; both must be in one zone" in message


def test_a_volume_that_another_server_has_is_told(cloud: Cloud) -> None:
    reference = {"product_resource_type": "instance_server", "product_resource_id": "of-mine"}
    add(cloud, VOLUMES, "shop-main-data", references=[reference], status="in_use")
    with pytest.raises(NvoiError, match="is attached to another server than shop-main-1: of-mine"):
        deploy(cloud, read("servers: {main: {volumes: {data: {}}}}"))


# What goes on in the background


def test_what_takes_too_long_is_told_with_its_last_state(cloud: Cloud) -> None:
    cloud.polls = 30
    application = read("servers: {main: {volumes: {data: {}}}}")
    with pytest.raises(NvoiError, match=r"not ready after 0 s: shop-main-data is creating"):
        rent(cloud, application, HASTE).ensure_servers()
    deploy(cloud, application)
    assert cloud.list_names(VOLUMES) == ["shop-main-1-root", "shop-main-data"]


def test_a_server_that_scaleway_has_locked_is_told(cloud: Cloud) -> None:
    deploy(cloud, read(ONE))
    cloud.get(SERVERS, "shop-main-1")["state"] = "locked"
    told = "Scaleway has locked the server shop-main-1 in fr-par-1"
    with pytest.raises(NvoiError, match=told):
        deploy(cloud, read(ONE))
    # Nothing that would never come is waited for.
    with pytest.raises(NvoiError, match=f"left at Scaleway: .*: {told}"):
        rent(cloud, read(ONE)).delete_servers(with_volumes=True)


def test_a_delete_takes_all_of_other_servers_where_one_is_locked(cloud: Cloud) -> None:
    deploy(cloud, read())
    cloud.get(SERVERS, "shop-main-1")["state"] = "locked"
    # Disks are in use for a while after their servers have gone.
    cloud.polls = 3
    with pytest.raises(NvoiError) as raised:
        rent(cloud, read()).delete_servers(with_volumes=True)
    assert cloud.list_names(VOLUMES) == ["shop-main-1-root", "shop-main-data"]
    assert "the volume shop-main-data in fr-par-1: its server stays" in raised.value.message
    assert "shop-work" not in raised.value.message


def test_a_volume_that_scaleway_failed_to_make_is_told(cloud: Cloud) -> None:
    application = read("servers: {main: {volumes: {data: {}}}}")
    deploy(cloud, application)
    cloud.get(VOLUMES, "shop-main-data")["status"] = "error"
    with pytest.raises(NvoiError, match="failed to make the volume shop-main-data in fr-par-1"):
        deploy(cloud, application)


# An API that does not answer


def test_a_delete_ends_where_the_api_has_gone(cloud: Cloud) -> None:
    application = read(ONE)
    deploy(cloud, application)
    provider = rent(cloud, application, HASTE)
    cloud.fail_on("GET", "/ips$", Fault(), times=2)
    cloud.fail_on("GET", "/volumes$", Fault(), times=1000)
    with pytest.raises(RequestError, match="does not answer, and cannot list volumes in fr-par-"):
        provider.delete_servers(with_volumes=True)
    cloud.heal()
    rent(cloud, application).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())


def test_delete_asks_again_where_the_api_fails_for_a_moment(cloud: Cloud) -> None:
    application = read(ONE)
    deploy(cloud, application)
    for method, path in (("POST", "/action$"), ("DELETE", "/volumes/"), ("DELETE", "/vpcs/")):
        cloud.fail_on(method, path, Fault(Refused(500, "internal", "")))
    rent(cloud, application, PACE).delete_servers(with_volumes=True)
    assert not any(cloud.show_all().values())
    assert not cloud.has_faults


@pytest.mark.parametrize(
    "document",
    [{"type": []}, {"type": "invalid_arguments", "details": ["x"]}, {"details": "x"}, ["x"]],
)
def test_a_refusal_of_another_form_is_told_all_the_same(document: Any) -> None:
    error = RequestError("HTTP 400: no", status=400, document=document)
    told = explain(error, "list servers", "url").message
    assert told == "Scaleway cannot list servers: HTTP 400: no"


# Quotas


@pytest.mark.parametrize("limit", [0, 2])
def test_a_quota_that_is_too_small_is_told_before_anything_is_made(
    cloud: Cloud, limit: int
) -> None:
    """It is the organization's, of a type in a zone; whosever a server there is, it counts."""
    add(cloud, SERVERS, "other")
    before = cloud.show_all()
    cloud.quotas = {("DEV1-S", "fr-par-1"): limit, ("DEV1-M", "fr-par-1"): 1}
    application = read("servers: {main: {master: true, count: 2}, work: {type: DEV1-M}}")
    path, message = find_fault(cloud, application)
    assert path == f"{ACCOUNT}.server_type"
    assert message.startswith(
        f"the quota cp_servers_type_DEV1_S allows {limit} servers in fr-par-1; the project has 1, "
        "and the config asks for 2 more: name another type or zone, delete what is not needed"
    )
    assert "https://console.scaleway.com/organization/quotas" in message
    with pytest.raises(ConfigError, match="cp_servers_type_DEV1_S"):
        rent(cloud, application).describe()
    assert cloud.show_all() == before
    # What is there already needs no more of it.
    cloud.quotas = {("DEV1-S", "fr-par-1"): 3}
    deploy(cloud, application)
    cloud.quotas = {("DEV1-S", "fr-par-1"): 0}
    with cloud.record() as calls:
        deploy(cloud, application)
    assert len(calls) == 6


@pytest.mark.parametrize(
    ("right", "told"),
    [("ProjectReadOnly", "read account_project"), ("OrganizationReadOnly", "read quota"), ("", "")],
)
def test_quotas_that_nobody_tells_hold_up_no_deploy(
    cloud: Cloud, caplog: pytest.LogCaptureFixture, right: str, told: str
) -> None:
    if right:
        cloud.rights.discard(right)
    else:
        cloud.fail_on("GET", "/iam/", Fault(), times=2)
    application = read(ONE)
    lines = [one for one in rent(cloud, application).describe() if "quota" in one]
    with caplog.at_level("INFO"):
        deploy(cloud, application)
    (line,) = [one.getMessage() for one in caplog.records if "quota" in one.getMessage()]
    assert lines == [line]
    assert line.startswith("quotas are not checked: Scaleway")
    assert told in line
    assert ("ProjectReadOnly and OrganizationReadOnly are needed" in line) == bool(right)
    # The API's own refusal tells then.
    cloud.quotas = {("DEV1-S", "fr-par-1"): 1}
    cloud.rights.discard("OrganizationReadOnly")
    with pytest.raises(NvoiError, match=r"the quota is reached: cp_servers_type_DEV1_S \(1 of 1\)"):
        deploy(cloud, read("servers: {main: {count: 2}}"))


def test_a_limit_of_a_region_counts_the_servers_of_all_its_zones(cloud: Cloud) -> None:
    application = read("servers: {main: {master: true}, work: {location: fr-par-2}}")
    cloud.quotas = {("DEV1-S", "fr-par"): 1}
    _, message = find_fault(cloud, application)
    assert "allows 1 server in fr-par; the project has 0, and the config asks for 2 more" in message


@pytest.mark.parametrize(
    ("quota", "limits"),
    [
        (
            {"limits": [{"zone": "fr-par-2", "limit": 1}, {"region": "fr-par", "limit": 2}]},
            [("fr-par-2", 1), ("fr-par", 2)],
        ),
        ({"limits": [{"region": "fr-par", "limit": 3}], "limit": 9}, [("fr-par", 3)]),
        ({"limits": [{"global": True, "limit": 4}]}, [("", 4)]),
        ({"limits": [{"zone": "fr-par-1", "unlimited": True}], "limit": 9}, []),
        ({"limits": [], "limit": 5}, [("", 5)]),
        ({}, []),
        ({"limits": "x"}, []),
        ({"limits": ["x", None]}, []),
    ],
)
def test_limits_are_read_of_what_the_api_tells(quota: Any, limits: list[tuple[str, int]]) -> None:
    assert [*list_limits(quota)] == limits
