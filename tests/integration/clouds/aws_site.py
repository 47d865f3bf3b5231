"""AWS for tests of the whole way."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree as ET

from nvoi.config.schema import Application
from nvoi.providers import Provider
from nvoi.providers.aws.resources import KINDS as RESOURCES
from tests.fakes.clouds.aws_proxy import KEY, StrictAWS, get
from tests.fakes.clouds.moto import X86, get_moto
from tests.fakes.clouds.server import Call
from tests.integration.clouds.aws_account import (
    PACE,
    REGION,
    build_app,
    build_aws,
    build_client,
    list_all,
    list_items,
    list_rules,
    read_tags,
)
from tests.integration.clouds.datacenter import Attached, Datacenter, Labels, Site

SERIAL = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"
#: What the tests call kinds.
KINDS = {"instance": "servers", "volume": "volumes"}
NAMES = {"server": "instance", "volume": "volume", "network": "vpc"}


class AWSSite(Site):
    """One account; what it does in the background takes a look or two."""

    calls = 7

    def __init__(self) -> None:
        self.cloud: StrictAWS = StrictAWS(get_moto(), polls=1)
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

    def connect(self, datacenter: Datacenter) -> None:
        def start(call: Call, instance: ET.Element) -> None:
            tags = {get(one, "key"): get(one, "value") for one in instance.findall("tagSet/item")}
            name, data = tags["Name"], base64.b64decode(call.find("UserData") or "").decode()
            self._names[get(instance, "instanceId")] = name
            address = self.cloud.addresses[get(instance, "instanceId")]
            datacenter.boot(name, address, get(instance, "privateIpAddress"), data)

        self.cloud.public_addresses = iter(self.list_addresses())
        self.cloud.on_start = start
        self.cloud.on_end = lambda server: datacenter.end(self._names.pop(server))

    def list_open_ports(self) -> set[int]:
        rules = list_rules(self._account)
        return {port for protocol, port, _ in rules if protocol == "tcp" and port is not None}

    def list_attached(self) -> Iterator[Attached]:
        for volume, server in list(self.cloud.attached.items()):
            device = f"{SERIAL}{volume.replace('-', '')}"
            yield Attached(self._names[server], device, self.cloud.sizes[volume])

    def list_all(self) -> dict[str, list[str]]:
        return {KINDS.get(kind, kind): names for kind, names in list_all(self._account).items()}

    def read(self, servers: str) -> Application:
        return build_app(f"servers: {servers}")

    def open(self, application: Application, *, in_haste: bool = False) -> Provider:
        return build_aws(self.cloud, application, replace(PACE, patience=0.1) if in_haste else PACE)

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


def write_tags(labels: Labels) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]
