"""An account at AWS, as tests have it: a stand-in that is strict, and an app with servers there."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import boto3
import pytest

from nvoi.config.schema import Application
from nvoi.providers.aws import AWS
from nvoi.providers.aws.api import Pace
from nvoi.ssh.routes import Routes
from tests.fakes.clouds.aws_proxy import KEY, StrictAWS
from tests.fakes.clouds.moto import get_moto
from tests.unit.config.texts import parse

REGION = "eu-central-1"
OTHER_REGION = "eu-west-1"
#: An account that answers at once is not waited for.
PACE = Pace(
    connect=5.0,
    answer=60.0,
    patience=3.0,
    pause=0.01,
    longest_pause=0.05,
    settle=0.2,
    poll=0.01,
    longest_poll=0.05,
    deadline=60.0,
)
SERVERS = """\
servers:
  main: {master: true, volumes: {data: {size: 10}}}
  work: {count: 2}
"""

#: Where the number of servers does not matter.
ONE_SERVER = "servers: {main: {volumes: {data: {size: 10}}}}"

Ask = Callable[..., Any]


@pytest.fixture
def aws_cloud() -> Iterator[StrictAWS]:
    with StrictAWS(get_moto()) as cloud:
        # In others nvoi looks whether the app is there.
        cloud.regions = {REGION}
        yield cloud


@pytest.fixture
def aws_account() -> Any:
    """The account as its owner sees it, past all that the stand-in refuses: a client of EC2."""
    return build_client(get_moto())


@cache
def build_client(url: str, region: str = REGION) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=KEY,
        aws_secret_access_key="owner",
    )


def build_app(servers: str = SERVERS, **account: str) -> Application:
    """An app whose servers are at AWS."""
    values = {
        "access_key_id": KEY,
        "secret_access_key": "s3cr3t-s3cr3t",
        "region": REGION,
        "instance_type": "t3.small",
        "architecture": "x86",
        **account,
    }
    keys = ", ".join(f"{key}: {value}" for key, value in values.items())
    head = textwrap.dedent(f"""\
        name: shop
        compute_provider:
          aws: {{{keys}}}
        ssh_keys: {{private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}}
        app: {{web: {{servers: [main], command: bin/serve}}}}
    """)
    text = head + textwrap.dedent(servers)
    return parse("application:\n" + textwrap.indent(text, "  ")).application


def build_aws(cloud: StrictAWS, app: Application, pace: Pace = PACE) -> AWS:
    """A provider as a new run has it."""
    return AWS(app, Routes(), {"AWS_ENDPOINT_URL": cloud.url}, pace)


def list_all(account: Any) -> dict[str, list[str]]:
    """The names of all there is but what every account has, by kinds."""
    items = list_items(account)
    return {kind: sorted(map(read_name, found)) for kind, found in items.items() if found}


def list_items(account: Any) -> dict[str, list[dict[str, Any]]]:
    """All there is but what every account and every VPC has, by kinds."""
    instances = [
        one
        for reservation in account.describe_instances()["Reservations"]
        for one in reservation["Instances"]
        if one["State"]["Name"] != "terminated"
    ]
    vpcs = [one for one in account.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
    inside = [{"Name": "vpc-id", "Values": [one["VpcId"] for one in vpcs] or ["vpc-0"]}]
    tables = account.describe_route_tables(Filters=inside)["RouteTables"]
    groups = account.describe_security_groups()["SecurityGroups"]
    return {
        "instance": instances,
        "volume": account.describe_volumes()["Volumes"],
        "vpc": vpcs,
        "subnet": account.describe_subnets(Filters=inside)["Subnets"],
        "internet-gateway": account.describe_internet_gateways()["InternetGateways"],
        "route-table": [one for one in tables if not is_main(one)],
        "security-group": [one for one in groups if one["GroupName"] != "default"],
    }


def is_main(table: Mapping[str, Any]) -> bool:
    return any(one.get("Main") for one in table["Associations"])


def read_tags(item: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}


def read_name(item: Mapping[str, Any]) -> str:
    return read_tags(item).get("Name", "")


#: All that the app of `build_app` has; each server starts from a disk of its own.
WHOLE = {
    "instance": ["shop-main-1", "shop-work-1", "shop-work-2"],
    "volume": ["shop-main-1", "shop-main-data", "shop-work-1", "shop-work-2"],
    "vpc": ["nvoi-shop-network"],
    "subnet": ["nvoi-shop-network-subnet"],
    "internet-gateway": ["nvoi-shop-network-igw"],
    "route-table": ["nvoi-shop-network-rtb"],
    "security-group": ["nvoi-shop-firewall"],
}


#: The same of `ONE_SERVER`.
WHOLE_OF_ONE = {
    **WHOLE,
    "instance": ["shop-main-1"],
    "volume": ["shop-main-1", "shop-main-data"],
}


def name_it(kind: str, name: str) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}


def get_instance(aws_account: Any, name: str) -> dict[str, Any]:
    filters = [
        {"Name": "tag:Name", "Values": [name]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    [reservation] = aws_account.describe_instances(Filters=filters)["Reservations"]
    [instance] = reservation["Instances"]
    return dict(instance)


def get_group(aws_account: Any) -> dict[str, Any]:
    filters = [{"Name": "group-name", "Values": ["nvoi-shop-firewall"]}]
    [group] = aws_account.describe_security_groups(Filters=filters)["SecurityGroups"]
    return dict(group)


def list_rules(aws_account: Any) -> set[tuple[str, int | None, str]]:
    return {
        (one["IpProtocol"], one.get("FromPort"), source["CidrIp"])
        for one in get_group(aws_account)["IpPermissions"]
        for source in one["IpRanges"]
    }
