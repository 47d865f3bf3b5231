"""The network of an app at AWS: a VPC of its own, with a subnet, a way out, and a firewall.

A VPC is found by its name, and all that is in it by the VPC. Facts are of the Amazon VPC User
Guide, "Internet gateways", "Subnet route tables", "Security group rules" and "Delete your VPC".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nvoi.config.schema import Application
from nvoi.errors import NvoiError
from nvoi.naming import build_firewall_name, build_network_name
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.inventory import Owner
from nvoi.providers.aws.refusals import GONE
from nvoi.providers.aws.resources import Item, Resource
from nvoi.providers.cloud import log
from nvoi.providers.rented import NETWORK, SUBNET, list_former_ports, list_open_ports
from nvoi.providers.wording import describe_closing

EVERYWHERE = "0.0.0.0/0"
#: What a firewall says of itself; that of the gem as well.
DESCRIPTION = "Managed by nvoi"
#: What a rule is of beside its source; and the sources, by the words of EC2 for their kinds.
PORTS = ("IpProtocol", "FromPort", "ToPort")
SOURCES = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
    "UserIdGroupPairs": "GroupId",
}
#: Letters of a ClientToken (Amazon EC2 API Reference, "Ensuring idempotency").
TOKEN_LENGTH = 64


@dataclass(frozen=True)
class Rule:
    """Who may reach a TCP port, or everything where there is none."""

    source: str
    port: int | None = None

    def build(self) -> Item:
        ranges = {"IpRanges": [{"CidrIp": self.source}]}
        if self.port is None:
            return {"IpProtocol": "-1", **ranges}
        return {"IpProtocol": "tcp", "FromPort": self.port, "ToPort": self.port, **ranges}

    def __str__(self) -> str:
        return f"{f'tcp {self.port}' if self.port else 'everything'} from {self.source}"


@dataclass(frozen=True)
class Drift:
    """The rules that a firewall lacks, and those that it has beside, as the API has them.

    ``former`` are those that only the release before may need; ``others`` are without them.
    """

    lacking: list[Rule]
    others: list[Item]
    former: list[Item]


@dataclass(frozen=True)
class Network:
    """Where servers are made: the VPC, the ids of subnet and firewall, and the zone.

    ``former`` are the rules of the firewall that only the release before may need.
    """

    vpc: Resource
    subnet: str
    firewall: str
    zone: str
    former: tuple[Item, ...] = ()


class Networks:
    """The network of one app, as it is and as it is to be."""

    def __init__(self, ec2: EC2, owner: Owner, application: Application) -> None:
        self._ec2, self._owner = ec2, owner
        self.name = build_network_name(application.name)
        self.firewall_name = build_firewall_name(application.name)
        ports = (Rule(EVERYWHERE, port) for port in list_open_ports(application))
        self.rules = (Rule(NETWORK), *ports)
        self._former = [Rule(EVERYWHERE, port) for port in list_former_ports(application)]

    # What there is

    def list_vpcs(self) -> list[Resource]:
        """The app's own, doubles too, else all that bear its name."""
        found = self._ec2.find("vpc", {"tag:Name": [self.name]})
        return [*filter(self._owner.owns, found)] or found

    def choose_vpc(self, found: Sequence[Resource]) -> Resource | None:
        """The app's VPC of these.

        Raises:
            NvoiError: they are others', or its addresses are not those of the servers.
        """
        vpc = self._owner.choose(found)
        if vpc is not None and vpc.item["CidrBlock"] != NETWORK:
            raise NvoiError(
                f"{vpc} has the addresses {vpc.item['CidrBlock']}, and {NETWORK} are needed",
                hint="rename or delete it: nvoi makes one of its own",
            )
        return vpc

    def find_subnet(self, vpc: Resource) -> Resource | None:
        filters = {"vpc-id": [vpc.id], "cidr-block": [SUBNET]}
        return self._owner.choose(self._ec2.find("subnet", filters))

    def find_firewall(self, vpc: Resource) -> Resource | None:
        found = self._ec2.find("security-group", {"group-name": [self.firewall_name]})
        return self._owner.choose([one for one in found if one.item["VpcId"] == vpc.id])

    def find_table(self, vpc: Resource, subnet: Resource) -> Resource | None:
        """The table that the subnet uses, or the app's own that it does not use yet."""
        tables = self._ec2.find("route-table", {"vpc-id": [vpc.id]})
        used = [one for one in tables if subnet.id in list_users(one)]
        return self._owner.choose(used or [one for one in tables if one.name == f"{self.name}-rtb"])

    def find_gateway(self, vpc: Resource) -> Resource | None:
        """The gateway of the VPC, or the app's own that is not attached to it yet."""
        attached = self._ec2.find("internet-gateway", {"attachment.vpc-id": [vpc.id]})
        if attached:
            return self._owner.choose(attached)
        named = self._ec2.find("internet-gateway", {"tag:Name": [f"{self.name}-igw"]})
        return self._owner.choose([one for one in named if not one.item["Attachments"]])

    def _list_drift(self, firewall: Resource) -> Drift:
        inbound = [*split_rules(firewall.item["IpPermissions"])]
        known = {read_rule(one) for one in inbound}
        return Drift(
            lacking=[rule for rule in self.rules if rule not in known],
            others=[one for one in inbound if read_rule(one) not in (*self.rules, *self._former)],
            former=[one for one in inbound if read_rule(one) in self._former],
        )

    def describe_changes(
        self, vpc: Resource | None, subnet: Resource | None, zone: str
    ) -> Iterator[str]:
        """What :meth:`ensure` would do, a line each."""
        lets_in = f"firewall {self.firewall_name}, which lets in {', '.join(map(str, self.rules))}"
        if vpc is None:
            parts = f"a subnet ({SUBNET}), an internet gateway, a route table and {lets_in}"
            yield f"makes VPC {self.name} ({NETWORK}) with {parts}, in {zone}"
            return
        if subnet is None:
            yield f"makes a subnet {SUBNET} in {zone}"
        firewall = self.find_firewall(vpc)
        if firewall is None:
            yield f"makes {lets_in}"
            return
        drift = self._list_drift(firewall)
        for rule in drift.lacking:
            yield f"lets in {rule} by firewall {self.firewall_name}"
        for other in drift.others:
            yield f"ends that firewall {self.firewall_name} lets in {describe_rule(other)}"
        if drift.former:
            ports = [one["FromPort"] for one in drift.former]
            yield describe_closing(f"firewall {self.firewall_name}", ports)

    # What is to be

    def ensure(self, vpc: Resource | None, subnet: Resource | None, zone: str) -> Network:
        """The network with all that belongs to it; its subnet is in ``zone`` if there is none yet.

        Raises:
            NvoiError: something of it cannot be made.
        """
        vpc = self._ensure(
            vpc, lambda: self.choose_vpc(self.list_vpcs()), "vpc", self.name, CidrBlock=NETWORK
        )
        inside = vpc
        subnet = self._ensure(
            subnet,
            lambda: self.find_subnet(inside),
            "subnet",
            f"{self.name}-subnet",
            VpcId=vpc.id,
            CidrBlock=SUBNET,
            AvailabilityZone=zone,
        )
        self._ensure_route(vpc, subnet, self._ensure_gateway(vpc))
        firewall = self._ensure(
            self.find_firewall(vpc),
            lambda: self.find_firewall(inside),
            "security-group",
            self.firewall_name,
            VpcId=vpc.id,
            GroupName=self.firewall_name,
            Description=DESCRIPTION,
        )
        former = self._ensure_rules(firewall)
        zone = subnet.item["AvailabilityZone"]
        return Network(vpc, subnet.id, firewall.id, zone, tuple(former))

    def _ensure(
        self,
        found: Resource | None,
        find: Callable[[], Resource | None],
        kind: str,
        name: str,
        **parameters: Any,
    ) -> Resource:
        if found is None:
            found = self._ec2.make(find, kind, self._owner.build_tags(name), **parameters)
        return self._owner.claim(found)

    def _ensure_gateway(self, vpc: Resource) -> Resource:
        gateway = self._ensure(
            self.find_gateway(vpc),
            lambda: self.find_gateway(vpc),
            "internet-gateway",
            f"{self.name}-igw",
        )
        if not gateway.item["Attachments"]:
            self._ec2.ensure(
                "attach_internet_gateway",
                r"Resource\.AlreadyAssociated",
                InternetGatewayId=gateway.id,
                VpcId=vpc.id,
            )
        return gateway

    def _ensure_route(self, vpc: Resource, subnet: Resource, gateway: Resource) -> None:
        table = self._ensure(
            self.find_table(vpc, subnet),
            lambda: self.find_table(vpc, subnet),
            "route-table",
            f"{self.name}-rtb",
            VpcId=vpc.id,
            ClientToken=build_token(subnet.id),
        )
        routes = {one.get("DestinationCidrBlock"): one for one in table.item["Routes"]}
        way = routes.get(EVERYWHERE, {})
        if way.get("GatewayId") != gateway.id or way.get("State") == "blackhole":
            self._ec2.ensure(
                "replace_route" if way else "create_route",
                "RouteAlreadyExists",
                RouteTableId=table.id,
                DestinationCidrBlock=EVERYWHERE,
                GatewayId=gateway.id,
            )
        if subnet.id not in list_users(table):
            self._ec2.ensure(
                "associate_route_table",
                r"Resource\.AlreadyAssociated",
                RouteTableId=table.id,
                SubnetId=subnet.id,
            )

    def _ensure_rules(self, firewall: Resource) -> list[Item]:
        """Put them right; returns those that stay for the release before."""
        drift = self._list_drift(firewall)
        for rule in drift.lacking:
            self._ec2.ensure(
                "authorize_security_group_ingress",
                r"InvalidPermission\.Duplicate",
                GroupId=firewall.id,
                IpPermissions=[rule.build()],
            )
        for one in drift.others:
            log.warning(
                "%s lets in %s, and should not: nvoi ends that", firewall, describe_rule(one)
            )
        if drift.others:
            self._revoke(firewall.id, drift.others)
        return drift.former

    def close(self, network: Network) -> None:
        """Let in no more what only the release before needed."""
        self._revoke(network.firewall, network.former)
        for one in network.former:
            log.info("%s no longer lets in %s", self.firewall_name, describe_rule(one))

    def _revoke(self, firewall: str, rules: Sequence[Item]) -> None:
        operation = "revoke_security_group_ingress"
        self._ec2.ensure(operation, GONE, GroupId=firewall, IpPermissions=[*rules])

    # What goes

    def list_own(self) -> list[Resource]:
        """All parts that are the app's, in the order in which they can be deleted."""
        kinds = ("subnet", "route-table", "internet-gateway", "security-group", "vpc")
        return [one for kind in kinds for one in self._owner.list_own(kind)]

    def delete(self, part: Resource) -> None:
        """Delete one of the parts.

        Raises:
            EC2Error: it is refused, as something that is not the app's uses it.
        """
        if part.kind == "internet-gateway":
            for one in part.item["Attachments"]:
                self._ec2.ensure(
                    "detach_internet_gateway",
                    rf"Gateway\.NotAttached|{GONE}",
                    InternetGatewayId=part.id,
                    VpcId=one["VpcId"],
                )
        for one in list_associations(part):
            self._ec2.ensure("disassociate_route_table", GONE, AssociationId=one)
        self._ec2.delete(part)


def list_users(table: Resource) -> list[str]:
    """The subnets that use a route table by name, beside those without a table of their own."""
    return [one["SubnetId"] for one in table.item["Associations"] if "SubnetId" in one]


def list_associations(part: Resource) -> list[str]:
    """Those of a route table with subnets; nothing else has any."""
    items = part.item.get("Associations", ())
    return [one["RouteTableAssociationId"] for one in items if "SubnetId" in one]


def split_rules(permissions: Iterable[Item]) -> Iterator[Item]:
    """What a firewall lets in, an item for each of the sources that EC2 shows together."""
    for one in permissions:
        ports = {key: one[key] for key in PORTS if key in one}
        for kind, key in SOURCES.items():
            for source in one.get(kind, ()):
                yield {**ports, kind: [{key: source[key]}]}


def read_source(item: Item) -> str:
    return next(str(item[kind][0][key]) for kind, key in SOURCES.items() if kind in item)


def read_rule(item: Item) -> Rule | None:
    """A rule as nvoi makes them; None for any other."""
    if "IpRanges" not in item:
        return None
    if item["IpProtocol"] == "-1":
        return Rule(read_source(item))
    if item["IpProtocol"] == "tcp" and item.get("FromPort") == item.get("ToPort"):
        return Rule(read_source(item), item["FromPort"])
    return None


def describe_rule(item: Item) -> str:
    """A rule as people read it, whoever made it."""
    first, last = item.get("FromPort", -1), item.get("ToPort", -1)
    protocol = "everything" if item["IpProtocol"] == "-1" else item["IpProtocol"]
    ports = "" if first == -1 else f" {first}" if first == last else f" {first}-{last}"
    return f"{protocol}{ports} from {read_source(item)}"


def build_token(*words: str) -> str:
    """A ClientToken that is the same whenever the same is asked for."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:TOKEN_LENGTH]
