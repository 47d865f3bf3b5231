"""AWS for the kill table, and for the tests that all clouds share."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Self
from xml.etree import ElementTree as ET

from nvoi.config.schema import Application
from nvoi.providers import Provider
from nvoi.providers.aws.api import Pace
from nvoi.providers.aws.resources import KINDS as RESOURCES
from tests.fakes.clouds.aws_proxy import KEY, StrictAWS, get
from tests.fakes.clouds.moto import X86, get_moto
from tests.fakes.clouds.server import Call
from tests.integration.providers.aws_account import (
    PACE,
    REGION,
    WHOLE,
    build_app,
    build_aws,
    build_client,
    get_instance,
    list_all,
    list_items,
    list_rules,
    read_name,
    read_tags,
)
from tests.integration.providers.site import Attached, Boot, Labels, Site

#: Where some answers never come, and others come late.
PATIENT = replace(PACE, answer=4.0, patience=30.0, longest_pause=0.1, settle=0.3, longest_poll=0.1)
#: How many servers of others there are, each with a disk; more than two pages have.
OTHERS, PAGE = 5, 3
SERIAL = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"
#: What the tests call kinds.
KINDS = {"instance": "servers", "volume": "volumes"}
NAMES = {"server": "instance", "volume": "volume", "network": "vpc"}


class AWSSite(Site):
    title = "AWS"
    calls = 7
    cloud: StrictAWS

    def __init__(self, cloud: StrictAWS | None = None, pace: Pace = PACE) -> None:
        self._pace = pace
        # What it does in the background takes a look or two.
        self.cloud = cloud or StrictAWS(get_moto(), polls=1)
        super().__init__()
        self.provider = {
            "aws": {
                "access_key_id": KEY,
                "secret_access_key": "s3cr3t-s3cr3t",
                "region": REGION,
                "instance_type": "t3.small",
                "architecture": "x86",
            }
        }
        self.environ = {"AWS_ENDPOINT_URL": self.cloud.url}
        self._account = build_client(self.cloud.moto)
        self._names: dict[str, str] = {}

    @classmethod
    def start(cls, others: int = 0) -> Self:
        """Many are disks of servers: those are made sooner than servers."""
        cloud = StrictAWS(get_moto())
        cloud.page = others // PAGE or PAGE
        account = build_client(cloud.moto)
        disks = [
            {"DeviceName": f"/dev/sd{number}", "Ebs": {"VolumeSize": 1}}
            for number in range(others // OTHERS)
        ]
        count = {"MinCount": OTHERS, "MaxCount": OTHERS, "BlockDeviceMappings": disks}
        account.run_instances(ImageId=X86, InstanceType="t3.micro", **count)
        for number in range(2):
            vpc = account.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            account.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
            account.create_internet_gateway()
            account.create_security_group(GroupName=f"other-{number}", Description="x", VpcId=vpc)
            account.create_volume(AvailabilityZone="eu-central-1a", Size=1)
        return cls(cloud, PATIENT)

    def list_left(self) -> list[str]:
        return [
            f"{kind} {read_name(one)}"
            for kind, found in list_items(self._account).items()
            for one in filter(is_apps, found)
        ]

    def show_others(self) -> object:
        items = list_items(self._account)
        return {kind: [one for one in found if not is_apps(one)] for kind, found in items.items()}

    def name_parts(self, servers: list[str], volumes: list[str]) -> list[str]:
        machines = {"instance": servers, "volume": [*servers, *volumes]}
        return [f"{kind} {name}" for kind, names in (WHOLE | machines).items() for name in names]

    def list_disks(self) -> set[tuple[str, str, int]]:
        items = list_items(self._account)
        servers = {one["InstanceId"]: read_name(one) for one in items["instance"]}
        return {
            (read_name(one), servers[held["InstanceId"]], one["Size"])
            for one in items["volume"]
            for held in one["Attachments"]
        }

    def check_server(self, name: str) -> Labels:
        assert self.cloud.untagged == []
        server = get_instance(self._account, name)
        assert server["State"]["Name"] == "running"
        return read_tags(server)

    def connect(self, boot: Boot, end: Callable[[str], None]) -> None:
        def start(call: Call, instance: ET.Element) -> None:
            tags = {get(one, "key"): get(one, "value") for one in instance.findall("tagSet/item")}
            name, data = tags["Name"], base64.b64decode(call.find("UserData") or "").decode()
            self._names[get(instance, "instanceId")] = name
            address = self.cloud.addresses[get(instance, "instanceId")]
            boot(name, address, get(instance, "privateIpAddress"), data)

        self.cloud.public_addresses = iter(self.list_addresses())
        self.cloud.on_start = start
        self.cloud.on_end = lambda server: end(self._names.pop(server))

    def list_open_ports(self) -> set[int]:
        rules, inside = list_rules(self._account), ("-1", None, "10.0.0.0/16")
        assert inside in rules
        public = rules - {inside}
        # Nothing is let in beside them.
        assert {(protocol, source) for protocol, _, source in public} == {("tcp", "0.0.0.0/0")}
        return {port for _, port, _ in public if port is not None}

    def list_attached(self) -> Iterator[Attached]:
        for volume, server in list(self.cloud.attached.items()):
            device = f"{SERIAL}{volume.replace('-', '')}"
            yield Attached(volume, self._names[server], device, self.cloud.sizes[volume])

    def list_all(self) -> dict[str, list[str]]:
        return {KINDS.get(kind, kind): names for kind, names in list_all(self._account).items()}

    def read(self, servers: str) -> Application:
        return build_app(f"servers: {servers}")

    def open(self, application: Application, *, in_haste: bool = False) -> Provider:
        pace = replace(self._pace, patience=0.1) if in_haste else self._pace
        return build_aws(self.cloud, application, pace)

    def show(self) -> object:
        return list_items(self._account)

    def add(self, kind: str, name: str, labels: Labels) -> None:
        make: Callable[..., object] = {
            "server": partial(
                self._account.run_instances,
                ImageId=X86,
                MinCount=1,
                MaxCount=1,
                InstanceType="t3.small",
            ),
            "volume": partial(
                self._account.create_volume, AvailabilityZone="eu-central-1a", Size=1
            ),
            "network": partial(self._account.create_vpc, CidrBlock="10.0.0.0/16"),
        }[kind]
        tags = {"ResourceType": NAMES[kind], "Tags": write_tags({"Name": name, **labels})}
        make(TagSpecifications=[tags])

    def relabel(self, labels: Labels) -> None:
        for kind, items in list_items(self._account).items():
            for one in items:
                others = {key: text for key, text in read_tags(one).items() if key != "Name"}
                ids = [one[RESOURCES[kind].id_key]]
                self._account.delete_tags(Resources=ids, Tags=write_tags(others))
                self._account.create_tags(Resources=ids, Tags=write_tags(labels))

    def list_labels(self, kind: str) -> list[Labels]:
        return [*map(read_tags, list_items(self._account)[NAMES[kind]])]


def is_apps(item: Any) -> bool:
    return read_tags(item).get("app") == "shop" or "shop" in read_name(item)


def write_tags(labels: Labels) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]
