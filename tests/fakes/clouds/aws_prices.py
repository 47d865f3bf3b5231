"""The price list of AWS: as "GetProducts" shows it, with what nobody asks for beside the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGIONS = ("eu-central-1", "eu-west-1")
#: USD an hour.
SERVERS = {
    "t3.micro": "0.0120",
    "t3.small": "0.0240",
    "t3.medium": "0.0480",
    "t3a.small": "0.0216",
    "t4g.small": "0.0192",
}
SHARED = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


def build_price_list() -> list[dict[str, Any]]:
    products = []
    for region in REGIONS:
        for type_, price in SERVERS.items():
            # What is reserved has a line of its own that costs nothing.
            for capacity, amount in (
                ("UnusedCapacityReservation", "0.5"),
                ("Used", "0"),
                ("Used", price),
            ):
                attributes = {**SHARED, "instanceType": type_, "capacitystatus": capacity}
                products.append(build_product("AmazonEC2", region, attributes, "Hrs", amount))
            windows = {**SHARED, "instanceType": type_, "operatingSystem": "Windows"}
            products.append(build_product("AmazonEC2", region, windows, "Hrs", "0.9"))
        for kind, price in (("gp2", "0.119"), ("gp3", "0.1")):
            attributes = {"productFamily": "Storage", "volumeApiName": kind}
            products.append(build_product("AmazonEC2", region, attributes, "GB-Mo", price))
        for usage, price in (("IdleAddress", "0.7"), ("InUseAddress", "0.005")):
            attributes = {"group": "VPCPublicIPv4Address", "usagetype": f"EUC1-PublicIPv4:{usage}"}
            products.append(build_product("AmazonVPC", region, attributes, "Hrs", price))
    return products


def build_product(
    service: str, region: str, attributes: Mapping[str, str], unit: str, amount: str
) -> dict[str, Any]:
    family = {name: value for name, value in attributes.items() if name == "productFamily"}
    others = {name: value for name, value in attributes.items() if name != "productFamily"}
    dimension = {"unit": unit, "pricePerUnit": {"USD": f"{amount}000000"}}
    return {
        "product": {**family, "attributes": {**others, "regionCode": region}, "sku": "ABCD"},
        "serviceCode": service,
        "terms": {"OnDemand": {"ABCD.JRTC": {"priceDimensions": {"ABCD.JRTC.6YS6": dimension}}}},
    }


def has_terms(product: Mapping[str, Any], terms: Mapping[str, str]) -> bool:
    known = {**product["product"]["attributes"], **product["product"]}
    return all(known.get(name) == value for name, value in terms.items())
