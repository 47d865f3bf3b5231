from __future__ import annotations

from typing import Any

import pytest

from nvoi.kubernetes.registry import build_registry
from tests.unit.kubernetes import configs
from tests.unit.kubernetes.schemas import VERSIONS, find_errors


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", configs.NAMES)
def test_every_manifest_passes_the_cluster_s_schemas(name: str, version: str) -> None:
    for manifest in configs.build(name).all:
        assert find_errors(manifest, version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_registry_passes_the_cluster_s_schemas(version: str) -> None:
    for manifest in build_registry("id", node="shop-main-1"):
        assert find_errors(manifest, version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_refuse_what_kubernetes_does_not_know(version: str) -> None:
    manifest: Any = configs.find(configs.build("web"), "Deployment", "shop-web")
    configs.container_of(manifest)["imagePullPolice"] = "Always"
    manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = []
    errors = " ".join(find_errors(manifest, version))
    assert "imagePullPolice" in errors
    assert "maxSurge" in errors
