from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from nvoi import naming
from nvoi.errors import UsageError


def test_names_derive_from_the_app() -> None:
    assert naming.build_prefix("shop") == "nvoi-shop"
    assert naming.build_server_name("my_shop", "Web_Group", 2) == "my-shop-web-group-2"
    assert naming.build_volume_name("my_shop", "main", "db_data") == "my_shop-main-db_data"
    assert naming.build_volume_path("shop", "main", "data") == "/opt/nvoi/volumes/shop-main-data"
    assert naming.build_workload_name("shop", "web") == "shop-web"
    assert naming.build_database_name("shop") == "db-shop"


def test_an_image_is_tagged_with_its_moment() -> None:
    moment = datetime(2024, 1, 15, 10, 30, 5, 999, tzinfo=UTC)
    assert naming.build_image_tag("shop", moment) == "nvoi-shop:20240115103005"


def test_a_prefix_of_63_characters_stays_and_a_longer_one_ends_in_its_hash() -> None:
    fits, too_long = "a" * 58, "a" * 59
    assert naming.build_prefix(fits) == f"nvoi-{fits}"
    digest = hashlib.sha256(f"nvoi-{too_long}".encode()).hexdigest()[:8]
    assert naming.build_prefix(too_long) == f"nvoi-{'a' * 49}-{digest}"
    assert len(naming.build_prefix(too_long)) == 63
    assert naming.build_prefix(too_long + "b") != naming.build_prefix(too_long + "c")


def test_workloads_and_databases_are_dns_labels() -> None:
    assert naming.build_workload_name("my_shop", "web_1") == "my-shop-web-1"
    assert naming.build_database_name("my_shop_") == "db-my-shop"
    assert len(naming.build_workload_name("a" * 60, "b" * 60)) == 63
    assert len(naming.build_server_name("a" * 60, "b" * 60, 1)) == 63


@pytest.mark.parametrize(
    ("subdomain", "names"),
    [
        (None, ("example.com", "*.example.com")),
        ("", ("example.com", "*.example.com")),
        ("@", ("example.com", "*.example.com")),
        ("www", ("www.example.com",)),
        ("A.b", ("a.b.example.com",)),
        ("*", ("*.example.com",)),
    ],
)
def test_host_names_are_the_domain_or_below_it(
    subdomain: str | None, names: tuple[str, ...]
) -> None:
    assert naming.build_hostnames("Example.com", subdomain) == names


@pytest.mark.parametrize("branch", ["main", "feature-1", "2"])
def test_a_branch_of_letters_digits_and_hyphens_is_taken(branch: str) -> None:
    assert naming.check_branch(branch) == branch


@pytest.mark.parametrize("branch", ["", "Feature", "a/b", "a_b", "a b", "a\n", "é"])
def test_any_other_branch_is_refused(branch: str) -> None:
    with pytest.raises(UsageError, match="--branch"):
        naming.check_branch(branch)
