"""Old images leave a real registry, a real store, and the nodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nvoi.errors import NvoiError
from nvoi.images.cleanup import build_image_deletion, remove_from_registry, remove_here
from nvoi.images.engines import BuiltImage, Podman
from nvoi.images.push import push
from nvoi.images.registries import Registry as Client
from nvoi.process import ask
from tests.integration.images.conftest import MakeImage, Stock
from tests.integration.images.podman import write_checkout
from tests.integration.images.registry import Registry

ENGINE = Podman()
STAMPS = ["20260101000001", "20260101000002", "20260101000003"]

# What k3s has of containerd: `crictl images` as a table with digests, `crictl rmi` that takes all
# names of the same content, as containerd does.
K3S = """\
#!/bin/sh
case "$1 $2" in
"crictl images")
  [ "$*" = "crictl images --digests --no-trunc" ] || exit 2
  printf '%-40s %-20s %-20s %-15s %s\\n' IMAGE TAG DIGEST 'IMAGE ID' SIZE
  cat "$IMAGES"
  ;;
"crictl rmi")
  [ "${3##*:}" != "$IN_USE" ] || { echo "in use" >&2; exit 1; }
  id=$(while read -r one tag digest id rest; do
    case $3 in "$one:$tag" | "$one@$digest") echo "$id" ;; esac
  done <"$IMAGES")
  grep -v " $id " "$IMAGES" >"$IMAGES.new"
  mv "$IMAGES.new" "$IMAGES"
  ;;
*) exit 2 ;;
esac
"""


def list_here(environ: dict[str, str]) -> set[str]:
    return set((ask(ENGINE.list_tags("nvoi-shop"), environ) or "").split())


def test_old_images_leave_the_registry_and_its_disk(registry: Registry, stock: Stock) -> None:
    client = Client(registry.address)
    for stamp, image in zip(STAMPS, (stock.first, stock.changed, stock.heavy), strict=True):
        push(ENGINE, image, client, stock.environ, stamp=stamp)
    blobs = registry.blobs
    assert remove_from_registry(client, "nvoi-shop", [STAMPS[0], STAMPS[2]]) == (STAMPS[1],)
    assert sorted(client.list_tags("nvoi-shop")) == [STAMPS[0], STAMPS[2]]
    assert all(client.find_digest("nvoi-shop", stamp) for stamp in (STAMPS[0], STAMPS[2]))
    registry.collect()
    # Its manifest, its config and the layer of its file.
    assert len(blobs - registry.blobs) == 3
    # And what was taken for old may come back whole.
    push(ENGINE, stock.changed, client, stock.environ, stamp="20260101000009")
    assert registry.blobs == blobs
    # What a kept tag stands for too is not removed.
    push(ENGINE, stock.same, client, stock.environ, stamp="20260101000010")
    kept = ["20260101000009", "20260101000010"]
    assert remove_from_registry(client, "nvoi-shop", kept) == (STAMPS[2],)
    assert client.find_digest("nvoi-shop", kept[1])
    assert remove_from_registry(client, "nvoi-shop", ()) == (STAMPS[0], *kept)
    assert client.list_tags("nvoi-shop") == ()


def push_index(image: BuiltImage, stamp: str, registry: Registry, environ: dict[str, str]) -> None:
    """Push an index with ``image`` alone, as Docker may where it keeps images in containerd."""
    name = f"index-{stamp}"
    for words in (
        ("create", name),
        ("add", name, f"containers-storage:localhost/{image.tag}"),
        (
            *("push", "--all", "--tls-verify=false", name),
            f"docker://{registry.address}/nvoi-shop:{stamp}",
        ),
    ):
        assert ask(("podman", "manifest", *words), environ) is not None


def test_an_image_in_an_index_stays_whole_and_leaves_the_disk_with_it(
    registry: Registry, stock: Stock
) -> None:
    client = Client(registry.address)
    push_index(stock.first, STAMPS[0], registry, stock.environ)
    first = registry.blobs
    push_index(stock.changed, STAMPS[1], registry, stock.environ)
    both = registry.blobs
    registry.collect()
    assert registry.blobs == both
    assert remove_from_registry(client, "nvoi-shop", STAMPS[1:2]) == (STAMPS[0],)
    registry.collect()
    second = client.find_manifest("nvoi-shop", STAMPS[1])
    assert second is not None
    assert len(second.parts) == 1
    # The index, its manifest, its config and the layer of its file.
    assert len(both - registry.blobs) == 4
    assert both - registry.blobs <= first


def test_a_registry_that_lets_nothing_be_deleted_is_told(tmp_path: Path, stock: Stock) -> None:
    registry = Registry(tmp_path / "strict", deletes=False)
    try:
        client = Client(registry.address, name="the registry on web-1")
        push(ENGINE, stock.first, client, stock.environ)
        with pytest.raises(NvoiError, match=r"registry on web-1 cannot delete .*405"):
            remove_from_registry(client, "nvoi-shop", ())
    finally:
        registry.stop()


def test_a_registry_that_is_down_is_told(registry: Registry) -> None:
    registry.stop()
    with pytest.raises(NvoiError, match=r"does not answer at 127.*Connection refused"):
        remove_from_registry(Client(registry.address, patience=False), "nvoi-shop", ())


def test_old_images_leave_this_machine_and_what_is_newer_and_the_layer_cache_stay(
    make: MakeImage, checkout: Path, environ: dict[str, str]
) -> None:
    make(STAMPS[0])
    write_checkout(checkout, text="two")
    kept = make(STAMPS[1])
    # The last may be of a build that goes on beside this run.
    make(STAMPS[2])
    assert remove_here(ENGINE, "nvoi-shop", [STAMPS[1]], environ) == (STAMPS[0],)
    assert list_here(environ) == set(STAMPS[1:])
    # An image with a kept name too loses the other name alone.
    assert remove_here(ENGINE, "nvoi-shop", [STAMPS[2]], environ) == (STAMPS[1],)
    assert list_here(environ) == {STAMPS[2]}
    assert make("20260101000004").id == kept.id


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """The environment of a node with five images."""
    programs = tmp_path / "node"
    programs.mkdir()
    (programs / "k3s").write_text(K3S)
    (programs / "k3s").chmod(0o755)
    rows = [
        ("10.43.0.100:5000/nvoi-shop", STAMPS[0], "sha256:a1", "aaaaaaaaaaaaa"),
        ("10.43.0.100:5000/nvoi-shop", STAMPS[1], "sha256:b1", "bbbbbbbbbbbbb"),
        ("10.43.0.100:5000/nvoi-shop", STAMPS[2], "sha256:c1", "ccccccccccccc"),
        ("10.43.0.100:5000/nvoi-shop-staging", STAMPS[0], "sha256:d1", "ddddddddddddd"),
        ("docker.io/library/postgres", "17", "sha256:e1", "eeeeeeeeeeeee"),
    ]
    images = tmp_path / "images"
    images.write_text("".join("{:40} {:20} {:20} {:15} 4.2MB\n".format(*row) for row in rows))
    path = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "IMAGES": str(images), "IN_USE": ""}


def run_on(node: dict[str, str], *kept: str) -> subprocess.CompletedProcess[str]:
    command = build_image_deletion("10.43.0.100:5000", "nvoi-shop", kept)
    return subprocess.run(
        ["sh", "-c", command.reveal()], env=node, capture_output=True, text=True, check=False
    )


def read_images(node: dict[str, str]) -> list[str]:
    return [line.split()[3][0] for line in Path(node["IMAGES"]).read_text().splitlines()]


def test_a_node_loses_the_old_images_of_this_app_alone(node: dict[str, str]) -> None:
    done = run_on(node, STAMPS[1], STAMPS[2])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{STAMPS[0]}\n", "")
    assert read_images(node) == ["b", "c", "d", "e"]
    again = run_on(node, STAMPS[1], STAMPS[2])
    assert (again.returncode, again.stdout) == (0, "")


def test_a_node_that_keeps_none_loses_all_of_this_app(node: dict[str, str]) -> None:
    assert run_on(node).stdout.split() == STAMPS
    assert read_images(node) == ["d", "e"]


def test_a_node_loses_what_it_pulled_by_a_digest_that_is_not_kept(node: dict[str, str]) -> None:
    images = Path(node["IMAGES"])
    text = images.read_text()
    for stamp in STAMPS:
        text = text.replace(stamp, f"{'<none>':{len(stamp)}}")
    images.write_text(text)
    done = run_on(node, *STAMPS[1:], "sha256:b1", "sha256:c1")
    assert (done.returncode, done.stdout) == (0, "sha256:a1\n")
    assert read_images(node) == ["b", "c", "d", "e"]


def test_a_node_keeps_an_old_name_of_content_that_is_kept(node: dict[str, str]) -> None:
    images = Path(node["IMAGES"])
    images.write_text(images.read_text().replace("aaaaaaaaaaaaa", "ccccccccccccc"))
    assert run_on(node, STAMPS[2]).stdout.split() == [STAMPS[1]]
    assert read_images(node) == ["c", "c", "d", "e"]


def test_an_image_that_a_node_does_not_let_go_is_left(node: dict[str, str]) -> None:
    done = run_on({**node, "IN_USE": STAMPS[0]}, STAMPS[2])
    assert (done.returncode, done.stdout.split()) == (0, [STAMPS[1]])
    assert read_images(node) == ["a", "c", "d", "e"]


def test_a_node_without_k3s_is_an_error(node: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "node/k3s").unlink()
    assert run_on(node).returncode != 0
