"""AWS for tests of the whole way."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from tests.fakes.clouds.aws_proxy import KEY, StrictAWS, get
from tests.fakes.clouds.moto import get_moto
from tests.fakes.clouds.server import Call
from tests.integration.clouds.aws_account import REGION, build_client, list_all, list_rules
from tests.integration.clouds.datacenter import Attached, Datacenter, Site

SERIAL = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"
#: What the tests call kinds.
KINDS = {"instance": "servers", "volume": "volumes"}


class AWSSite(Site):
    """One account; what it does in the background takes a look or two."""

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
