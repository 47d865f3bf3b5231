"""What is as its manifest says, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nvoi.kubernetes.drift import holds, is_unchanged, sign
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs

TEXT = hetzner(configs.WEB + configs.POSTGRES, configs.VOLUME)


def build(deploy_id: str = "run/1") -> list[Any]:
    return [*configs.build(TEXT, deploy_id=deploy_id).kept]


def complete(item: Any) -> Any:
    """An object as the API keeps it: with defaults, its own fields, and amounts in its own way."""
    live: Any = copy.deepcopy(sign(item))
    live["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    live["status"] = {"replicas": 1}
    if "template" in live.get("spec", {}):
        (container,) = live["spec"]["template"]["spec"]["containers"]
        container |= {"imagePullPolicy": "IfNotPresent"}
        limits = container["resources"]["limits"]
        limits["cpu"] = {"1000m": "1"}.get(limits["cpu"], limits["cpu"])
        live["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst"}
    return live


def test_what_was_applied_by_another_deploy_and_is_so_still_is_unchanged() -> None:
    for item, again in zip(build(), build("run/2"), strict=True):
        # Nothing beside a Secret says what it holds.
        assert is_unchanged(complete(item), again) is (item["kind"] != "Secret")
        assert not is_unchanged(None, again)


def test_what_others_have_changed_or_deleted_is_not() -> None:
    for item in build():
        live = complete(item)
        live["metadata"]["labels"]["app.kubernetes.io/part-of"] = "blog"
        assert not is_unchanged(live, item)
        gone = complete(item)
        gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert not is_unchanged(gone, item)
    deployment = configs.find(build(), "Deployment", "shop-web")
    live = complete(deployment)
    live["spec"]["replicas"] = 5
    assert not is_unchanged(live, deployment)


def test_what_a_manifest_no_longer_names_is_seen() -> None:
    """It is in the object still, which says all that the manifest says."""
    deployment = configs.find(build(), "Deployment", "shop-web")
    less = copy.deepcopy(deployment)
    del configs.container_of(less)["ports"]
    live = complete(deployment)
    assert holds(live, less)
    assert not is_unchanged(live, less)


def test_what_an_earlier_version_has_applied_is_applied_again() -> None:
    for item in build():
        live = complete(item)
        live["metadata"]["annotations"].pop("nvoi.io/manifest", None)
        assert not is_unchanged(live, item)


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ("1", "1000m", True),
        ("1Gi", "1024Mi", True),
        ("2", "1000m", False),
        ("512Mi", "1Gi", False),
        (None, {}, True),
        (None, [], True),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ({"a": 1}, {"a": 2}, False),
        ("text", {"a": 1}, False),
        (False, None, True),
    ],
)
def test_values_are_compared_by_what_they_mean(live: Any, wanted: Any, same: bool) -> None:
    assert holds(live, wanted) is same
