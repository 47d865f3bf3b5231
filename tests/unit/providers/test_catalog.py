"""What clouds sell, as records."""

from __future__ import annotations

from decimal import Decimal

from nvoi.providers.catalog import Catalog, Offer, join

REGIONS = {"fsn1": "eu-central", "nbg1": "eu-central", "ash": "us-east"}


def build_offer(type_: str, place: str, cores: int, price: str, *, is_out: bool = False) -> Offer:
    shape = (type_, place, "x86", cores, 2.0 * cores, Decimal(price), "EUR")
    return Offer(*shape, is_out=is_out)


def build_catalog(*offers: Offer) -> Catalog:
    return Catalog("EUR", offers, REGIONS, addresses={"fsn1": Decimal("0.6")})


GONE = build_offer("cx33", "fsn1", 4, "7", is_out=True)


def test_the_nearest_type_is_the_cheapest_that_is_as_large() -> None:
    catalog = build_catalog(
        GONE,
        build_offer("cx23", "fsn1", 2, "4"),
        build_offer("cx53", "fsn1", 16, "20"),
        build_offer("cx43", "fsn1", 8, "12"),
        build_offer("cx33", "ash", 4, "5"),
        build_offer("cx33", "nbg1", 4, "9"),
    )
    # The same region comes before a lower price.
    told = "there is cx43 in fsn1 for EUR 12.00 a month or cx33 in nbg1 for EUR 9.00 a month"
    assert catalog.describe_shortage(GONE).endswith(told)


def test_where_nothing_is_as_large_the_largest_is_the_nearest() -> None:
    catalog = build_catalog(
        GONE, build_offer("cx13", "fsn1", 1, "3"), build_offer("cx23", "fsn1", 2, "4")
    )
    told = catalog.describe_shortage(GONE)
    assert told == "cx33 is out of stock in fsn1; there is cx23 in fsn1 for EUR 4.00 a month"
    told = build_catalog(GONE).describe_shortage(GONE)
    assert told == "cx33 is out of stock in fsn1; there is nothing like it; try another place"


def test_a_server_costs_as_much_as_its_type_while_that_is_sold_and_its_address() -> None:
    catalog = build_catalog(GONE)
    assert catalog.get_server_price("cx33", "fsn1") == Decimal("7.6")
    assert catalog.get_server_price("cx22", "fsn1") == Decimal("0.6")


def test_a_list_of_right_values_has_an_end() -> None:
    assert join(["b", "a", "b"]) == "b, a"
    assert join(f"{number:02}" for number in range(30)).endswith("19, …")
    assert join([]) == "none"
