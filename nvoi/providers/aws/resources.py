"""Things in an account at AWS, as its API has them: their kinds, ids and tags. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nvoi.providers.rented import is_first_disk

Item = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What things of a kind are called by people, in lists, and by their ids."""

    words: str
    list_key: str
    id_key: str


#: By their names in the specifications of tags.
KINDS: Mapping[str, Kind] = {
    "vpc": Kind("VPC", "Vpcs", "VpcId"),
    "subnet": Kind("subnet", "Subnets", "SubnetId"),
    "internet-gateway": Kind("internet gateway", "InternetGateways", "InternetGatewayId"),
    "route-table": Kind("route table", "RouteTables", "RouteTableId"),
    "security-group": Kind("security group", "SecurityGroups", "GroupId"),
    "instance": Kind("server", "Reservations", "InstanceId"),
    "volume": Kind("volume", "Volumes", "VolumeId"),
}


@dataclass(frozen=True)
class Resource:
    """A thing in the account; ``item`` is all that the API says of it."""

    kind: str
    id: str
    tags: Mapping[str, str] = field(compare=False)
    item: Item = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.tags.get("Name", "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.tags

    @property
    def is_server(self) -> bool:
        return self.kind == "instance"

    @property
    def is_data(self) -> bool:
        return self.kind == "volume" and not is_first_disk(self.tags)

    @property
    def type(self) -> str:
        return str(self.item["InstanceType"])

    @property
    def place(self) -> str:
        """The zone of a server, a volume or a subnet; a region's zones have the same prices."""
        placement = self.item.get("Placement", self.item)
        return str(placement.get("AvailabilityZone", ""))

    @property
    def size(self) -> int:
        return int(self.item["Size"])

    @property
    def state(self) -> str:
        state = self.item.get("State", "")
        return str(state["Name"] if isinstance(state, dict) else state)

    def __str__(self) -> str:
        return f"{KINDS[self.kind].words} {self.name} ({self.id})"


def spell(kind: str) -> str:
    """A kind as it is in the names of operations."""
    return kind.replace("-", "_")


def build_made(kind: str, answer: Item) -> Resource:
    """What a request has made, by its answer."""
    how = KINDS[kind]
    item = answer[how.list_key.removesuffix("s")]
    return Resource(kind, item[how.id_key], read_tags(item), item)


def read_tags(item: Item) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}


def build_tags(kind: str, tags: Mapping[str, str]) -> Item:
    return {"ResourceType": kind, "Tags": build_pairs(tags)}


def build_pairs(tags: Mapping[str, str]) -> list[Item]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def build_filters(filters: Mapping[str, Sequence[str]]) -> list[Item]:
    return [{"Name": name, "Values": [*values]} for name, values in filters.items()]
