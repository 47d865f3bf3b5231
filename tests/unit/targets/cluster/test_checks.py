from __future__ import annotations

import pytest

from nvoi.targets.cluster.checks import find_faults
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes.configs import NAMES, POSTGRES, load_application


def faults(text: str) -> list[str]:
    return [f"{fault.path}: {fault.message}" for fault in find_faults(load_application(text))]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "names"])
def test_a_config_that_fits_has_no_faults(name: str) -> None:
    assert faults(name) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop-", "cannot be in an image's name"),
        ("shop_", "cannot be in an image's name"),
        ("a___b", "cannot be in an image's name"),
        ("3d-shop", "must begin with a letter"),
        ("_3d", "must begin with a letter"),
    ],
)
def test_a_name_that_no_image_or_service_can_have_is_refused(name: str, message: str) -> None:
    found = faults(hetzner().replace("name: shop", f"name: {name}"))
    assert any(fault.startswith(f"application.name: {message}") for fault in found)


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


GIVEN = {
    "app.web": "app: {web: {servers: [main], resources: %s}}",
    "services.cache": "services: {cache: {servers: [main], image: i, resources: %s}}",
    "database": POSTGRES + "  resources: %s\n",
}


@pytest.mark.parametrize("path", GIVEN)
@pytest.mark.parametrize(
    ("resources", "told"),
    [
        (
            "{requests: {memory: 2Gi}, limits: {memory: 2G}}",
            "requests.memory is 2Gi, above limits.memory, 2G",
        ),
        ("{requests: {memory: 1025Mi}}", "requests.memory is 1025Mi, above limits.memory, "),
        (
            "{requests: {cpu: 1.001}, limits: {cpu: 1}}",
            "requests.cpu is 1.001, above limits.cpu, 1",
        ),
        ("{requests: {cpu: 1001m}}", "requests.cpu is 1001m, above limits.cpu, "),
    ],
)
def test_what_is_promised_more_than_it_may_use_is_refused(
    path: str, resources: str, told: str
) -> None:
    (fault,) = faults(hetzner(GIVEN[path] % resources, "servers: {main: {volumes: {data: {}}}}"))
    assert fault.startswith(f"application.{path}.resources: ")
    assert told in fault
    assert fault.endswith("; what is left out has its default")


def test_a_limit_below_what_is_promised_by_default_is_refused_but_for_databases() -> None:
    resources = "{limits: {memory: 64Mi, cpu: 50m}}"
    memory, cpu = faults(hetzner(GIVEN["app.web"] % resources))
    assert "requests.memory is 128Mi, above limits.memory, 64Mi" in memory
    assert "requests.cpu is 100m, above limits.cpu, 50m" in cpu
    volumes = "servers: {main: {volumes: {data: {}}}}"
    assert faults(hetzner(GIVEN["database"] % resources, volumes)) == []


@pytest.mark.parametrize("path", GIVEN)
@pytest.mark.parametrize(
    "resources",
    [
        "{requests: {memory: 1Gi, cpu: 1}, limits: {memory: 1024Mi, cpu: 1000m}}",
        "{requests: {memory: 2G, cpu: 0.5}, limits: {memory: 2Gi, cpu: 501m}}",
        "{limits: {memory: 4Gi, cpu: 8}}",
        "{}",
    ],
)
def test_what_may_be_used_in_full_is_no_fault(path: str, resources: str) -> None:
    text = hetzner(GIVEN[path] % resources, "servers: {main: {volumes: {data: {}}}}")
    assert faults(text) == []


def test_a_database_that_is_elsewhere_is_promised_nothing() -> None:
    database = "{url: 'postgres://u@h/d', adapter: postgres, resources: {limits: {memory: 8Mi}}}"
    assert faults(hetzner(f"database: {database}").replace("{url", "{servers: [main], url")) == []
