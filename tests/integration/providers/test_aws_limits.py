"""Bad input and limits at AWS: each is an error that names the thing and the remedy."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nvoi.config.schema import Application
from nvoi.errors import ConfigError, NvoiError
from nvoi.providers.aws.refusals import EC2Error
from tests.fakes.clouds.aws_proxy import KEY, StrictAWS
from tests.fakes.clouds.aws_quotas import DISKS, NETWORKS, STANDARD
from tests.fakes.clouds.moto import X86
from tests.fakes.clouds.server import FOREVER, Fault, Refused
from tests.integration.providers.aws_account import (
    ONE_SERVER,
    PACE,
    SERVERS,
    WHOLE_OF_ONE,
    build_app,
    build_aws,
    list_all,
    name_it,
)

ACCOUNT = "application.compute_provider.aws"


def refuse(cloud: StrictAWS, app: Application) -> str:
    """The one fault of a config that the account cannot have; nothing was made."""
    with pytest.raises(ConfigError) as raised:
        build_aws(cloud, app).ensure_servers()
    assert all(call.is_reading for call in cloud.calls)
    [fault] = raised.value.faults
    return f"{fault.path}: {fault.message}"


def test_credentials_that_aws_does_not_know(aws_cloud: StrictAWS) -> None:
    told = refuse(aws_cloud, build_app(access_key_id="AKIAUNKNOWN"))
    assert told.startswith(
        f"{ACCOUNT}.access_key_id: AWS does not take the credentials: AuthFailure"
    )


def test_a_region_that_is_not_enabled(aws_cloud: StrictAWS) -> None:
    aws_cloud.disabled = {"af-south-1"}
    told = refuse(aws_cloud, build_app(region="af-south-1"))
    assert f"{ACCOUNT}.region: af-south-1 is not enabled for the account; these are: " in told
    assert "eu-central-1" in told


def test_what_no_account_can_have_is_found_before_anybody_is_asked(aws_cloud: StrictAWS) -> None:
    app = build_app(region="eu-centrl-1")
    [fault] = build_aws(aws_cloud, app).find_faults()
    assert fault.path == f"{ACCOUNT}.region"
    assert "no region of AWS; did you mean eu-central-1?: " in fault.message
    assert "us-east-1" in fault.message
    app = build_app(
        "servers: {main: {master: true, location: fsn1}, work: {location: eu-central-1b}}"
    )
    faults = build_aws(aws_cloud, app).find_faults()
    assert [fault.path for fault in faults] == [
        "application.servers.main.location",
        "application.servers.work.location",
    ]
    assert "must be a zone of eu-central-1, such as eu-central-1a" in faults[0].message
    assert "the app's servers are in one zone, and these are fsn1 and" in faults[1].message
    assert aws_cloud.calls == []


@pytest.mark.parametrize(
    ("app", "told"),
    [
        (
            build_app(instance_type="t3.smal"),
            (
                f"{ACCOUNT}.instance_type: eu-central-1 has no type `t3.smal`",
                ": 2 cores, 2 GB, x86",
            ),
        ),
        (
            build_app("servers: {main: {type: t4g.small}}"),
            ("application.servers.main.type: t4g.small is arm64, and", "there are t"),
        ),
        (
            build_app(instance_type="t2.micro"),
            (f"{ACCOUNT}.instance_type: t2.micro has no NVMe", "t3.small"),
        ),
        (
            # An old type, which moto knows in two zones.
            build_app("servers: {main: {location: eu-central-1c, type: c3.2xlarge}}"),
            ("c3.2xlarge is sold in eu-central-1a and eu-central-1b, not in eu-central-1c", ""),
        ),
    ],
    ids=["unknown", "of another architecture", "without NVMe", "not in the zone"],
)
def test_a_type_that_cannot_be_had_is_told_with_those_that_can(
    aws_cloud: StrictAWS, app: Application, told: tuple[str, str]
) -> None:
    fault = refuse(aws_cloud, app)
    assert all(text in fault for text in told)


def test_a_type_that_is_sold_out_names_the_nearest(aws_cloud: StrictAWS, aws_account: Any) -> None:
    aws_cloud.sold_out = {"eu-central-1a": {"t3.small"}}
    app = build_app("servers: {main: {}}")
    with pytest.raises(NvoiError) as raised:
        build_aws(aws_cloud, app).ensure_servers()
    told = str(raised.value)
    assert "InsufficientInstanceCapacity" in told
    assert "t3.small may be had in eu-central-1b, eu-central-1c (location)" in told
    # 0.0216 an hour, with a disk and an address.
    assert "t3a.small: 2 cores, 2 GB, x86, USD 22.42 a month" in told
    assert "made so far, which the next run goes on from: VPC nvoi-shop-network" in told
    aws_cloud.sold_out.clear()
    build_aws(aws_cloud, app).ensure_servers()
    assert list_all(aws_account)["vpc"] == ["nvoi-shop-network"]


def test_quotas_that_are_too_small_are_told_before_anything_is_made(
    aws_cloud: StrictAWS, aws_account: Any
) -> None:
    start = {"ImageId": X86, "InstanceType": "t3.small", "MinCount": 2, "MaxCount": 2}
    others = [one["InstanceId"] for one in aws_account.run_instances(**start)["Instances"]]
    # A server that is stopped does not count.
    aws_account.stop_instances(InstanceIds=others[:1])
    aws_cloud.quotas = {STANDARD: 7, NETWORKS: 1, DISKS: 0.09}
    app = build_app()
    with pytest.raises(ConfigError) as raised:
        build_aws(aws_cloud, app).ensure_servers()
    assert raised.value.exit_code == 2
    console = "https://eu-central-1.console.aws.amazon.com/servicequotas/home/services"
    cores, networks, disks = (f"{fault.path}: {fault.message}" for fault in raised.value.faults)
    assert cores == (
        f"{ACCOUNT}.instance_type: the account's quota Running On-Demand Standard (A, C, D, H, I, "
        "M, R, T, Z) instances (L-1216C47A) is 7 vCPU in eu-central-1: 2 in use, and 6 more asked "
        "for; take a smaller type or another region, or request an increase at "
        f"{console}/ec2/quotas/L-1216C47A"
    )
    assert networks == (
        f"{ACCOUNT}.region: the account's quota VPCs per Region (L-F678F1CE) is 1 in eu-central-1: "
        "1 in use, and 1 more asked for; delete one that is not used or take another region, or "
        f"request an increase at {console}/vpc/quotas/L-F678F1CE"
    )
    assert "main.volumes: the account's quota Storage for General Purpose SSD (gp3)" in disks
    assert "is 0.09 TiB in eu-central-1: 0 in use, and 0.0977 more asked for; have" in disks
    assert disks.endswith(f"{console}/ebs/quotas/L-7A658B76")
    # A dry run fails likewise.
    with pytest.raises(ConfigError):
        build_aws(aws_cloud, app).describe()
    assert all(call.is_reading for call in aws_cloud.calls)
    aws_cloud.quotas = {STANDARD: 8, NETWORKS: 2, DISKS: 0.1}
    build_aws(aws_cloud, app).ensure_servers()
    # What is there already needs nothing, and is not asked for; what grows is.
    aws_cloud.quotas.clear()
    with aws_cloud.record() as calls:
        build_aws(aws_cloud, app).ensure_servers()
    assert [call for call in calls if "quotas" in call.path] == []
    with pytest.raises(ConfigError, match=r"0\.0098 more asked for"):
        build_aws(aws_cloud, build_app(SERVERS.replace("size: 10", "size: 20"))).ensure_servers()


@pytest.mark.parametrize("fault", [None, Fault(Refused(503, "ServiceUnavailable", "x"))])
def test_quotas_that_cannot_be_read_are_no_hindrance(
    aws_cloud: StrictAWS, caplog: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    if fault:
        aws_cloud.fail_on("GET", "/servicequotas/", fault, times=FOREVER)
    else:
        aws_cloud.forbidden = {"servicequotas:GetServiceQuota"}
    app = build_app("servers: {main: {}}")
    with caplog.at_level(logging.INFO):
        build_aws(aws_cloud, app, replace(PACE, patience=0.1)).ensure_servers()
    reason = "AWS: GetServiceQuota" if fault else "the credentials may not do servicequotas:GetServ"
    told = f"Whether the account's quotas are enough is not known: {reason}"
    assert caplog.text.count(told) == caplog.text.count("quotas are enough") == 1


def test_a_quota_that_is_reached_all_the_same(aws_cloud: StrictAWS, aws_account: Any) -> None:
    refusal = Refused(400, "VcpuLimitExceeded", "You have requested more than your limit of 5")
    aws_cloud.fail_on("POST", "/ec2/RunInstances", Fault(refusal), times=3)
    app = build_app(ONE_SERVER)
    with pytest.raises(NvoiError) as raised:
        build_aws(aws_cloud, app).ensure_servers()
    assert "RunInstances: VcpuLimitExceeded: You have requested more" in str(raised.value)
    assert "ask for more: Service Quotas, Amazon EC2" in str(raised.value)
    aws_cloud.heal()
    build_aws(aws_cloud, app).ensure_servers()
    assert list_all(aws_account) == WHOLE_OF_ONE


def test_credentials_without_a_right(aws_cloud: StrictAWS, aws_account: Any) -> None:
    tags = [name_it("vpc", "nvoi-shop-network")]
    aws_account.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)
    app = build_app(ONE_SERVER)
    # What can be seen beforehand is, and nothing is made.
    for action in ("RunInstances", "CreateVolume", "CreateTags", "CreateSubnet", "AttachVolume"):
        aws_cloud.forbidden = {f"ec2:{action}"}
        with aws_cloud.record() as calls, pytest.raises(NvoiError) as raised:
            build_aws(aws_cloud, app).ensure_servers()
        changes = [call for call in calls if not call.is_reading]
        assert bool(changes) == (action not in {"RunInstances", "CreateVolume"})
        assert f"the credentials may not do ec2:{action}" in str(raised.value)
        assert "docs/providers.md has the policy" in str(raised.value)
        assert "AQIDBAUGBwgJ" not in str(raised.value)
    aws_cloud.forbidden.clear()
    build_aws(aws_cloud, app).ensure_servers()
    assert list_all(aws_account) == WHOLE_OF_ONE


def test_a_clock_that_is_wrong(aws_cloud: StrictAWS) -> None:
    aws_cloud.skew = timedelta(minutes=20)
    with pytest.raises(EC2Error) as raised:
        build_aws(aws_cloud, build_app()).ensure_servers()
    assert "this machine's clock is 20 minutes behind AWS' own" in str(raised.value)
    assert "set the clock" in str(raised.value)


def test_what_passes_is_asked_again(aws_cloud: StrictAWS, aws_account: Any) -> None:
    refusals = {
        "RequestLimitExceeded": (503, ("CreateVpc", "DescribeSubnets")),
        "InternalError": (500, ("RunInstances", "DescribeInstances")),
        "Unavailable": (503, ("CreateVolume", "AttachVolume")),
    }
    for code, (status, actions) in refusals.items():
        for action in actions:
            fault = Fault(Refused(status, code, "it may pass"))
            method = "GET" if action.startswith("Describe") else "POST"
            aws_cloud.fail_on(method, f"/ec2/{action}$", fault, times=2)
    # What is made is seen at once here: nothing has to be looked for long.
    build_aws(aws_cloud, build_app(ONE_SERVER), replace(PACE, settle=0.1)).ensure_servers()
    assert not aws_cloud.has_faults
    assert list_all(aws_account) == WHOLE_OF_ONE


def test_what_does_not_pass_is_asked_once(aws_cloud: StrictAWS) -> None:
    refusal = Refused(400, "InvalidParameterValue", "it is wrong")
    aws_cloud.fail_on("POST", "/ec2/CreateVpc", Fault(refusal))
    with pytest.raises(NvoiError, match="InvalidParameterValue: it is wrong"):
        build_aws(aws_cloud, build_app()).ensure_servers()
    asked = [call for call in aws_cloud.calls if call.path == "/ec2/CreateVpc"]
    # The first one asked for the right alone.
    assert [call.is_reading for call in asked] == [True, False]


def test_a_network_that_overlaps(aws_cloud: StrictAWS, aws_account: Any) -> None:
    app = build_app()
    tags = [name_it("vpc", "nvoi-shop-network")]
    other = aws_account.create_vpc(CidrBlock="172.16.0.0/16", TagSpecifications=tags)
    with pytest.raises(
        NvoiError, match=r"has the addresses 172\.16\.0\.0/16, and 10\.0\.0\.0/16 are"
    ):
        build_aws(aws_cloud, app).ensure_servers()
    aws_account.delete_vpc(VpcId=other["Vpc"]["VpcId"])
    vpc = aws_account.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)
    aws_account.create_subnet(VpcId=vpc["Vpc"]["VpcId"], CidrBlock="10.0.0.0/20")
    with pytest.raises(NvoiError, match=r"CreateSubnet: InvalidSubnet\.Conflict: .*10\.0\.1\.0/24"):
        build_aws(aws_cloud, app).ensure_servers()


def test_the_types_of_others_machines_do_not_matter_to_servers_that_are_there(
    aws_cloud: StrictAWS, aws_account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    build_aws(aws_cloud, build_app("servers: {main: {}}")).ensure_servers()
    with caplog.at_level(logging.WARNING):
        build_aws(aws_cloud, build_app("servers: {main: {type: t3.gone}}")).ensure_servers()
    assert "shop-main-1 is a t3.small and stays one: to have a t3.gone, stop it" in caplog.text


def test_a_secret_is_in_no_error(aws_cloud: StrictAWS) -> None:
    with pytest.raises(ConfigError) as raised:
        build_aws(aws_cloud, build_app(access_key_id="AKIAUNKNOWN")).ensure_servers()
    assert "s3cr3t" not in str(raised.value)
    assert KEY not in str(raised.value)
