"""What a deploy or a deletion would do at AWS, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.inventory import Situation
from nvoi.providers.aws.network import Drift, Networks, describe_rule
from nvoi.providers.aws.prices import read_prices
from nvoi.providers.aws.resources import Resource
from nvoi.providers.aws.servers import describe_other_type
from nvoi.providers.rented import NETWORK, SUBNET
from nvoi.providers.wording import (
    AS_IT_IS_TO_BE,
    Tariff,
    describe_closing,
    describe_parts,
    describe_surplus,
)

#: Where prices are that the API does not tell.
PAGES = (
    "https://aws.amazon.com/ec2/pricing/on-demand/ has those of "
    "servers, https://aws.amazon.com/ebs/pricing/ those of volumes, and each server's public "
    "address costs as https://aws.amazon.com/vpc/pricing/ says"
)


def describe_changes(
    situation: Situation,
    networks: Networks,
    drift: Drift | None,
    zone: str,
    *,
    with_volumes: bool,
) -> list[str]:
    """What is made, changed and removed, a line each."""
    lines = [f"takes over {one}, and labels it" for one in situation.strangers]
    lines += describe_network_changes(situation, networks, drift, zone)
    lines += describe_parts(situation, lambda _: zone)
    lines += describe_surplus(situation, with_volumes=with_volumes)
    others = (describe_other_type(one, type_) for one, type_ in situation.list_other_types())
    return [*others, *(lines or [AS_IT_IS_TO_BE])]


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


def describe_costs(ec2: EC2, servers: Iterable[Any], tell: Callable[[Tariff], str]) -> str:
    """What a month costs, where ``servers`` say their types."""
    try:
        prices = read_prices(ec2, {one.type for one in servers})
        return tell(Tariff(prices.currency, prices.get_server, lambda _: prices.disk))
    except NvoiError as error:
        return f"costs: {error}; {PAGES}"


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
