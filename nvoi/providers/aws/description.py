"""What a deploy or a deletion would do at AWS, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from nvoi.errors import NvoiError
from nvoi.providers.aws.network import Drift, Networks, describe_rule
from nvoi.providers.aws.prices import Prices
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import describe_other_type
from nvoi.providers.aws.situation import Situation
from nvoi.providers.rented import NETWORK, SUBNET, WantedServer
from nvoi.providers.wording import Costs, describe_closing

#: Where prices are that the API does not tell.
PAGES = (
    "https://aws.amazon.com/ec2/pricing/on-demand/ has those of "
    "servers, https://aws.amazon.com/ebs/pricing/ those of volumes, and each server's public "
    "address costs as https://aws.amazon.com/vpc/pricing/ says"
)

TypeOf = Callable[[WantedServer], str]


@dataclass(frozen=True)
class Costly:
    """Servers by their types, and the GB of disks beside their own."""

    types: tuple[str, ...]
    disks: int

    def sum(self, prices: Prices) -> Decimal:
        """What it costs a month.

        Raises:
            NvoiError: the price list lacks a type.
        """
        return sum(map(prices.get_server, self.types), prices.disk * self.disks)


def describe_wishes(
    wanted: Sequence[WantedServer], networks: Networks, get_type: TypeOf
) -> list[str]:
    """What the config wants, where nobody can tell what there is."""
    lines = [f"has {describe_network(networks)}"]
    for one in wanted:
        lines.append(f"has {describe_server(one, get_type)}")
        lines += [f"has volume {volume.name} ({volume.size} GB, gp3)" for volume in one.volumes]
    return lines


def describe_changes(
    situation: Situation, networks: Networks, drift: Drift | None, zone: str, get_type: TypeOf
) -> list[str]:
    """What is made, and what is changed."""
    lines = [*describe_network_changes(situation, networks, drift, zone)]
    for one in situation.wanted:
        there = situation.servers.get(one.name)
        if there is None:
            lines.append(f"makes {describe_server(one, get_type)} in {zone}")
        elif there.item["InstanceType"] != get_type(one):
            lines.append(describe_other_type(there, get_type(one)))
        else:
            address = there.item.get("PublicIpAddress") or there.state
            lines.append(f"keeps {describe_server(one, get_type)}: {address}")
        lines += describe_volume_changes(situation, one)
    return lines


def describe_surplus(situation: Situation, *, with_volumes: bool) -> Iterator[str]:
    """What the config no longer names."""
    for server in situation.surplus:
        yield f"deletes {server}, which the config no longer names, once the release serves"
    for volume in situation.surplus_volumes:
        told = "deletes {}, which the config no longer names, with all its data"
        kept = "keeps {}, which the config no longer names; --delete-volumes deletes it"
        yield (told if with_volumes else kept).format(volume)


def describe_network_changes(
    situation: Situation, networks: Networks, drift: Drift | None, zone: str
) -> Iterator[str]:
    if situation.vpc is None:
        yield f"makes {describe_network(networks)}, in {zone}"
        return
    if situation.subnet is None:
        yield f"makes a subnet {SUBNET} in {zone}"
    if drift is None:
        yield f"makes {describe_firewall(networks)}"
        return
    for rule in drift.lacking:
        yield f"lets in {rule} by firewall {networks.firewall_name}"
    for other in drift.others:
        yield f"ends that firewall {networks.firewall_name} lets in {describe_rule(other)}"
    if drift.former:
        ports = [one["FromPort"] for one in drift.former]
        yield describe_closing(f"firewall {networks.firewall_name}", ports)


def describe_volume_changes(situation: Situation, server: WantedServer) -> Iterator[str]:
    for volume in server.volumes:
        there = situation.volumes.get(volume.name)
        if there is None:
            yield f"makes volume {volume.name} ({volume.size} GB, gp3)"
        elif there.item["Size"] < volume.size:
            yield f"grows {there} from {there.item['Size']} to {volume.size} GB"
        else:
            yield f"keeps {there}"


def describe_costs(read: Callable[[set[str]], Prices], now: Costly, afterwards: Costly) -> str:
    """What a month costs; ``read`` has the prices of servers of these types."""
    try:
        prices = read({*now.types, *afterwards.types})
        return str(Costs(prices.currency, now.sum(prices), afterwards.sum(prices)))
    except NvoiError as error:
        return f"costs: {error}; {PAGES}"


def list_costly(own: Sequence[Resource]) -> Costly:
    """What of all this costs money; of disks only those with data, as each server has its own."""
    return Costly(
        tuple(one.item["InstanceType"] for one in own if one.kind == "instance"),
        sum(one.item["Size"] for one in own if one.kind == "volume"),
    )


def list_costly_afterwards(situation: Situation, get_type: TypeOf, *, with_volumes: bool) -> Costly:
    """What the config names, and the volumes that stay beside it."""
    there = {name: one.item["InstanceType"] for name, one in situation.servers.items()}
    gone = {one.name for one in situation.surplus_volumes} if with_volumes else ()
    sizes = {name: one.item["Size"] for name, one in situation.volumes.items() if name not in gone}
    for server in situation.wanted:
        sizes |= {volume.name: volume.size for volume in server.volumes}
    types = (there.get(one.name) or get_type(one) for one in situation.wanted)
    return Costly(tuple(types), sum(sizes.values()))


def describe_deletion(own: Sequence[Resource], *, with_volumes: bool) -> list[str]:
    return [
        f"keeps {one}" if one.kind == "volume" and not with_volumes else f"deletes {one}"
        for one in own
    ]


def describe_network(networks: Networks) -> str:
    return (
        f"VPC {networks.name} ({NETWORK}) with a subnet ({SUBNET}), an internet gateway, a route "
        f"table and {describe_firewall(networks)}"
    )


def describe_firewall(networks: Networks) -> str:
    return f"firewall {networks.firewall_name}, which lets in {', '.join(map(str, networks.rules))}"


def describe_server(one: WantedServer, get_type: TypeOf) -> str:
    return f"{one.name} ({get_type(one)}){', the master' if one.is_master else ''}"
