"""`nvoi deploy --adopt`: what the Ruby gem has made becomes nvoi's, and goes on serving."""

from __future__ import annotations

import io
from typing import Any

import pexpect  # type: ignore[import-untyped]  # it has none
import pytest

from tests.fakes import gem
from tests.integration.commands import NVOI
from tests.integration.targets.cluster.fleet import MOUNTED, Fleet
from tests.integration.targets.cluster.test_deploy import list_applied
from tests.waiting import PATIENCE


@pytest.fixture
def node(fleet: Fleet) -> str:
    """A server with all that the gem makes of an app, whose config nvoi reads; its node's name."""
    address = "10.0.0.11"
    name = gem.make_master(fleet.hosts["main"], fleet.state, fleet.master.enter, address)
    gem.make_app(fleet.state)
    fleet.application |= {
        "database": MOUNTED,
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
        "volumes": {"main": {"data": {}}},
    }
    worker = {"servers": ["main"], "command": "work", "image": "registry.example/web:1"}
    fleet.application["app"]["worker"] = worker
    return name


def list_pods(fleet: Fleet, app: str) -> dict[str, str]:
    """The gem's pods of a workload that go on, with their uids."""
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in fleet.state.objects("Pod")
        if pod["metadata"]["labels"].get("app") == app
        if "deletionTimestamp" not in pod["metadata"]
    }


def wait_for_pods(fleet: Fleet) -> dict[str, str]:
    """Let the gem's pods come up."""
    for _ in range(6):
        fleet.state.advance()
    pods = list_pods(fleet, "shop-web")
    assert len(pods) == 2
    return pods


def find_selector(fleet: Fleet, kind: str, name: str) -> Any:
    found = fleet.state.find(kind, name)["spec"]["selector"]
    return found.get("matchLabels", found)


#: What is told before anything is taken over.
TOLD = (
    f"shop-main-1: k3s {gem.VERSION} gets nvoi's settings and starts anew; pods go on",
    "deployment/shop-web: is made anew; its pods go on until the release serves",
    "service/shop-web: leads to the new pods once they are ready",
    "statefulset/db-shop: stops and is made anew, on the data that it has",
    "deployment/cloudflared-web: is removed once the release serves",
    "deployment/nvoi-registry: is removed once the release serves",
    "secret/app-secret-shop: is removed once the release serves",
)


def fail(fleet: Fleet, pods: dict[str, str]) -> None:
    """See that a take-over that fails tells what it takes, and leaves the gem's pods serving."""
    fleet.state.behave("shop-web", "ready")
    fleet.state.behave("registry.example/web:broken", "crash")
    good, fleet.web["image"] = fleet.web["image"], "registry.example/web:broken"
    outcome = fleet.run("deploy", "--adopt")
    assert outcome.code == 1
    told = outcome.output.partition("Taken over")[0]
    for line in TOLD:
        assert line in told
    assert "Putting back what the gem has made" in outcome.output
    assert "could not undo" not in outcome.output.lower()
    assert list_pods(fleet, "shop-web") == pods
    assert find_selector(fleet, "Service", "shop-web") == {"app": "shop-web"}
    assert find_selector(fleet, "Deployment", "shop-web") == {"app": "shop-web"}
    assert "app-secret-shop" in fleet.state.names("Secret")
    assert "shop-web" not in fleet.state.gaps
    fleet.web["image"] = good


def check_host(fleet: Fleet, node: str) -> None:
    """See that the node keeps its name, or its pods and disks would be another's."""
    (found,) = fleet.state.objects("Node", None)
    assert found["metadata"]["name"] == fleet.hosts["main"].read_config()["node-name"] == node
    assert fleet.hosts["main"].read_config()["node-ip"] == "10.0.0.11"
    assert fleet.hosts["main"].installations[-1] == f"server {gem.VERSION} true"


def test_what_the_gem_has_made_is_taken_over_once_that_is_asked_for_and_goes_on_serving(
    fleet: Fleet, node: str
) -> None:
    pods = wait_for_pods(fleet)
    before = list_applied(fleet)
    refused = fleet.run()
    assert refused.code == 2, refused.output
    for name in ("deployment/shop-web", "statefulset/db-shop", "k3s on shop-main-1"):
        assert name in refused.output
    assert "`nvoi deploy --adopt` takes it over" in refused.output
    assert list_applied(fleet) == before
    fail(fleet, pods)
    gaps = len(fleet.state.gaps)
    # It was accepted, and need not be again.
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert "shop-web answers at /up" in outcome.output
    assert "Removed deployment/cloudflared-web" in outcome.output
    check_host(fleet, node)
    assert not {"shop-web", "shop-cache"} & {*fleet.state.gaps[gaps:]}
    for kind, name in (
        *(("Deployment", name) for name in ("shop-web", "shop-worker", "shop-cache")),
        ("StatefulSet", "db-shop"),
        ("Service", "shop-web"),
    ):
        assert find_selector(fleet, kind, name) == {"app.kubernetes.io/instance": name}
    assert fleet.state.find("Service", "shop-web")["spec"]["ports"][0]["name"] == "main"
    assert list_pods(fleet, "shop-web") == list_pods(fleet, "shop-worker") == {}
    left = {*fleet.state.names("Secret"), *fleet.state.names("Deployment")}
    assert not left & {"app-secret-shop", "db-secret-shop", "cloudflared-web", "nvoi-registry"}
    assert fleet.state.names("NetworkPolicy") == ["nvoi-shop"]
    again = fleet.run()
    assert again.code == 0, again.output
    assert "gem" not in again.output


def test_nothing_is_taken_over_unless_it_is_accepted_and_none_of_it_would_be_lost(
    fleet: Fleet, node: str
) -> None:
    before = list_applied(fleet)
    seen = io.BytesIO()
    environ = fleet.environ | {"NVOI_HOME": str(fleet.home), "TERM": "xterm"}
    words = fleet.prepare("deploy", "--adopt")
    with pexpect.spawn(str(NVOI), words, env=environ, timeout=PATIENCE) as terminal:
        terminal.logfile_read = seen
        terminal.expect_exact("Go on? [y/N] ")
        terminal.sendline("n")
        terminal.expect_exact(pexpect.EOF)
    assert terminal.exitstatus == 1
    shown = seen.getvalue().decode()
    assert "deployment/shop-web: is made anew" in shown.partition("Take all of it over?")[0]
    assert "nothing in the cluster was taken over or changed" in shown
    assert list_applied(fleet) == before
    assert fleet.state.names("Node", None) == [node]
    del fleet.application["services"]["cache"]["port"]
    outcome = fleet.run("deploy", "--adopt")
    assert outcome.code == 2
    assert "add `port: 6379` to services.cache" in outcome.output
    fleet.application["services"]["cache"]["port"] = 6379
    for item in gem.build_database("mysql", "mysql:8.4", 3306):
        fleet.state.remove(item["kind"], item["metadata"]["name"])
        fleet.state.apply(item, gem.MANAGER)
    outcome = fleet.run("deploy", "--adopt")
    assert outcome.code == 2
    assert "the data of statefulset/db-shop is inside its container" in outcome.output
    assert list_applied(fleet) == before
