from __future__ import annotations

import pytest

from nvoi.kubernetes.checks import find_faults
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes.configs import NAMES, POSTGRES, load_application


def faults(text: str) -> list[str]:
    return [f"{fault.path}: {fault.message}" for fault in find_faults(load_application(text))]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "names"])
def test_a_config_that_fits_has_no_faults(name: str) -> None:
    assert faults(name) == []


@pytest.mark.parametrize("name", ["shop-", "shop_", "a___b"])
def test_a_name_that_no_image_can_have_is_refused(name: str) -> None:
    (fault,) = faults(hetzner().replace("name: shop", f"name: {name}"))
    assert fault.startswith("application.name: cannot be in an image's name")


def test_a_database_of_an_unknown_kind_is_refused() -> None:
    (fault,) = faults(hetzner("database: {servers: [main], image: 'cockroach:1'}"))
    assert fault.startswith("application.database.adapter: is required")


def test_a_service_with_the_database_s_name_is_refused() -> None:
    text = hetzner(
        "services: {db: {servers: [main], image: i}}\n" + POSTGRES,
        "servers: {main: {volumes: {data: {}}}}",
    )
    (fault,) = faults(text.replace("name: shop", "name: db"))
    assert fault == "application.services.db: has the database's name, db-db"


@pytest.mark.parametrize("name", ["3d-shop", "_3d"])
def test_a_name_that_no_service_can_begin_with_is_refused(name: str) -> None:
    found = faults(hetzner().replace("name: shop", f"name: {name}"))
    assert "application.name: must begin with a letter" in found
