"""AWS in the kill table: two groups, a volume, and things of others in the account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nvoi.config.schema import Application
from nvoi.providers.aws import AWS
from tests.fakes.clouds.aws_proxy import StrictAWS
from tests.fakes.clouds.moto import X86, get_moto
from tests.integration.clouds.aws_account import PACE as SOON
from tests.integration.clouds.aws_account import (
    build_app,
    build_aws,
    build_client,
    list_items,
    list_rules,
    read_name,
    read_tags,
)
from tests.integration.clouds.case import build_case, list_ports, list_sizes, name_servers

#: Seconds: what takes long does so on purpose.
PACE = replace(SOON, answer=4.0, patience=30.0, longest_pause=0.1, settle=0.3, longest_poll=0.1)
SERVERS = "servers: {main: {master: true, volumes: {data: {size: 20}}}, work: {}}"
NETWORK = {
    "vpc": ["nvoi-shop-network"],
    "subnet": ["nvoi-shop-network-subnet"],
    "internet-gateway": ["nvoi-shop-network-igw"],
    "route-table": ["nvoi-shop-network-rtb"],
    "security-group": ["nvoi-shop-firewall"],
}
#: How many servers of others there are, each with a disk; more than two pages have.
OTHERS = 5
PAGE = 3


def start() -> StrictAWS:
    """An account with more of each kind than an answer has."""
    cloud = StrictAWS(get_moto())
    cloud.page = PAGE
    account = build_client(cloud.moto)
    account.run_instances(ImageId=X86, InstanceType="t3.micro", MinCount=OTHERS, MaxCount=OTHERS)
    for number in range(2):
        vpc = account.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        account.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
        account.create_internet_gateway()
        account.create_security_group(GroupName=f"other-{number}", Description="x", VpcId=vpc)
        account.create_volume(AvailabilityZone="eu-central-1a", Size=1)
    return cloud


def is_apps(item: Any) -> bool:
    return read_tags(item).get("app") == "shop" or "shop" in read_name(item)


def list_left(cloud: StrictAWS) -> list[str]:
    items = list_items(build_client(cloud.moto))
    return [
        f"{kind} {read_name(one)}" for kind, found in items.items() for one in found if is_apps(one)
    ]


def show_others(cloud: StrictAWS) -> object:
    items = list_items(build_client(cloud.moto))
    return {kind: [one for one in found if not is_apps(one)] for kind, found in items.items()}


def check_whole(cloud: StrictAWS, application: Application) -> None:
    account = build_client(cloud.moto)
    wanted, volumes = name_servers(application), list_sizes(application)
    items = list_items(account)
    found = {kind: sorted(filter(None, map(read_name, ones))) for kind, ones in items.items()}
    machines = {"instance": wanted, "volume": sorted([*wanted, *volumes])}
    assert found == machines | NETWORK, found
    assert cloud.untagged == []
    public = {("tcp", port, "0.0.0.0/0") for port in list_ports(application)}
    assert list_rules(account) == {*public, ("-1", None, "10.0.0.0/16")}
    servers = {read_name(one): one for one in items["instance"]}
    disks = {read_name(one): one for one in items["volume"]}
    for name, (holder, size) in volumes.items():
        attachments = disks[name]["Attachments"]
        assert [one["InstanceId"] for one in attachments] == [servers[holder]["InstanceId"]]
        assert disks[name]["Size"] == size
    for name in wanted:
        tags = read_tags(servers[name])
        assert servers[name]["State"]["Name"] == "running"
        assert {"host-key", "group", "app"} <= tags.keys(), tags
        assert "host-key-first" not in tags


def open_aws(cloud: StrictAWS, application: Application) -> AWS:
    return build_aws(cloud, application, PACE)


CASE = build_case(
    "AWS",
    build_app(SERVERS),
    start=start,
    open_provider=open_aws,
    check_whole=check_whole,
    list_left=list_left,
    show_others=show_others,
)
