"""Servers at AWS: made, found again, changed and deleted, against moto behind a strict proxy."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from nvoi.errors import ConfigError, NvoiError
from nvoi.providers.aws.resources import KINDS, build_pairs
from nvoi.providers.cloud_init import generate_host_key
from tests.fakes.clouds.aws_proxy import StrictAWS
from tests.fakes.clouds.moto import ARM64, X86
from tests.fakes.clouds.server import Fault
from tests.integration.pages import ROOT, find_blocks
from tests.integration.providers.aws_account import (
    ONE_SERVER,
    OTHER_REGION,
    PACE,
    SERVERS,
    WHOLE,
    WHOLE_OF_ONE,
    build_app,
    build_aws,
    build_client,
    get_group,
    get_instance,
    list_all,
    list_items,
    list_rules,
    read_tags,
)
from tests.unit.config.texts import keys

OWN = {"managed-by": "nvoi", "app": "shop", "environment": "production"}


def test_what_is_made_is_as_the_documentation_says(aws_cloud: StrictAWS, aws_account: Any) -> None:
    [main] = build_aws(aws_cloud, build_app(ONE_SERVER)).ensure_servers()
    [vpc] = [one for one in aws_account.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
    inside = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    [subnet] = aws_account.describe_subnets(Filters=inside)["Subnets"]
    [gateway] = aws_account.describe_internet_gateways()["InternetGateways"]
    assert (vpc["CidrBlock"], subnet["CidrBlock"]) == ("10.0.0.0/16", "10.0.1.0/24")
    assert [one["VpcId"] for one in gateway["Attachments"]] == [vpc["VpcId"]]
    [table] = aws_account.describe_route_tables(
        Filters=[{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
    )["RouteTables"]
    ways = {one.get("DestinationCidrBlock"): one.get("GatewayId") for one in table["Routes"]}
    assert ways == {"10.0.0.0/16": "local", "0.0.0.0/0": gateway["InternetGatewayId"]}
    assert list_rules(aws_account) == {("tcp", 22, "0.0.0.0/0"), ("-1", None, "10.0.0.0/16")}
    instance = get_instance(aws_account, "shop-main-1")
    assert instance["ImageId"] == X86
    assert instance["SubnetId"] == subnet["SubnetId"]
    options = instance["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    assert instance["PublicIpAddress"] == main.host.address
    [volume] = [
        one
        for one in aws_account.describe_volumes()["Volumes"]
        if read_tags(one)["Name"] == "shop-main-data"
    ]
    assert (volume["VolumeType"], volume["Size"]) == ("gp3", 10)
    assert volume["AvailabilityZone"] == subnet["AvailabilityZone"]
    serial = volume["VolumeId"].replace("-", "")
    [disk] = main.disks
    assert disk.device == f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}"
    assert disk.folder == "/opt/nvoi/volumes/shop-main-data"
    for one in (vpc, subnet, gateway, table, instance, volume):
        assert OWN.items() <= read_tags(one).items()
    server = instance["InstanceId"]
    found = aws_account.describe_instance_attribute(InstanceId=server, Attribute="userData")
    text = base64.b64decode(found["UserData"]["Value"]).decode()
    document = json.loads(text.removeprefix("#cloud-config\n"))
    [key] = document["users"][0]["ssh_authorized_keys"]
    assert keys()["PUBLIC_KEY"].startswith(key)
    assert document["ssh_keys"]["ed25519_public"] == main.host.host_keys[0]
    assert document["package_upgrade"] is False


def test_what_others_have_changed_is_put_right(
    aws_cloud: StrictAWS, aws_account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = build_app("servers: {main: {}}")
    aws = build_aws(aws_cloud, app)
    aws.ensure_servers()
    group = get_group(aws_account)
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432}
    other = {**rule, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    aws_account.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[other, {**rule, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}],
    )
    aws_account.revoke_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[{**ssh, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    instance = get_instance(aws_account, "shop-main-1")
    made = aws_account.create_security_group(
        GroupName="open", Description="all", VpcId=instance["VpcId"]
    )
    server = instance["InstanceId"]
    aws_account.modify_instance_attribute(InstanceId=server, Groups=[made["GroupId"]])
    aws_account.modify_instance_metadata_options(InstanceId=server, HttpTokens="optional")
    aws = build_aws(aws_cloud, app)
    assert [line for line in aws.describe() if "firewall" in line] == [
        "lets in tcp 22 from 0.0.0.0/0 by firewall nvoi-shop-firewall",
        "ends that firewall nvoi-shop-firewall lets in tcp 5432 from 0.0.0.0/0",
        "ends that firewall nvoi-shop-firewall lets in tcp 5432 from ::/0",
    ]
    aws.ensure_servers()
    assert list_rules(aws_account) == {("tcp", 22, "0.0.0.0/0"), ("-1", None, "10.0.0.0/16")}
    instance = get_instance(aws_account, "shop-main-1")
    [interface] = instance["NetworkInterfaces"]
    assert [one["GroupId"] for one in interface["Groups"]] == [group["GroupId"]]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert "lets in tcp 5432 from 0.0.0.0/0, and should not" in caplog.text


def test_an_arm_server_starts_from_an_image_for_arm_and_again_where_it_was_stopped(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    aws_cloud.polls = 2
    app = build_app("servers: {main: {}}", instance_type="t4g.small", architecture="arm64")
    build_aws(aws_cloud, app).ensure_servers()
    assert get_instance(aws_account, "shop-main-1")["ImageId"] == ARM64
    server = get_instance(aws_account, "shop-main-1")["InstanceId"]
    aws_account.stop_instances(InstanceIds=[server])
    build_aws(aws_cloud, app).ensure_servers()
    assert get_instance(aws_account, "shop-main-1")["State"]["Name"] == "running"


def test_a_volume_that_was_kept_comes_to_the_next_servers_which_are_in_its_zone(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    aws_cloud.polls = 2
    app = build_app(ONE_SERVER.replace("main: {", "main: {location: eu-central-1b, "))
    aws = build_aws(aws_cloud, app)
    aws.ensure_servers()
    aws.delete_servers(with_volumes=False)
    [kept] = aws_account.describe_volumes()["Volumes"]
    # Another zone is told before anything is made; a deletion finds it all the same.
    moved = build_app(ONE_SERVER.replace("main: {", "main: {location: eu-central-1a, "))
    aws = build_aws(aws_cloud, moved)
    with pytest.raises(ConfigError) as raised:
        aws.ensure_servers()
    [fault] = raised.value.faults
    assert fault.path == "application.servers.main.location"
    assert fault.message.startswith("must be eu-central-1b: volume shop-main-data (")
    assert aws.delete_servers(with_volumes=False) == ["shop-main-data"]
    assert list_all(aws_account) == {"volume": ["shop-main-data"]}
    # The zone follows from the volume, where the config does not say it.
    [main] = build_aws(aws_cloud, build_app(ONE_SERVER)).ensure_servers()
    assert main.disks[0].device.endswith(kept["VolumeId"].replace("-", ""))
    placement = get_instance(aws_account, "shop-main-1")["Placement"]
    assert placement["AvailabilityZone"] == "eu-central-1b"
    assert aws.delete_servers(with_volumes=True) == []
    assert list_all(aws_account) == {}


def test_a_volume_that_was_kept_in_another_region_is_told(
    aws_cloud: StrictAWS, aws_account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    aws_cloud.regions.add(OTHER_REGION)
    before, moved = build_app(ONE_SERVER), build_app(ONE_SERVER, region=OTHER_REGION)
    aws = build_aws(aws_cloud, before)
    aws.ensure_servers()
    told = "in eu-central-1 already, and the config says eu-west-1"
    with pytest.raises(NvoiError, match=told):
        build_aws(aws_cloud, moved).ensure_servers()
    aws.delete_servers(with_volumes=False)
    # Volumes alone say it too: the app would begin with an empty one elsewhere.
    with pytest.raises(NvoiError, match=f"{told}: volume shop-main-data"):
        build_aws(aws_cloud, moved).ensure_servers()
    with pytest.raises(NvoiError, match=r"left at AWS: volume shop-main-data .* in eu-central-1"):
        build_aws(aws_cloud, moved).delete_servers(with_volumes=True)
    [line] = build_aws(aws_cloud, moved).describe_deletion(with_volumes=True)
    assert line.startswith("leaves volume shop-main-data (")
    assert list_all(aws_account) == {"volume": ["shop-main-data"]}
    assert list_all(build_client(aws_cloud.moto, OTHER_REGION)) == {}
    aws_cloud.disabled = {OTHER_REGION}
    assert aws.delete_servers(with_volumes=True) == []
    assert "is not known" not in caplog.text


def test_a_region_that_cannot_be_asked_is_told_and_no_hindrance(
    aws_cloud: StrictAWS, aws_account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    aws_cloud.regions.add(OTHER_REGION)
    aws_cloud.closed = {OTHER_REGION}
    app = build_app("servers: {main: {}}")
    aws = build_aws(aws_cloud, app)
    aws.ensure_servers()
    told = "Whether the app is in {} is not known: the credentials may not do ec2:Describe"
    assert told.format(OTHER_REGION) + "Vpcs" in caplog.text
    aws_cloud.forbidden = {"ec2:DescribeRegions"}
    assert aws.delete_servers(with_volumes=True) == []
    assert told.format("other regions") + "Regions" in caplog.text
    assert list_all(aws_account) == {}


def test_a_volume_that_is_on_a_server_of_others_is_not_taken(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    app = build_app(SERVERS.replace("count: 2", ""))
    aws = build_aws(aws_cloud, app)
    aws.ensure_servers()
    [volume] = [
        one
        for one in aws_account.describe_volumes()["Volumes"]
        if read_tags(one)["Name"] == "shop-main-data"
    ]
    [attachment] = volume["Attachments"]
    where = {key: attachment[key] for key in ("VolumeId", "InstanceId", "Device")}
    aws_account.detach_volume(**where)
    other = get_instance(aws_account, "shop-work-1")["InstanceId"]
    aws_account.attach_volume(VolumeId=volume["VolumeId"], InstanceId=other, Device="/dev/sdz")
    with pytest.raises(NvoiError, match=r"shop-main-data .* is attached to server shop-work-1"):
        build_aws(aws_cloud, app).ensure_servers()


CREATED = [
    "CreateVpc",
    "CreateSubnet",
    "CreateInternetGateway",
    "AttachInternetGateway",
    "CreateRouteTable",
    "CreateRoute",
    "AssociateRouteTable",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "RunInstances",
    "CreateVolume",
    "AttachVolume",
]


def test_a_request_whose_answer_was_lost_makes_nothing_twice(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    aws_cloud.lag = 1
    for action in CREATED:
        aws_cloud.fail_on("POST", f"/ec2/{action}$", Fault(acts=True))
    # Time for more than one look at what was made.
    build_aws(aws_cloud, build_app(ONE_SERVER), replace(PACE, settle=30.0)).ensure_servers()
    assert not aws_cloud.has_faults
    assert list_all(aws_account) == WHOLE_OF_ONE


@pytest.mark.parametrize("kind", ["vpc", "internet-gateway"])
def test_two_runs_at_once_make_nothing_twice(
    aws_cloud: StrictAWS, aws_account: Any, kind: str
) -> None:
    app = build_app("servers: {main: {}}")
    # What another run has just made is not seen at the first look.
    aws_cloud.lag = 1
    make_as_another_run(build_client(aws_cloud.url), kind)
    with pytest.raises(NvoiError, match=r"another run makes .* at the same time") as raised:
        build_aws(aws_cloud, app).ensure_servers()
    assert "deploy again once it has ended" in str(raised.value)
    assert list_all(aws_account)[kind] == WHOLE[kind]
    build_aws(aws_cloud, app).ensure_servers()
    assert list_all(aws_account) == {**WHOLE_OF_ONE, "volume": ["shop-main-1"]}


def test_two_networks_of_the_app_are_told(aws_cloud: StrictAWS, aws_account: Any) -> None:
    app = build_app("servers: {main: {}}")
    aws = build_aws(aws_cloud, app)
    aws.ensure_servers()
    make_as_another_run(aws_account, "vpc")
    with pytest.raises(
        NvoiError,
        match=r"VPC nvoi-shop-network \(.*\) and VPC nvoi-shop-network \(.*\) have one name",
    ):
        build_aws(aws_cloud, app).ensure_servers()
    aws.delete_servers(with_volumes=True)
    assert list_all(aws_account) == {}


@pytest.mark.parametrize("tags", [OWN, {}], ids=["own", "nobody's"])
def test_two_volumes_of_one_name_are_told(
    aws_cloud: StrictAWS, aws_account: Any, tags: dict[str, str]
) -> None:
    """Which of them has the data, nvoi does not guess."""
    for _ in range(2):
        add_volume(aws_account, "shop-main-data", tags)
    aws = build_aws(aws_cloud, build_app(ONE_SERVER))
    with pytest.raises(
        NvoiError, match=r"and volume shop-main-data \(.*\) have one name"
    ) as raised:
        aws.ensure_servers()
    assert "keep the one with your servers or data" in raised.value.hint
    assert list_all(aws_account) == {"volume": ["shop-main-data"] * 2}
    if tags:
        aws.delete_servers(with_volumes=True)
        assert list_all(aws_account) == {}


def make_as_another_run(client: Any, kind: str) -> None:
    tags = {"Name": WHOLE[kind][0], **OWN}
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    specification = {"TagSpecifications": [{"ResourceType": kind, "Tags": pairs}]}
    if kind == "vpc":
        client.create_vpc(CidrBlock="10.0.0.0/16", **specification)
    else:
        client.create_internet_gateway(**specification)


def test_a_server_that_has_ended_is_made_again_though_its_token_is_known(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    app = build_app("servers: {main: {}}")
    aws = build_aws(aws_cloud, app)
    before = aws.ensure_servers()
    server = get_instance(aws_account, "shop-main-1")["InstanceId"]
    for _ in range(2):
        aws_account.terminate_instances(
            InstanceIds=[get_instance(aws_account, "shop-main-1")["InstanceId"]]
        )
        [after] = build_aws(aws_cloud, app).ensure_servers()
    assert after.host.host_keys != before[0].host.host_keys
    assert get_instance(aws_account, "shop-main-1")["InstanceId"] != server
    assert "IdempotentParameterMismatch" in aws_cloud.refused


def test_what_has_lost_its_tags_is_taken_over_and_nothing_is_made_beside_it(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    app = build_app(ONE_SERVER)
    build_aws(aws_cloud, app).ensure_servers()
    before = list_items(aws_account)
    vpc, volume = before["vpc"][0]["VpcId"], find_volume(before)["VolumeId"]
    tags = [{"Key": key} for key in OWN]
    aws_account.delete_tags(Resources=[volume], Tags=[{"Key": "group"}])
    aws_account.delete_tags(Resources=[vpc], Tags=tags)
    aws = build_aws(aws_cloud, app)
    told = f"VPC nvoi-shop-network ({vpc})"
    assert aws.list_unlabelled() == [told]
    assert aws.describe()[:-1] == [f"takes over {told}, and labels it"]
    [server] = aws.ensure_servers()
    assert [disk.name for disk in server.disks] == ["shop-main-data"]
    assert not aws.list_unlabelled()
    after = list_items(aws_account)
    assert list_all(aws_account) == WHOLE_OF_ONE
    assert OWN.items() <= read_tags(after["vpc"][0]).items()
    assert read_tags(find_volume(after)) == read_tags(find_volume(before))
    aws_account.delete_tags(Resources=[vpc], Tags=tags)
    with pytest.raises(NvoiError, match=r"VPC nvoi-shop-network.*: no tag says whose they are"):
        build_aws(aws_cloud, app).delete_servers(with_volumes=True)
    assert list_all(aws_account) == {"vpc": ["nvoi-shop-network"]}


@pytest.mark.parametrize("with_volumes", [False, True])
def test_a_delete_waits_for_nothing_that_was_not_asked_to_go(
    aws_cloud: StrictAWS, aws_account: Any, *, with_volumes: bool
) -> None:
    """Neither for a volume without the tag of its group, nor for a disk left by its server."""
    app = build_app(ONE_SERVER)
    build_aws(aws_cloud, app).ensure_servers()
    volume = find_volume(list_items(aws_account))["VolumeId"]
    aws_account.delete_tags(Resources=[volume], Tags=[{"Key": "group"}])
    server = get_instance(aws_account, "shop-main-1")
    disk = {"DeviceName": server["RootDeviceName"], "Ebs": {"DeleteOnTermination": False}}
    aws_account.modify_instance_attribute(
        InstanceId=server["InstanceId"], BlockDeviceMappings=[disk]
    )
    kept = [] if with_volumes else ["shop-main-data"]
    told = build_aws(aws_cloud, app).describe_deletion(with_volumes=with_volumes)
    assert any("volume shop-main-data" in line for line in told)
    assert build_aws(aws_cloud, app).delete_servers(with_volumes=with_volumes) == kept
    assert list_all(aws_account) == ({"volume": kept} if kept else {})


def find_volume(items: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(one for one in items["volume"] if is_named(one, "shop-main-data"))


def test_where_many_have_a_name_what_is_free_is_taken_over_and_what_is_anothers_is_told_first(
    aws_cloud: StrictAWS, aws_account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    add_volume(aws_account, "shop-main-data", {"managed-by": "terraform"})
    add_volume(aws_account, "shop-main-data", {})
    build_aws(aws_cloud, build_app(ONE_SERVER)).ensure_servers()
    named = [one for one in list_items(aws_account)["volume"] if is_named(one, "shop-main-data")]
    assert [read_tags(one)["managed-by"] for one in named] == ["terraform", "nvoi"]
    add_volume(aws_account, "shop-main-more", {"managed-by": "me"})
    aws_cloud.forbidden.add("ec2:TerminateInstances")
    more = build_app(ONE_SERVER.replace("{data", "{more: {}, data"))
    # Also where the delete fails.
    with pytest.raises(NvoiError, match="TerminateInstances"):
        build_aws(aws_cloud, more).delete_servers(with_volumes=True)
    assert "it bears the tag managed-by=me, and stays" in caplog.text


def add_volume(account: Any, name: str, tags: dict[str, str]) -> None:
    pairs = build_pairs({"Name": name, **tags})
    account.create_volume(
        AvailabilityZone="eu-central-1a",
        Size=10,
        TagSpecifications=[{"ResourceType": "volume", "Tags": pairs}],
    )


def is_named(item: dict[str, Any], name: str) -> bool:
    return read_tags(item).get("Name") == name


def test_a_deletion_goes_on_past_what_cannot_be_deleted_and_names_it(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    aws = build_aws(aws_cloud, build_app(ONE_SERVER))
    aws.ensure_servers()
    vpc = get_instance(aws_account, "shop-main-1")["VpcId"]
    aws_account.create_subnet(VpcId=vpc, CidrBlock="10.0.7.0/24")
    aws_cloud.forbidden.add("ec2:DeleteVolume")
    with pytest.raises(NvoiError) as raised:
        aws.delete_servers(with_volumes=True)
    assert "volume shop-main-data" in raised.value.message
    assert "the credentials may not do ec2:DeleteVolume" in raised.value.message
    assert f"VPC nvoi-shop-network ({vpc}): AWS: DeleteVpc: DependencyViolation" in str(
        raised.value
    )
    left = list_all(aws_account)
    assert left == {"volume": ["shop-main-data"], "vpc": ["nvoi-shop-network"], "subnet": [""]}


def test_a_dry_run_reads_the_account_and_says_what_it_costs(aws_cloud: StrictAWS) -> None:
    aws = build_aws(aws_cloud, build_app())
    lines = aws.describe()
    assert lines[0].startswith("makes VPC nvoi-shop-network (10.0.0.0/16) with a subnet")
    assert "makes server shop-main-1, a t3.small in eu-central-1a" in lines
    assert "makes volume shop-main-data, 10 GB in eu-central-1a" in lines
    # Three t3.small at 0.024 an hour with 30 GB and an address each, and 10 GB beside them.
    whole = 3 * (730 * (0.024 + 0.005) + 30 * 0.1) + 10 * 0.1
    assert lines[-1] == f"costs USD {whole:.2f} a month afterwards, USD 0.00 now"
    aws.describe_deletion(with_volumes=True)
    assert all(call.is_reading for call in aws_cloud.calls)
    aws.ensure_servers()
    assert aws.describe() == [
        "has all that the config names, as it is to be",
        f"costs USD {whole:.2f} a month, as now",
    ]
    told = aws.describe_deletion(with_volumes=False)
    assert [line for line in told if "volume" in line] == [
        "keeps volume shop-main-data; --delete-volumes deletes it"
    ]
    assert told[-1] == f"costs USD 1.00 a month afterwards, USD {whole:.2f} now"


def test_where_prices_cannot_be_read_the_pages_that_have_them_are_told(
    aws_cloud: StrictAWS,
) -> None:
    app = build_app()
    aws_cloud.forbidden.add("pricing:GetProducts")
    [*lines, costs] = build_aws(aws_cloud, app).describe()
    assert "makes volume shop-main-data, 10 GB in eu-central-1a" in lines
    assert costs.startswith("costs: the credentials may not do pricing:GetProducts (docs/")
    assert "https://aws.amazon.com/ec2/pricing/on-demand/" in costs
    aws_cloud.forbidden.clear()
    aws_cloud.products = [one for one in aws_cloud.products if "t3.small" not in str(one)]
    costs = build_aws(aws_cloud, app).describe()[-1]
    assert costs.startswith("costs: AWS' price list lacks t3.small; https://aws.amazon.com/")


def test_the_policy_of_the_documentation_is_what_nvoi_needs_and_no_more(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    [block] = find_blocks("json", "docs/providers.md")
    statements = json.loads(block.text)["Statement"]
    actions = [action for one in statements for action in one["Action"]]
    aws_cloud.allowed = {*actions}
    aws = build_aws(aws_cloud, build_app(ONE_SERVER))
    [server, *_] = aws.ensure_servers()
    aws.keep_host_keys(server, [generate_host_key().public])
    aws.delete_servers(with_volumes=True)
    assert list_all(aws_account) == {}
    assert aws.describe()[-1].startswith("costs USD ")
    assert "UnauthorizedOperation" not in aws_cloud.refused
    assert "AccessDeniedException" not in aws_cloud.refused
    needed = {f"ec2:{one}" for one in find_operations(aws_account)}
    others = {"pricing:GetProducts", "servicequotas:GetServiceQuota"}
    assert sorted(actions) == sorted(needed | others)


def find_operations(account: Any) -> set[str]:
    """The operations that nvoi's modules name, and those of the kinds of things that it makes."""
    known: dict[str, str] = account.meta.method_to_api_mapping
    modules = (ROOT / "nvoi" / "providers" / "aws").glob("*.py")
    words = {word for file in modules for word in re.findall(r'"([a-z_]+)"', file.read_text())}
    names = [kind.replace("-", "_") for kind in KINDS if kind != "instance"]
    made = {f"{verb}_{name}" for verb in ("create", "delete") for name in names}
    read = {f"describe_{kind.replace('-', '_')}s" for kind in KINDS}
    return {known[word] for word in words | made | read if word in known}
