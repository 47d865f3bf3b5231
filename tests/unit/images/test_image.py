"""Names, ids and choices that are pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.errors import UsageError
from nvoi.images.cleanup import build_node_removal, find_expired_tags
from nvoi.images.context import find_dockerfile
from nvoi.images.engines import Image, find_newest, strip_digest
from nvoi.images.push import choose_ports
from nvoi.images.registry import Manifest

OLD, MIDDLE, NEW = "20260101000000", "20260202000000", "20260303000000"


def test_an_image_knows_its_repository_and_stamp() -> None:
    image = Image(f"nvoi-shop:{NEW}", "ab" * 32)
    assert (image.repository, image.stamp) == ("nvoi-shop", NEW)


def test_ids_are_the_same_with_and_without_their_algorithm() -> None:
    assert strip_digest("sha256:abc\n") == strip_digest("abc") == "abc"


def test_only_stamps_count_as_the_newest() -> None:
    assert find_newest(["latest", OLD, NEW, MIDDLE, "v9"]) == NEW
    assert find_newest(["latest"]) is None


def test_a_manifest_is_known_by_its_own_digest_or_its_configs() -> None:
    manifest = Manifest("sha256:aa", "sha256:bb")
    assert manifest.is_of("aa")
    assert manifest.is_of("bb")
    assert not manifest.is_of("cc")
    assert not Manifest("sha256:aa", None).is_of("bb")
    assert not Manifest("sha256:aa", None).is_of("")


def test_what_is_kept_and_what_is_newer_stays() -> None:
    assert find_expired_tags([NEW, OLD, MIDDLE], {MIDDLE}) == (OLD,)
    assert find_expired_tags([NEW, OLD, MIDDLE], {OLD, NEW}) == (MIDDLE,)
    assert find_expired_tags([NEW, OLD, MIDDLE], {NEW, OLD, MIDDLE}) == ()


def test_where_none_is_kept_all_expire() -> None:
    assert find_expired_tags([NEW, OLD], ()) == (OLD, NEW)


def test_tags_that_nvoi_did_not_make_stay() -> None:
    assert find_expired_tags(["latest", "1.0", OLD], {NEW}) == (OLD,)


def test_a_registrys_ports_are_its_own_and_the_same_each_time() -> None:
    ports = choose_ports("web-1 10.43.0.100:5000")
    assert ports == choose_ports("web-1 10.43.0.100:5000")
    assert ports != choose_ports("web-2 10.43.0.100:5000")
    # Kubelet's, on a server that nvoi itself runs on.
    assert min(ports) > 10250
    assert all(1024 < port < 32768 for port in ports)


def test_a_nodes_command_quotes_what_it_is_given() -> None:
    command = build_node_removal("10.43.0.100:5000", "nvoi-shop", {NEW, OLD})
    assert command.reveal().endswith(f" nvoi-images 10.43.0.100:5000/nvoi-shop {OLD} {NEW}")


def test_a_checkouts_dockerfile_is_found(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    assert find_dockerfile(tmp_path) == tmp_path.resolve() / "Containerfile"
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert find_dockerfile(tmp_path) == tmp_path.resolve() / "Dockerfile"


def test_the_dockerfile_that_is_named_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/web").write_text("FROM scratch\n")
    assert find_dockerfile(tmp_path, "deploy/web") == tmp_path.resolve() / "deploy/web"


def test_a_checkout_without_dockerfile_is_told_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no Dockerfile") as caught:
        find_dockerfile(tmp_path)
    assert caught.value.exit_code == 2
    assert "--dockerfile-path" in caught.value.hint
    assert "image" in caught.value.hint


@pytest.mark.parametrize(("name", "why"), [("missing", "is not there"), ("folder", "is a folder")])
def test_a_named_dockerfile_that_is_none_is_told(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(UsageError, match=f"--dockerfile-path: .*{name} {why}"):
        find_dockerfile(tmp_path, name)
