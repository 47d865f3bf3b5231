"""Servers that leave the config, and those that are away."""

from __future__ import annotations

from tests.integration.targets.cluster.conftest import StartFleet
from tests.integration.targets.cluster.fleet import IMAGE, Fleet
from tests.integration.targets.cluster.test_deploy import find_image, find_steps

NEW = "registry.example/web:2"
LONG_AGO = "2026-01-01T00:00:00Z"


def list_pods(fleet: Fleet, node: str) -> list[str]:
    """The app's pods on a node that are to stay."""
    return [
        pod["metadata"]["name"]
        for pod in fleet.state.objects("Pod")
        if pod["spec"].get("nodeName") == node and "deletionTimestamp" not in pod["metadata"]
        if pod["metadata"]["name"].startswith("shop-web-")
    ]


def is_cordoned(fleet: Fleet, node: str) -> bool:
    return bool(fleet.state.find("Node", node)["spec"].get("unschedulable"))


def test_a_server_that_leaves_serves_until_the_new_release_does(start_fleet: StartFleet) -> None:
    fleet = start_fleet("main", "work")
    fleet.web["servers"] = ["main", "work"]
    assert (first := fleet.run()).code == 0, first.output
    assert find_steps(first.output)[-1] == "Clean-up"
    (serving,) = list_pods(fleet, "shop-work-1")
    del fleet.places["work"]
    fleet.web.update(servers=["main"], image=NEW)
    fleet.state.behave(NEW, "crash")
    failed = fleet.run()
    assert failed.code == 1
    assert "shop-work-1 is not in the config any more: it gets no new pods" in failed.output
    assert find_image(fleet) == IMAGE
    assert list_pods(fleet, "shop-work-1") == [serving]
    assert not is_cordoned(fleet, "shop-work-1")
    assert "Undoing: the cordon" not in failed.output
    assert fleet.hosts["work"].removals == []
    # Where its pods cannot go, the new release stands and the server stays.
    fleet.state.behave(NEW, "ready")
    theirs = {"metadata": {"name": "theirs"}, "spec": {"nodeName": "shop-work-1"}}
    theirs["spec"]["containers"] = [{"name": "theirs", "image": "theirs:1"}]  # type: ignore[assignment]
    fleet.state.add({"kind": "Pod", **theirs})
    lost = {"times": 1, "status": 403, "reason": "Forbidden", "message": "no evictions"}
    fleet.state.scenario(fail={"evict": lost})
    kept = fleet.run()
    assert kept.code == 1
    assert "serves, but the node shop-work-1 cannot be drained and stays" in kept.output
    assert find_steps(kept.output)[-4:] == ["Traffic check", "Release", "Clean-up", "Old servers"]
    assert find_image(fleet) == NEW
    assert not is_cordoned(fleet, "shop-work-1")
    assert "Undoing" not in kept.output
    # One that was cut off would have left it without new pods, which the release before may need.
    held = fleet.state.find("Node", "shop-work-1")
    held["spec"]["unschedulable"] = True
    held["metadata"]["annotations"]["nvoi.io/leaving"] = "true"
    fleet.state.add(held)
    back = fleet.run("rollback")
    assert back.code == 0, back.output
    assert find_image(fleet) == IMAGE
    assert not is_cordoned(fleet, "shop-work-1")
    gone = fleet.run()
    assert gone.code == 0, gone.output
    assert fleet.state.names("Node", None) == ["shop-main-1"]
    assert fleet.hosts["work"].removals == ["k3s-agent"]


def test_a_group_is_renamed_and_named_as_before_where_the_release_fails_or_is_gone_back_from(
    start_fleet: StartFleet,
) -> None:
    def get_group(node: str = "shop-work-1") -> str:
        labels = fleet.state.find("Node", node)["metadata"]["labels"]
        return str(labels["nvoi.io/server-name"])

    def rename(before: str, after: str) -> None:
        fleet.places[after] = fleet.places.pop(before)
        fleet.machines[after] = fleet.machines[before]
        fleet.web.update(servers=[after], image=NEW)

    fleet = start_fleet("main", "work")
    fleet.web["servers"] = ["work"]
    assert (first := fleet.run()).code == 0, first.output
    rename("work", "front")
    fleet.state.behave(NEW, "crash")
    failed = fleet.run()
    assert failed.code == 1
    assert "shop-work-1 is in the server group work again" in failed.output
    assert get_group() == "work"
    fleet.state.behave(NEW, "ready")
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert get_group() == "front"
    # The release before it names the old group, and runs on the same server.
    back = fleet.run("rollback")
    assert back.code == 0, back.output
    assert "shop-web is placed on front, as no server is in work any more" in back.output
    assert (find_image(fleet), len(list_pods(fleet, "shop-work-1"))) == (IMAGE, 2)
    # Also where the run ends before it has come to the release.
    fleet.places = {"base": fleet.places["main"], "front": fleet.places["front"]}
    fleet.machines = {"base": fleet.machines["main"], "front": fleet.machines["front"]}
    fleet.state.register_node("shop-work-1", ready=False, since=LONG_AGO)
    needed = fleet.run()
    assert needed.code == 1
    assert "web can run nowhere else" in needed.output
    assert "Undoing: the groups of servers" in needed.output
    assert get_group("shop-main-1") == "main"


def test_a_worker_that_is_away_is_gone_on_without_unless_it_is_needed(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    fleet.web["servers"] = ["main", "work"]
    assert (first := fleet.run()).code == 0, first.output
    assert len(list_pods(fleet, "shop-work-1")) == 1
    fleet.state.register_node("shop-work-1", ready=False, since=LONG_AGO)
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    told = "its node is NotReady: Kubelet stopped posting node status.: the deploy goes on without"
    assert told in outcome.output
    assert len(list_pods(fleet, "shop-main-1")) == 2
    assert list_pods(fleet, "shop-work-1") == []
    # The same where the whole machine is off.
    fleet.machines["work"].stop()
    fleet.web["image"] = NEW
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert told in outcome.output
    assert find_image(fleet) == NEW
    # It is still a node, and k3s is still on it.
    assert "shop-work-1" in fleet.state.names("Node", None)
    required = fleet.run("deploy", "--require-all-servers")
    assert required.code == 1
    assert "the cluster says of the node shop-work-1: NotReady" in required.output
    fleet.application["app"]["worker"] = {"servers": ["work"], "command": "work", "image": NEW}
    needed = fleet.run()
    assert needed.code == 1
    assert "worker can run nowhere else\n" in needed.output
    assert find_image(fleet) == NEW
