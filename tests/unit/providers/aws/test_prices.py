"""AWS' price list where it is not as it should be: a plan has its lines all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.prices import describe_costs
from nvoi.providers.rented import WantedServer
from tests.fakes.clouds.aws_prices import build_product

ADDRESS = {"instanceType": "t3.micro", "usagetype": "EUC1-PublicIPv4:InUseAddress"}


class List:
    """In the place of an account: it answers whatever is asked with one page."""

    region = "eu-central-1"

    def __init__(self, page: dict[str, Any]) -> None:
        self._page = page

    def find_partition(self) -> str:
        return "aws"

    @property
    def clients(self) -> dict[object, None]:
        return {}

    def ask(self, *_: object) -> dict[str, Any]:
        return self._page


def describe(page: dict[str, Any]) -> str:
    server = WantedServer("shop-main-1", "main", type="t3.micro")
    ec2 = cast("EC2", List(page))
    return describe_costs(
        ec2, [server], lambda tariff: tariff.describe([], [], tariff.server(server.type, ""))
    )


def change(work: Callable[[Any, Any], object]) -> dict[str, Any]:
    """A page with a product that ``work`` changes, given that and its price."""
    product = build_product("AmazonEC2", "eu-central-1", ADDRESS, "Hrs", "0.1")
    (term,) = product["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    work(product, dimension["pricePerUnit"])
    return {"PriceList": [json.dumps(product)]}


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"PriceList": ["<html>"]},
        {"PriceList": ["[]"]},
        change(lambda product, _: product["product"].pop("attributes")),
        change(lambda product, _: product.update(terms=None)),
        change(lambda _, price: price.clear()),
        change(lambda _, price: price.update(USD="n/a")),
        change(lambda _, price: price.update(USD="NaN")),
    ],
)
def test_a_price_list_of_another_form_costs_a_plan_its_prices_alone(page: dict[str, Any]) -> None:
    assert describe(page).startswith("costs: AWS' price list cannot be read: ")
    assert describe(change(lambda *_: None)).startswith("costs USD ")
