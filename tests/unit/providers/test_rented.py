from __future__ import annotations

import pytest

from nvoi.providers.cloud_init import LARGEST_USER_DATA, build_user_data, generate_host_key
from nvoi.providers.rented import (
    LABEL_VALUE,
    build_label_value,
    build_labels,
    find_other_owner,
    list_name_faults,
    list_wanted,
)
from tests.unit.config.texts import hetzner, parse

SERVERS = """\
servers:
  work: {count: 2, type: cx33, volumes: {data: {size: 20, uid: 999}}}
  main: {master: true, location: nbg1}
"""


def test_the_master_is_wanted_first_and_volumes_on_one_server_of_a_group() -> None:
    application = parse(hetzner("app: {web: {servers: [main]}}", SERVERS)).application
    wanted = list(list_wanted(application))
    assert [(one.name, one.type, one.location, one.is_master) for one in wanted] == [
        ("shop-main-1", "cx23", "nbg1", True),
        ("shop-work-1", "cx33", "x", False),
        ("shop-work-2", "cx33", "x", False),
    ]
    assert [[volume.name for volume in one.volumes] for one in wanted] == [
        [],
        ["shop-work-data"],
        [],
    ]


def test_volumes_that_have_one_name_between_them_are_told() -> None:
    groups = (
        "servers: {main: {master: true}, a: {volumes: {b-c: {}}}, a-b: {volumes: {c: {}, d: {}}}}"
    )
    application = parse(hetzner("app: {web: {servers: [main], port: 3000}}", groups)).application
    (fault,) = list_name_faults(application)
    assert fault.path == "application.servers.a-b.volumes.c"
    other = "application.servers.a.volumes.b-c"
    assert fault.message == f"has the name shop-a-b-c, as {other}: rename one"


def test_labels_name_the_app_and_its_environment() -> None:
    application = parse(hetzner("app: {web: {servers: [main]}}\nenvironment: QA 1")).application
    assert build_labels(application, "main") == {
        "managed-by": "nvoi",
        "app": "shop",
        "environment": build_label_value("QA 1"),
        "group": "main",
    }


@pytest.mark.parametrize("text", ["production", "a", "0.1", "x" * 63])
def test_a_value_that_labels_take_stays(text: str) -> None:
    assert build_label_value(text) == text


@pytest.mark.parametrize("text", ["my env", "-x", "x_", "x" * 64, "ä", "…", "prod/eu", " "])
def test_another_becomes_one_that_is_told_from_others(text: str) -> None:
    value = build_label_value(text)
    assert LABEL_VALUE.fullmatch(value)
    assert value != build_label_value(f"{text}-")


def test_labels_of_others_tell_their_owner() -> None:
    own = {"managed-by": "nvoi", "app": "shop", "environment": "production", "group": "main"}
    assert find_other_owner({}, own) is None
    assert find_other_owner({"team": "a", "group": "other"}, own) is None
    assert find_other_owner({**own, "group": "work"}, own) is None
    assert find_other_owner({"app": "blog"}, own) == "app=blog"
    assert find_other_owner({"managed-by": "terraform"}, own) == "managed-by=terraform"
    tool = {"app.kubernetes.io/managed-by": "helm"}
    assert find_other_owner(tool, own) == "app.kubernetes.io/managed-by=helm"


def test_the_user_data_are_small_enough_for_every_cloud() -> None:
    text = build_user_data("n" * 63, "ssh-ed25519 " + "A" * 1000, generate_host_key())
    assert len(text.encode()) < LARGEST_USER_DATA
