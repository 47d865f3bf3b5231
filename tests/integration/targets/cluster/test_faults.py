"""Deploys when something fails: what is told, what is left, and how the next one goes on."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from nvoi.errors import LockError
from nvoi.targets.cluster.lock import take_lock
from nvoi.targets.cluster.lock_file import LOCK_FILE, Holder
from tests.fakes.receiver import Receiver
from tests.integration.commands import Outcome
from tests.integration.streams import KEY
from tests.integration.targets.cluster.conftest import Connect, StartFleet, StartRelay
from tests.integration.targets.cluster.fleet import DATABASE, IMAGE, MOUNTED, Fleet
from tests.integration.targets.cluster.test_deploy import find_image, find_steps
from tests.integration.targets.cluster.test_lock import count_scripts
from tests.waiting import wait_until

SERVING, BROKEN = "postgres:17-alpine", "postgres:17-broken"
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


def test_a_host_key_is_kept_on_the_first_contact_and_a_changed_one_stops_the_deploy(
    fleet: Fleet,
) -> None:
    fleet.pins_host_keys = False
    assert "first contact" in fleet.run("unlock").output
    assert "first contact" not in fleet.run("unlock").output
    fleet.master.renew_host_key()
    outcome = fleet.run()
    assert outcome.code == 1
    assert "the host key has changed" in outcome.output
    assert "ssh-keygen -R" in outcome.output
    assert fleet.hosts["main"].installations == []


def test_a_user_without_sudo_is_told_what_is_missing(start_fleet: StartFleet) -> None:
    fleet = start_fleet(user="deploy", sudo=False)
    outcome = fleet.run()
    assert outcome.code == 1
    assert "sudo" in outcome.output
    assert "NOPASSWD" in outcome.output
    assert fleet.hosts["main"].installations == []


@pytest.fixture
def receiver(fleet: Fleet) -> Iterator[Receiver]:
    """The dashboard that the fleet's runs are told to."""
    with Receiver(KEY) as found:
        fleet.callback_url = found.url
        yield found


def test_a_failed_rollout_is_undone_and_says_why_here_and_on_the_dashboard(
    fleet: Fleet, receiver: Receiver
) -> None:
    fleet.application["secrets"] = {"TOKEN": "value-one"}
    first = fleet.run("deploy", "-v")
    assert first.code == 0, first.output
    before = {kind: fleet.state.names(kind) for kind in ("Deployment", "Service", "Secret")}
    fleet.state.behave(NEW, "crash", logs=["Traceback: no such module", "TOKEN=value-two"])
    fleet.web["image"] = NEW
    fleet.application["secrets"] = {"TOKEN": "value-two"}
    fleet.application["app"]["extra"] = {"servers": ["main"], "image": IMAGE, "port": 80}
    receiver.expect_new_run()
    outcome = fleet.run("deploy", "-v")
    assert outcome.code == 1
    assert find_image(fleet) == IMAGE
    assert {kind: fleet.state.names(kind) for kind in before} == before
    assert "Putting release" in outcome.output
    check_reasons(fleet, outcome)
    (kept,) = map(json.loads, fleet.run("releases", "--log-format", "json").output.splitlines())
    assert (kept["running"], kept["images"], kept["deploy_id"]) == (True, [IMAGE], "run-1")
    receiver.assert_protocol()
    states = [status["status"] for status in receiver.statuses]
    assert states == ["started", "completed", "started", "failed"]
    failed = receiver.statuses[-1]["error"]
    assert "CrashLoopBackOff" in failed
    assert "Traceback: no such module" in failed
    assert "TOKEN=[REDACTED]" in failed
    assert any("shop-web: 2 of 2 pods are ready" in line for line in receiver.messages)
    said = "".join((first.output, outcome.output, failed, *receiver.messages))
    assert "value-one" not in said
    assert "value-two" not in said


def check_reasons(fleet: Fleet, outcome: Outcome) -> None:
    """See that the log ends with why, what to do, what serves and where the app's log is."""
    assert "Traceback: no such module" in outcome.output
    host = fleet.places["main"]
    lines = [line for line in outcome.output.splitlines() if "[DEBUG]" not in line]
    *_, reason, remedy, serving, log, delivered = lines
    assert "Dashboard: " in delivered
    assert "CrashLoopBackOff" in reason
    assert "[ERROR] " in remedy
    assert re.search(r"the release of \d+ \w+ ago still serves$", serving)
    assert f"the app's log: ssh -p {host[1]} root@{host[0]} k3s kubectl logs -l " in log


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
    fleet.app_server.status = 500
    fail(outcome := fleet.run())
    assert "it answered 500" in outcome.output
    fleet.app_server.status = 200
    # A service answers, and then ends.
    fleet.web["image"] = ending = "registry.example/web:4"

    def die() -> None:
        fleet.state.behave(ending, "die", looks=0, exit=6, logs=["the cache is full"])

    fleet.app_server.wait = die
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
    fleet.application["database"] = DATABASE
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
        given_up = fleet.start("deploy", "--lock-wait", "60")
        given_up.wait_for("Waiting up to")
        given_up.send(signal.SIGINT)
        assert given_up.wait().code == 130
        wait_until(lambda: count_scripts(fleet.master, LOCK_FILE) == 1, "its end there to go")
        lock.check()
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


def test_a_runner_that_is_killed_frees_the_lock_and_the_next_one_s_release_can_be_gone_back_from(
    fleet: Fleet,
) -> None:
    assert (first := fleet.run()).code == 0, first.output
    fleet.web["image"] = NEW
    fleet.state.behave(NEW, "stall")
    running = fleet.start()
    running.wait_for("[STEP] App")
    # It stays so: what a pod is for a moment may be over before the run hears of it.
    running.wait_for(" runs and is not ready yet")
    running.send(signal.SIGKILL)
    running.process.wait()
    (kept,) = fleet.run("releases").output.splitlines()
    assert kept.startswith("* ")
    fleet.state.behave(NEW, "ready")
    outcome = fleet.run("deploy", "--lock-wait", "60")
    assert outcome.code == 0, outcome.output
    assert "was cut off before it served" in outcome.output
    assert find_image(fleet) == NEW
    assert len([name for name in fleet.state.names("Secret") if "-release-" in name]) == 2
    go_back(fleet)


def test_a_database_that_a_killed_run_has_broken_is_repaired_by_the_next_one(fleet: Fleet) -> None:
    fleet.application["database"] = DATABASE | {"image": SERVING}
    assert (first := fleet.run()).code == 0, first.output
    fleet.state.behave(BROKEN, "stall")
    fleet.application["database"] = DATABASE | {"image": BROKEN}
    running = fleet.start()
    running.wait_for("[STEP] Database")
    running.wait_for("db-shop-0 runs and is not ready yet")
    running.send(signal.SIGKILL)
    running.process.wait()
    fleet.application["database"] = DATABASE | {"image": SERVING}
    repaired = fleet.run("deploy", "--lock-wait", "60")
    assert repaired.code == 0, repaired.output
    assert "Deleting what stands in the way: pod/db-shop-0" in repaired.output
    pod = fleet.state.find("Pod", "db-shop-0")
    assert [one["image"] for one in pod["spec"]["containers"]] == [SERVING]
    assert [one["ready"] for one in pod["status"]["containerStatuses"]] == [True]


def go_back(fleet: Fleet) -> None:
    """From the release of the new image to the one before, which cannot start at first."""
    lines = fleet.run("releases").output.splitlines()
    newest, oldest = (line[2:16] for line in lines)
    assert [line[0] for line in lines] == ["*", " "]
    assert [line.split()[-2] for line in lines] == [NEW, IMAGE]
    fleet.state.behave(IMAGE, "image-pull")
    gone = fleet.run("rollback")
    assert gone.code == 1
    assert f"{IMAGE}: not found" in gone.output
    assert "ago still serves" in gone.output.splitlines()[-2]
    assert find_image(fleet) == NEW
    fleet.state.behave(IMAGE, "ready")
    outcome = fleet.run("rollback", oldest)
    assert outcome.code == 0, outcome.output
    assert find_image(fleet) == IMAGE
    assert f"Rollback of shop done: release {oldest}, in " in outcome.output
    unknown = fleet.run("rollback", "20200101000000")
    assert unknown.code == 2
    assert newest in unknown.output + unknown.errors


def find_errors(outcome: Outcome) -> list[str]:
    """The lines that tell what went wrong."""
    return [line for line in outcome.output.splitlines() if "[ERROR]" in line]


#: Each goes its own way to the servers: commands, a copy, the API, a Job's log.
STEPS = ("Lock", "k3s", "Registry", "Image")
RELEASING = ("Database", "Pre-run commands", "App", "Traffic check")


def test_a_connection_lost_in_any_step_leaves_what_the_next_run_goes_on_with(
    fleet: Fleet, start_relay: StartRelay
) -> None:
    fleet.application |= {
        "services": {"cache": {"servers": ["main"], "image": "redis:7", "port": 6379}},
        "database": MOUNTED,
        "volumes": {"main": {"data": {}}},
    }
    fleet.web["pre_run_command"] = "migrate"
    relay = start_relay(fleet.master.host)
    fleet.lead("main", relay.host)
    for step in (*STEPS, *RELEASING):
        if step == "Image":
            fleet.build_image()
        running = fleet.start("deploy", "--lock-wait", "60")
        running.wait_for(f"[STEP] {step}\n")
        relay.cut()
        outcome = running.wait()
        # It failed and says why, or had nothing more to change.
        assert outcome.code in {0, 1}, outcome.output
        lost = "this run has lost the deploy lock" in outcome.output
        assert lost or outcome.code == 0 or step in STEPS, outcome.output
        assert ("Deploy of shop done" in outcome.output) == (outcome.code == 0)
        assert outcome.code == 0 or any("shop-main-1 (" in line for line in find_errors(outcome))
        # What the cluster answers may be Secrets.
        assert '"apiVersion"' not in outcome.output
    outcome = fleet.run("deploy", "--lock-wait", "60")
    assert outcome.code == 0, outcome.output
    images = [fleet.find_image(stamp) for stamp in fleet.list_tags()]
    assert find_image(fleet) in images
    assert fleet.state.names("Deployment") == ["shop-cache", "shop-web"]
