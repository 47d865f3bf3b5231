"""The example for servers goes where docs/cluster.md leads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.images.podman import BUSYBOX, build_podman_environ
from tests.integration.pages import ROOT
from tests.integration.targets.cluster.conftest import StartFleet
from tests.integration.targets.cluster.fleet import PATIENCE, Fleet

SHOP = ROOT / "examples" / "shop"

#: In place of the image that the example's is built from, which comes from a registry: there
#: are a shell and a pip that asks for what it is given.
BASE = "docker.io/library/python:3.13-slim"
PIP = "#!/bin/sh\ncat requirements.txt\n"


@pytest.fixture
def shop(start_fleet: StartFleet) -> Fleet:
    """The example and two servers, on which nothing is yet."""
    fleet = start_fleet("main", "workers")
    shutil.copytree(SHOP, fleet.checkout, dirs_exist_ok=True)
    fleet.environ = build_podman_environ(fleet.folder / "podman", fleet.environ)
    build_base(fleet, fleet.folder / "base")
    text = (SHOP / "deploy.yml").read_text().replace("$POSTGRES_PASSWORD", "pa55word-of-shop")
    config: dict[str, Any] = YAML(typ="safe").load(text)["application"]
    assert list(config["servers"]) == ["main", "workers"]
    fleet.application = {key: config[key] for key in ("app", "database")} | {
        "volumes": {"main": config["servers"]["main"]["volumes"]}
    }
    return fleet


def build_base(fleet: Fleet, folder: Path) -> None:
    programs = folder / "bin"
    programs.mkdir(parents=True)
    shutil.copy(BUSYBOX, programs / "busybox")
    for name in ("sh", "cat"):
        (programs / name).symlink_to("busybox")
    (programs / "pip").write_text(PIP)
    (programs / "pip").chmod(0o755)
    archive = shutil.make_archive(str(folder / "base"), "tar", folder, "bin")
    subprocess.run(
        ["podman", "import", "--quiet", archive, BASE],
        env=fleet.environ,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )


def test_the_example_is_deployed_and_deleted_and_its_data_stays(shop: Fleet) -> None:
    deploy = shop.run()
    assert deploy.code == 0, deploy.output + deploy.errors
    (stamp,) = shop.list_tags()
    for name, replicas in (("shop-web", 2), ("shop-worker", 1)):
        deployment = shop.state.find("Deployment", name)
        assert deployment["status"]["readyReplicas"] == replicas
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == shop.find_image(stamp)
    assert shop.state.find("StatefulSet", "db-shop")["status"]["readyReplicas"] == 1
    assert f"shop-web-pre-run-{stamp}: done" in deploy.output
    volume = shop.master.root / "opt/nvoi/volumes/shop-main-database"
    assert volume.is_dir()

    delete = shop.run("delete", "--yes")
    assert delete.code == 0, delete.output + delete.errors
    assert shop.list_tags() == []
    for kind in ("Deployment", "StatefulSet", "Job", "Pod"):
        assert [name for name in shop.state.names(kind) if "registry" not in name] == []
    assert volume.is_dir()
    said = (deploy.output, deploy.errors, delete.output, delete.errors)
    assert "pa55word-of-shop" not in "".join(said)
