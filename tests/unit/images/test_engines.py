"""The words of each engine, and the names of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.images.engines import (
    Buildx,
    Docker,
    Engine,
    Image,
    Podman,
    find_newest,
    strip_digest,
)

OLD, MIDDLE, NEW = "20260101000000", "20260202000000", "20260303000000"
TAG = "nvoi-shop:20260101000000"
REFERENCE = "127.0.0.1:10123/nvoi-shop:20260101000000"
ENGINES: list[Engine] = [Docker(), Buildx(), Podman()]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_platform_the_file_and_the_checkout_are_said(engine: Engine) -> None:
    folder = Path("/work dir")
    words = engine.build(folder, folder / "deploy/Dockerfile", TAG, "linux/arm64", None)
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert words[words.index("--file") + 1] == "/work dir/deploy/Dockerfile"
    assert words[words.index("--tag") + 1].endswith(TAG)
    assert words[-1] == "/work dir"
    assert "--cache-from" not in words


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_cache_is_used_by_those_that_can(engine: Engine) -> None:
    words = engine.build(Path("/app"), Path("/app/Dockerfile"), TAG, "linux/amd64", REFERENCE)
    assert any(REFERENCE in word for word in words) == engine.can_use_cache


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_name_that_a_push_gives_is_taken_back(engine: Engine) -> None:
    *before, last = engine.push(TAG, REFERENCE)
    assert last[1] == "push"
    assert last[-1] == REFERENCE
    assert bool(before) == (engine.forget(REFERENCE) is not None)


def test_podman_looks_for_its_own_images_in_no_registry() -> None:
    podman = Podman()
    assert podman.inspect(TAG)[-1] == f"localhost/{TAG}"
    assert podman.remove(TAG)[-1] == f"localhost/{TAG}"
    assert podman.list_tags("nvoi-shop")[-1] == "localhost/nvoi-shop"
    assert f"localhost/{TAG}" in podman.push(TAG, REFERENCE)[0]


def test_podman_builds_without_tls_checks_turned_off() -> None:
    words = Podman().build(Path("/app"), Path("/app/Dockerfile"), TAG, "linux/amd64", None)
    assert not any("tls" in word for word in words)


def test_an_image_knows_its_repository_and_stamp() -> None:
    image = Image(f"nvoi-shop:{NEW}", "ab" * 32)
    assert (image.repository, image.stamp) == ("nvoi-shop", NEW)


def test_ids_are_the_same_with_and_without_their_algorithm() -> None:
    assert strip_digest("sha256:abc\n") == strip_digest("abc") == "abc"


def test_only_stamps_count_as_the_newest() -> None:
    assert find_newest(["latest", OLD, NEW, MIDDLE, "v9"]) == NEW
    assert find_newest(["latest"]) is None
