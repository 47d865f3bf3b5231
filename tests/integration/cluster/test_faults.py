"""Deploys when something fails: what is told, what is left, and how the next one goes on."""

from __future__ import annotations

import json
import re
import signal

import pytest

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.errors import LockError
from nvoi.targets.cluster.lock import take_lock
from nvoi.targets.cluster.lock_file import Holder
from tests.fakes.receiver import Receiver
from tests.integration.cluster.conftest import Connect, StartFleet, StartRelay
from tests.integration.cluster.fleet import IMAGE, Fleet
from tests.integration.cluster.test_deploy import find_image, find_steps
from tests.integration.commands import Outcome
from tests.integration.streams import KEY

NEW = "registry.example/web:2"
OTHER = Holder("ada", "laptop", "2026-11-23T10:00:00Z", "run-7", "shop")


def test_a_server_that_cannot_be_reached_is_named_and_nothing_is_changed(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet("main", "work")
    fleet.machines["work"].stop()
    outcome = fleet.run()
    assert outcome.code == 1
    assert "shop-work-1" in outcome.output
    assert fleet.hosts["main"].installations == []
    assert fleet.state.calls == []


def test_a_key_that_the_server_does_not_know_is_told(fleet: Fleet) -> None:
    fleet.keys = generate_ssh_keys("another")
    outcome = fleet.run()
    assert outcome.code == 1
    assert "authorized_keys" in outcome.output
    assert fleet.keys.private_key.reveal() not in outcome.output


def test_a_host_key_is_kept_on_the_first_contact_and_a_changed_one_stops_the_deploy(
    fleet: Fleet,
) -> None:
    fleet.pins_host_keys = False
    first = fleet.run()
    assert first.code == 0
    assert "first contact" in first.output
    assert "first contact" not in fleet.run("releases").output
    fleet.master.stop()
    fleet.master.change_host_key()
    fleet.master.start()
    before = len(fleet.state.calls)
    outcome = fleet.run()
    assert outcome.code == 1
    assert "the host key has changed" in outcome.output
    assert "ssh-keygen -R" in outcome.output
    assert len(fleet.state.calls) == before


def test_a_user_without_sudo_is_told_what_is_missing(start_fleet: StartFleet) -> None:
    fleet = start_fleet(user="deploy", sudo=False)
    outcome = fleet.run()
    assert outcome.code == 1
    assert "sudo" in outcome.output
    assert "NOPASSWD" in outcome.output
    assert fleet.hosts["main"].installations == []


def test_a_full_disk_stops_the_deploy_and_the_next_one_goes_on(fleet: Fleet) -> None:
    fleet.hosts["main"].set_fault("full-disk")
    outcome = fleet.run()
    assert outcome.code == 1
    assert "No space left on device" in outcome.output
    fleet.hosts["main"].clear_fault("full-disk")
    assert (first := fleet.run()).code == 0, first.output


def test_a_registry_that_is_down_stops_the_deploy_and_the_old_release_serves(fleet: Fleet) -> None:
    fleet.build_image()
    assert (first := fleet.run()).code == 0, first.output
    served = find_image(fleet)
    fleet.registry.stop()
    fleet.build_image(text="two\n")
    outcome = fleet.run()
    assert outcome.code == 1
    assert "registry" in outcome.output
    assert find_image(fleet) == served
    fleet.registry.start()
    assert (first := fleet.run()).code == 0, first.output
    assert find_image(fleet) != served


def test_a_dashboard_is_told_of_a_deploy_and_of_one_that_fails_and_no_secret(fleet: Fleet) -> None:
    fleet.application["secrets"] = {"TOKEN": "t0ken-of-the-app"}
    fleet.state.behave(NEW, "crash", logs=["no such module", "TOKEN=t0ken-of-the-app"])
    with Receiver(KEY) as receiver:
        fleet.callback_url = receiver.url
        first = fleet.run("deploy", "-v")
        assert first.code == 0, first.output
        receiver.expect_new_run()
        fleet.web["image"] = NEW
        second = fleet.run("deploy", "-v")
        assert second.code == 1
        receiver.assert_protocol()
        states = [status["status"] for status in receiver.statuses]
        assert states == ["started", "completed", "started", "failed"]
        failed = receiver.statuses[-1]["error"]
        assert "CrashLoopBackOff" in failed
        assert "no such module" in failed
        assert any("shop-web: 2 of 2 pods are ready" in line for line in receiver.messages)
        said = [first.output, second.output, failed, *receiver.messages]
    assert "TOKEN=[REDACTED]" in failed
    assert "t0ken-of-the-app" not in "".join(said)


def test_a_failed_rollout_is_undone_and_says_why(fleet: Fleet) -> None:
    fleet.application["secrets"] = {"TOKEN": "value-one"}
    assert (first := fleet.run()).code == 0, first.output
    before = {kind: fleet.state.names(kind) for kind in ("Deployment", "Service", "Secret")}
    fleet.state.behave(NEW, "crash", logs=["Traceback: no such module"])
    fleet.web["image"] = NEW
    fleet.application["secrets"] = {"TOKEN": "value-two"}
    fleet.application["app"]["extra"] = {"servers": ["main"], "image": IMAGE, "port": 80}
    outcome = fleet.run()
    assert outcome.code == 1
    assert "CrashLoopBackOff" in outcome.output
    assert "Traceback: no such module" in outcome.output
    assert find_image(fleet) == IMAGE
    assert {kind: fleet.state.names(kind) for kind in before} == before
    assert "Putting release" in outcome.output
    host = fleet.places["main"]
    *_, reason, remedy, serving, log = outcome.output.splitlines()
    assert "CrashLoopBackOff" in reason
    assert "[ERROR] " in remedy
    assert re.search(r"the release of \d+ \w+ ago still serves$", serving)
    assert f"the app's log: ssh -p {host[1]} root@{host[0]} k3s kubectl logs -l " in log
    (kept,) = map(json.loads, fleet.run("releases", "--log-format", "json").output.splitlines())
    assert (kept["running"], kept["images"], kept["deploy_id"]) == (True, [IMAGE], "run-1")


def test_a_release_that_fails_at_any_point_leaves_the_one_before_serving(fleet: Fleet) -> None:
    # The check gives up after three of these.
    fleet.web["healthcheck"] |= {"interval": "1s", "timeout": "1s"}
    assert (first := fleet.run()).code == 0, first.output

    def fail(outcome: Outcome, code: int = 1) -> None:
        assert outcome.code == code, outcome.output
        assert find_image(fleet) == IMAGE

    # A command before the release fails.
    fleet.web.update(image=NEW, pre_run_command="migrate")
    fleet.state.behave(NEW, "job-fail", logs=["column exists already"])
    fail(outcome := fleet.run())
    assert "column exists already" in outcome.output
    assert "App" not in find_steps(outcome.output)
    del fleet.web["pre_run_command"]
    # The traffic check gets a bad answer.
    fleet.web["image"] = "registry.example/web:3"
    fleet.visitors.status = 500
    fail(outcome := fleet.run())
    assert "it answered 500" in outcome.output
    fleet.visitors.status = 200
    # A service answers, and then ends.
    fleet.web["image"] = ending = "registry.example/web:4"

    def die() -> None:
        fleet.state.behave(ending, "die", looks=0, exit=6, logs=["the cache is full"])

    fleet.visitors.wait = die
    fail(outcome := fleet.run())
    assert find_steps(outcome.output)[-1] == "Traffic check"
    assert "Restarted: it was ready, and then ended with exit code 6" in outcome.output
    assert "the cache is full" in outcome.output
    # Somebody interrupts the run.
    fleet.web["image"] = stalled = "registry.example/web:5"
    fleet.state.behave(stalled, "stall")
    running = fleet.start()
    running.wait_for("[STEP] App")
    running.send(signal.SIGINT)
    fail(running.wait(), 130)


def test_a_first_deploy_that_is_ended_leaves_nothing_of_it_but_data(fleet: Fleet) -> None:
    fleet.application |= {
        "database": {
            "servers": ["main"],
            "adapter": "postgres",
            "secrets": {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"},
        },
    }
    fleet.web["pre_run_command"] = "migrate"
    fleet.state.behave(IMAGE, "stall")
    running = fleet.start()
    running.wait_for("[STEP] Pre-run commands")
    running.wait_for("pre-run")
    running.send(signal.SIGTERM)
    outcome = running.wait()
    assert outcome.code == 143
    assert "No release has served before" in outcome.output
    assert "nothing of shop serves" in outcome.output
    for kind in ("Deployment", "StatefulSet", "Service", "Secret", "Job"):
        assert fleet.state.names(kind) == []
    assert "shop-web" not in " ".join(fleet.state.names("Pod"))
    assert len(fleet.state.names("PersistentVolumeClaim")) == 1
    assert fleet.run("releases").output == "No release is kept\n"
    fleet.state.behave(IMAGE, "ready")
    assert (again := fleet.run()).code == 0, again.output


def test_what_another_made_in_the_cluster_is_not_taken_over(fleet: Fleet) -> None:
    metadata = {"name": "shop-web", "namespace": "default", "labels": {"app": "theirs"}}
    fleet.state.add({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}})
    outcome = fleet.run()
    assert outcome.code == 1
    assert "service/shop-web" in outcome.output
    assert fleet.state.names("Deployment") == []


def test_a_run_that_holds_the_lock_is_named_waited_for_and_ended(
    fleet: Fleet, connect: Connect
) -> None:
    with connect() as connections:
        lock = take_lock(connections, fleet.master.host, OTHER)
        refused = fleet.run()
        assert refused.code == 1
        assert "ada on laptop" in refused.output
        assert "--lock-wait" in refused.output
        assert fleet.hosts["main"].installations == []
        waiting = fleet.start("deploy", "--lock-wait", "60")
        waiting.wait_for("Waiting up to")
        lock.release()
        assert waiting.wait().code == 0
        lock = take_lock(connections, fleet.master.host, OTHER)
        ended = fleet.run("unlock")
        assert ended.code == 0
        assert "ada on laptop" in ended.output
        with pytest.raises(LockError, match="nvoi unlock"):
            lock.check()
    assert "Nobody holds the deploy lock" in fleet.run("unlock").output


def test_a_runner_that_is_killed_frees_the_lock_and_the_next_run_goes_on(fleet: Fleet) -> None:
    assert (first := fleet.run()).code == 0, first.output
    fleet.web["image"] = NEW
    fleet.state.behave(NEW, "stall")
    running = fleet.start()
    running.wait_for(" is being made")
    running.wait_for("[STEP] App")
    running.send(signal.SIGKILL)
    running.process.wait()
    (kept,) = fleet.run("releases").output.splitlines()
    assert kept.startswith("* ")
    fleet.state.behave(NEW, "ready")
    outcome = fleet.run("deploy", "--lock-wait", "60")
    assert outcome.code == 0, outcome.output
    assert "was cut off before it served" in outcome.output
    assert find_image(fleet) == NEW
    assert len(fleet.run("releases").output.splitlines()) == 2
    assert len([name for name in fleet.state.names("Secret") if "-release-" in name]) == 2


def find_errors(outcome: Outcome) -> list[str]:
    """The lines that tell what went wrong."""
    return [line for line in outcome.output.splitlines() if "[ERROR]" in line]


STEPS = ("Servers", "Lock", "k3s", "Registry", "State", "Volumes", "Image")
LATER = ("Secrets", "Database", "Pre-run commands", "Services", "App", "Traffic check", "Release")


@pytest.mark.parametrize("steps", [STEPS, LATER], ids=["before the release", "in the release"])
def test_a_connection_lost_in_any_step_leaves_what_the_next_run_goes_on_with(
    fleet: Fleet, start_relay: StartRelay, steps: tuple[str, ...]
) -> None:
    fleet.application |= {
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
        "database": {
            "servers": ["main"],
            "adapter": "postgres",
            "mount": {"data": "/var/lib/postgresql/data"},
            "secrets": {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"},
        },
        "volumes": {"main": {"data": {}}},
    }
    fleet.web["pre_run_command"] = "migrate"
    relay = start_relay(fleet.master.host)
    fleet.lead("main", relay.host)
    for step in steps:
        if step == "Image":
            fleet.build_image()
        if step == "Volumes" and (fleet.master.root / "opt/nvoi/volumes/shop-main-data").exists():
            # The run before it was cut too late, and has made them: the step has nothing to do.
            continue
        running = fleet.start("deploy", "--lock-wait", "60")
        running.wait_for(f"[STEP] {step}\n")
        relay.cut()
        outcome = running.wait()
        # It failed and says why, or had nothing more to change.
        assert outcome.code in {0, 1}, outcome.output
        lost = "this run has lost the deploy lock" in outcome.output
        assert lost or outcome.code == 0 or steps is not LATER, outcome.output
        assert ("Deploy of shop done" in outcome.output) == (outcome.code == 0)
        assert outcome.code == 0 or any("shop-main-1 (" in line for line in find_errors(outcome))
        # What the cluster answers may be Secrets.
        assert '"apiVersion"' not in outcome.output
    outcome = fleet.run("deploy", "--lock-wait", "60")
    assert outcome.code == 0, outcome.output
    images = [fleet.find_image(stamp) for stamp in fleet.list_tags()]
    assert "Image" not in steps or find_image(fleet) in images
    assert fleet.state.names("Deployment") == ["shop-cache", "shop-web"]
