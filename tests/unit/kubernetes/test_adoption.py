"""What the Ruby gem has made, told from what only has a name of its, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from nvoi.kubernetes.adoption import (
    build_marks,
    build_way_in,
    describe,
    find_detached,
    find_faults,
    find_made,
    find_turned,
    is_data_inside,
)
from nvoi.kubernetes.ownership import find_obsolete, is_owned, read_reference
from tests.fakes import gem
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs

TEXT = hetzner(
    """\
    app:
      web: {servers: [main], port: 3000}
      files: {servers: [main], mounts: {data: /data}}
    services: {cache: {servers: [main], image: 'redis:7'}}
    """,
    configs.VOLUME,
)
APPLICATION = configs.load_application(TEXT)
WANTED = configs.build(TEXT).kept


def build_live() -> list[Any]:
    """The gem's objects, and a ReplicaSet as Kubernetes makes it."""
    owner = {"kind": "Deployment", "name": "shop-web"}
    replicas = {"name": "shop-web-5d4", "ownerReferences": [owner], "labels": {"app": "shop-web"}}
    return [
        *gem.build_service("shop-web", gem.IMAGE, 3000),
        gem.build_deployment("shop-files", gem.IMAGE),
        *gem.build_service("shop-cache", "redis:7", 6379),
        gem.build_deployment("cloudflared-web", "cloudflare/cloudflared:latest"),
        *gem.build_service("nvoi-registry", "registry:2", 5000),
        {"kind": "ReplicaSet", "metadata": replicas},
    ]


def build_secret(name: str, **labels: str) -> Any:
    """What the cluster tells of a Secret: its metadata alone."""
    return {"kind": "Secret", "metadata": {"name": name, "labels": labels}}


def find(live: list[Any], *secrets: str) -> list[Any]:
    return find_made(APPLICATION, [*live, *map(build_secret, secrets)])


def mark(item: Any) -> Any:
    """An object as it is once it was taken over."""
    change = build_marks(APPLICATION, item)["metadata"]
    metadata = item["metadata"]
    labels = {**metadata.get("labels", {}), **change["labels"]}
    return item | {"metadata": metadata | change | {"labels": labels}}


def names(items: Any) -> set[str]:
    return {str(read_reference(item)) for item in items}


def test_the_gem_s_objects_are_known_by_their_names_and_selectors() -> None:
    others = [gem.build_deployment("blog-web", gem.IMAGE), gem.build_deployment("shop-old", "a")]
    helm = gem.build_deployment("shop-cache", "redis:7")
    helm["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    elsewhere = gem.build_deployment("shop-files", "a")
    elsewhere["spec"]["selector"] = {"matchLabels": {"app": "files"}}
    others.append(build_secret("db-secret-shop", **helm["metadata"]["labels"]))
    found = find([*build_live()[:2], helm, elsewhere, *others], "app-secret-shop", "tls")
    assert names(found) == {"deployment/shop-web", "service/shop-web", "secret/app-secret-shop"}


def test_secrets_and_disks_alone_are_not_taken_for_the_gem_s() -> None:
    assert find([], "app-secret-shop", "db-secret-shop") == []


def test_the_gem_s_registry_stays_while_others_pull_from_it() -> None:
    assert "deployment/nvoi-registry" in names(find(build_live()))
    shared = [*build_live(), gem.build_deployment("blog-web", gem.IMAGE)]
    assert not {"deployment/nvoi-registry", "service/nvoi-registry"} & names(find(shared))


def test_what_was_taken_over_is_the_app_s_and_is_found_no_more() -> None:
    marked = [mark(item) for item in find(build_live())]
    assert all(is_owned(item, "shop") for item in marked)
    assert find(marked) == []
    # Nothing but the gem's own Deployment may select its ReplicaSet.
    (replicas,) = (item for item in marked if item["kind"] == "ReplicaSet")
    assert "app.kubernetes.io/instance" not in replicas["metadata"]["labels"]


def test_pods_go_on_where_two_may_run_and_services_lead_to_them_until_then() -> None:
    live = [mark(item) for item in find(build_live())]
    detached = find_detached(live, WANTED)
    assert {one.name for one in detached} == {"shop-web", "shop-cache"}
    assert names(find_turned(live, WANTED)) == {"service/shop-web"}
    obsolete = {str(one) for one in find_obsolete("shop", live, WANTED)}
    assert {"replicaset/shop-web-5d4", "deployment/cloudflared-web"} <= obsolete
    assert "deployment/shop-web" not in obsolete


def test_everything_is_shown_with_what_becomes_of_it() -> None:
    fates = {
        "deployment/shop-web": "is made anew; its pods go on until the release serves",
        "deployment/shop-files": "stops and is made anew, on the data that it has",
        "service/shop-web": "leads to the new pods once they are ready",
        "deployment/cloudflared-web": "is removed once the release serves",
    }
    shown = [describe(item, WANTED) for item in build_live() if item["kind"] != "ReplicaSet"]
    for name, fate in fates.items():
        assert f"{name}: {fate}" in shown


def test_a_port_that_the_gem_took_from_an_image_is_asked_for() -> None:
    (fault,) = find_faults(APPLICATION, find(build_live()), WANTED)
    assert "reach cache at shop-cache:6379" in fault
    assert "add `port: 6379` to services.cache" in fault


@pytest.mark.parametrize(("adapter", "inside"), [("postgresql", False), ("mysql", True)])
def test_data_that_the_gem_left_in_a_container_is_known(adapter: str, inside: bool) -> None:
    _, database, _ = gem.build_database(adapter)
    assert is_data_inside(database) is inside


def test_what_led_visitors_to_the_old_pods_may_reach_the_new_ones_meanwhile() -> None:
    policy: Any = build_way_in(APPLICATION, "run/1")
    (rule,) = policy["spec"]["ingress"]
    assert "'ingress-nginx'" in str(rule)
    assert "'cloudflared-web'" in str(rule)
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "shop"}
    assert str(read_reference(policy)) in {
        str(one) for one in find_obsolete("shop", [policy], WANTED)
    }
