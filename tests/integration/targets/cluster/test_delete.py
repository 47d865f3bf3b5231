"""`nvoi delete` on servers of one's own, beside other apps."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.integration.targets.cluster.conftest import StartFleet
from tests.integration.targets.cluster.fleet import DATABASE, Fleet
from tests.waiting import PATIENCE

KINDS = ("Deployment", "StatefulSet", "Service", "Secret", "Job")


def list_all(fleet: Fleet) -> dict[str, list[str]]:
    """What there is of the kinds that apps have."""
    return {kind: names for kind in KINDS if (names := fleet.state.names(kind))}


def deploy(fleet: Fleet) -> None:
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output


def test_all_that_an_app_has_is_removed_and_its_data_where_that_is_asked_for(
    fleet: Fleet,
) -> None:
    fleet.application["volumes"] = {"main": {"data": {}, "extra": {}}}
    fleet.web["mounts"] = {"data": "/data"}
    fleet.application["database"] = DATABASE
    fleet.build_image()
    deploy(fleet)
    folders = fleet.master.root / "opt/nvoi/volumes"
    (folders / "shop-main-extra" / "kept").write_text("data")
    # Of an app on the same server, and of nobody knows whom.
    for path in ("shop-main-blue-data", ".apps/shop-main/shop-main-blue-data", "shop-old-data"):
        (folders / path).mkdir(parents=True)
    del fleet.application["volumes"]["main"]["extra"]
    kept = fleet.run("delete", "--yes")
    assert kept.code == 0, kept.output
    assert list_all(fleet) == {}
    assert fleet.list_tags() == []
    assert (folders / "shop-main-extra" / "kept").read_text() == "data"
    assert (folders / "shop-main-data").stat().st_mode & 0o7777 == 0o777
    assert len(fleet.state.names("PersistentVolumeClaim")) == 1
    place = "shop-main-1: /opt/nvoi/volumes"
    assert f"Its data stays: {place}/shop-main-data\n" in kept.output
    assert f"Its data stays: {place}/shop-main-extra\n" in kept.output
    assert "Its data stays: persistentvolumeclaim/data-db-shop-0\n" in kept.output
    assert "`nvoi delete --delete-volumes` removes it" in kept.output
    # There is nothing else to remove any more.
    outcome = fleet.run("delete", "--yes", "--delete-volumes")
    assert outcome.code == 0, outcome.output
    assert f"Removed {place}/shop-main-extra\n" in outcome.output
    assert f"{place}/shop-old-data may be its data or another app's, and stays" in outcome.output
    assert "shop-main-blue-data" not in kept.output + outcome.output
    left = [".apps", "shop-main-blue-data", "shop-old-data"]
    assert sorted(one.name for one in folders.iterdir()) == left
    assert [one.name for one in (folders / ".apps").iterdir()] == ["shop-main"]
    assert fleet.state.names("PersistentVolumeClaim") == []
    assert fleet.hosts["main"].removals == []


def test_another_app_and_k3s_stay_while_they_are_needed(fleet: Fleet) -> None:
    fleet.application["database"] = DATABASE
    deploy(fleet)
    other: dict[str, Any] = {**fleet.application, "name": "blog"}
    del other["database"]
    fleet.answer("blog-web", fleet.app_server.port)
    own, fleet.application = fleet.application, other
    deploy(fleet)
    before = {
        kind: blog
        for kind, names in list_all(fleet).items()
        if (blog := [one for one in names if "blog" in one])
    }
    fleet.application = own
    outcome = fleet.run("delete", "--yes", "--cluster")
    assert outcome.code == 1
    assert "the cluster also runs blog" in outcome.output
    assert list_all(fleet) == before
    fleet.application = other
    outcome = fleet.run("delete", "--yes", "--cluster")
    assert outcome.code == 1
    assert "the cluster's own disk has data, which would go with it" in outcome.output
    assert "--delete-volumes" in outcome.output
    assert fleet.hosts["main"].removals == []
    fleet.application = own
    assert fleet.run("delete", "--yes", "--cluster", "--delete-volumes").code == 0
    assert fleet.hosts["main"].removals == ["k3s"]


def test_k3s_goes_where_that_is_asked_for_and_the_worker_s_first(start_fleet: StartFleet) -> None:
    fleet = start_fleet("main", "work", "left")
    deploy(fleet)
    # One that the config does not name any more is still a node.
    del fleet.places["left"]
    outcome = fleet.run("delete", "--yes", "--cluster")
    assert outcome.code == 0, outcome.output
    assert fleet.hosts["main"].removals == ["k3s"]
    assert fleet.hosts["work"].removals == fleet.hosts["left"].removals == ["k3s-agent"]
    assert fleet.run("delete", "--yes", "--cluster").code == 0


def list_images(fleet: Fleet) -> str:
    """The images on this machine, as podman tells them."""
    words = ["podman", "images", "--format", "{{.Repository}}"]
    run = subprocess.run(
        words, env=fleet.environ, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    return run.stdout


def test_what_cannot_be_reached_stays_and_is_told_and_all_else_goes(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    fleet.application["volumes"] = {"work": {"data": {}}}
    fleet.build_image()
    deploy(fleet)
    assert "nvoi-shop" in list_images(fleet)
    before = list_all(fleet)
    # Without its master nothing is known of the servers: the images on this machine go alone.
    fleet.master.stop()
    outcome = fleet.run("delete", "--yes", "--cluster", "--delete-volumes")
    assert outcome.code == 1
    assert "shop-main-1, which cannot be reached" in outcome.output
    assert "shop-work-1, of which its master must tell" in outcome.output
    assert "nvoi-shop" not in list_images(fleet)
    assert list_all(fleet) == before
    assert (fleet.machines["work"].root / "opt/nvoi/volumes/shop-work-data").is_dir()
    assert fleet.hosts["work"].removals == []
    fleet.master.start()
    fleet.machines["work"].stop()
    fleet.registry.stop()
    outcome = fleet.run("delete", "--yes")
    assert outcome.code == 1
    assert list_all(fleet) == {}
    reason, remedy = outcome.output.splitlines()[-2:]
    assert "not all of shop is gone" in reason
    assert "run it again" in remedy
    assert "shop-work-1" in outcome.output
    assert "the images in the registry" in outcome.output
