"""The words of each engine, and the names of images."""

from __future__ import annotations

from pathlib import Path

from nvoi.images.engines import Podman, find_newest

OLD, MIDDLE, NEW = "20260101000000", "20260202000000", "20260303000000"
TAG = "nvoi-shop:20260101000000"


def test_podman_builds_without_tls_checks_turned_off() -> None:
    words = Podman().build(Path("/app"), Path("/app/Dockerfile"), TAG, "linux/amd64", None)
    assert not any("tls" in word for word in words)


def test_only_stamps_count_as_the_newest() -> None:
    assert find_newest(["latest", OLD, NEW, MIDDLE, "v9"]) == NEW
    assert find_newest(["latest"]) is None
