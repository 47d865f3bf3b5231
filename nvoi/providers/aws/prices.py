"""What a month costs at AWS, by its price list, which has all regions in one place.

Facts are of the AWS Price List Query API Reference, "GetProducts", and of what it lists: servers by
the hour, disks by the GB and month, and public addresses, which belong to VPC, by the hour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nvoi.errors import NvoiError
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.resources import Item
from nvoi.providers.catalog import Tariff
from nvoi.providers.cloud import UNREADABLE_ERRORS

#: Where the price list is asked, by what separates AWS from its part in China.
HOMES = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}
#: Hours of a month, as AWS reckons its own examples.
HOURS = 730
#: GB of the disk that a server starts from: the system, images, and what containers write.
ROOT_SIZE = 30
PAGE = 100
#: More types than so many are read with all others of the region, a page at a time.
FEW = 5
#: A server by the hour, with Linux that costs nothing.
SERVER = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
DISK = {"productFamily": "Storage", "volumeApiName": "gp3"}
ADDRESS = {"group": "VPCPublicIPv4Address"}
#: How the usage of an address begins after the region's own letters; others are for idle ones.
IN_USE = "PublicIPv4:InUseAddress"
#: Where prices are that the API does not tell.
PAGES = (
    "https://aws.amazon.com/ec2/pricing/on-demand/ has those of "
    "servers, https://aws.amazon.com/ebs/pricing/ those of volumes, and each server's public "
    "address costs as https://aws.amazon.com/vpc/pricing/ says"
)


@dataclass(frozen=True)
class Prices:
    """Of a month, before tax.

    Attributes:
        servers: by their types, without disk and address.
        disk: a GB.
    """

    currency: str
    servers: Mapping[str, Decimal]
    disk: Decimal
    address: Decimal

    def find_server(self, type_: str) -> Decimal | None:
        """Of a server with its disk and its address; None of a type that the list lacks."""
        price = self.servers.get(type_)
        return None if price is None else price + self.disk * ROOT_SIZE + self.address

    def get_server(self, type_: str, _: str) -> Decimal:
        """The same, in whatever zone.

        Raises:
            NvoiError: the list lacks the type.
        """
        price = self.find_server(type_)
        if price is None:
            raise NvoiError(f"AWS' price list lacks {type_}")
        return price


@dataclass(frozen=True)
class Price:
    currency: str
    amount: Decimal


def describe_costs(ec2: EC2, servers: Iterable[Any], tell: Callable[[Tariff], str]) -> str:
    """What a month costs, where ``servers`` say their types."""
    try:
        prices = read_prices(ec2, {one.type for one in servers})
        return tell(Tariff(prices.currency, prices.get_server, lambda _: prices.disk))
    except NvoiError as error:
        return f"costs: {error}; {PAGES}"


def read_prices(ec2: EC2, types: Collection[str]) -> Prices:
    """What servers of these types cost in the account's region; of a type it may have no price.

    Raises:
        NvoiError: the credentials may not read the price list, it does not answer or in another
            form, or it lacks what every server has.
    """
    home = HOMES.get(ec2.find_partition())
    if home is None:
        raise NvoiError(f"AWS has no price list for {ec2.region}")
    client = ec2.clients.get(home, "pricing")
    try:
        return collect_prices(ec2, client, types)
    except UNREADABLE_ERRORS as error:
        raise NvoiError("AWS' price list cannot be read: it is not as AWS documents it") from error


def collect_prices(ec2: EC2, client: Any, types: Collection[str]) -> Prices:
    def read(service: str, terms: Mapping[str, str]) -> list[Item]:
        return [*list_products(ec2, client, service, {"regionCode": ec2.region, **terms})]

    disk = find_price(read("AmazonEC2", DISK))
    addresses = read("AmazonVPC", ADDRESS)
    address = find_price(
        one for one in addresses if get_attribute(one, "usagetype").endswith(IN_USE)
    )
    if disk is None or address is None:
        raise NvoiError(f"AWS' price list lacks the disks or the addresses of {ec2.region}")
    asked = [{"instanceType": one} for one in types] if len(types) <= FEW else [{}]
    servers = [one for terms in asked for one in read("AmazonEC2", {**SERVER, **terms})]
    return Prices(disk.currency, dict(read_servers(servers)), disk.amount, address.amount * HOURS)


def list_products(ec2: EC2, client: Any, service: str, terms: Mapping[str, str]) -> Iterator[Item]:
    """The products that have all these attributes."""
    asked: dict[str, Any] = {
        "ServiceCode": service,
        "Filters": [
            {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in terms.items()
        ],
        "MaxResults": PAGE,
    }
    while True:
        page = ec2.ask(client, "get_products", asked)
        yield from map(json.loads, page["PriceList"])
        if not page.get("NextToken"):
            return
        asked["NextToken"] = page["NextToken"]


def read_servers(products: Iterable[Item]) -> Iterator[tuple[str, Decimal]]:
    for one in products:
        if price := find_price([one]):
            yield get_attribute(one, "instanceType"), price.amount * HOURS


def find_price(products: Iterable[Item]) -> Price | None:
    """Of the first product that costs something on demand, for its unit."""
    for one in products:
        for term in one.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                [(currency, text), *_] = dimension["pricePerUnit"].items()
                if not (amount := Decimal(text)).is_finite():
                    raise ValueError(text)
                if amount:
                    return Price(currency, amount)
    return None


def get_attribute(product: Item, name: str) -> str:
    return str(product["product"]["attributes"].get(name, ""))
