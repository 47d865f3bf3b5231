"""The faults that only a real cluster shows, one test each: docs/cluster.md, "Tests".

Real are the API and its controllers, kubelet, containers and the network between them; k3s' own
installer is the stand-in. Each test tells what it has measured, for the table at the end.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nvoi.domains import get_domains
from nvoi.k3s.nodes import ADDRESS, build_marker, format_address
from nvoi.kubernetes.ingress import build_chart_config
from nvoi.kubernetes.manifests import build_manifests
from nvoi.kubernetes.names import SERVER_GROUP
from nvoi.kubernetes.ownership import (
    is_unchanged,
    read_reference,
    sign,
)
from tests.fakes.kubernetes.charts import DEFINITION
from tests.fakes.real_cluster import RealCluster, find_kubeconfig
from tests.integration.commands import Outcome
from tests.integration.images.podman import build_podman_environ, write_checkout
from tests.integration.targets.cluster.conftest import StartFleet
from tests.integration.targets.cluster.findings import Findings
from tests.integration.targets.cluster.fleet import NAME, REAL_PATIENCE, Fleet
from tests.integration.targets.cluster.poller import Poller
from tests.unit.kubernetes.configs import build_release
from tests.waiting import run_program, wait_until

pytestmark = [pytest.mark.real_cluster, pytest.mark.timeout(2 * REAL_PATIENCE)]

#: Images that a real cluster can pull, and a web server that is in them.
IMAGES = ("busybox:1.36", "busybox:1.37")
BROKEN = "busybox:1.35"
DATABASE, MISTYPED = "postgres:17-alpine", "postgres:17-alpinee"
#: Ends when its database does.
WORK = "while nc -w 2 db-shop 5432 </dev/null >/dev/null; do sleep 1; done; exit 3"
LISTEN = "mkdir -p /tmp/www && : >/tmp/www/up && httpd -f -p 3000 -h /tmp/www &"
#: Ends as soon as it is told to.
SERVE = f"{LISTEN} trap 'kill $!' TERM; wait"
SECRETS = {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"}
FOLDER = "/var/lib/postgresql/data"
ROWS = 1604
LONG_AGO = "2026-01-01T00:00:00Z"
NEWLINE = '{"\\n"}'
#: Ends only when it is killed.
STAY = "trap : TERM; while :; do sleep 1; done"
#: Seconds that a registry is away, and in which Kubernetes tries again.
AWAY, AGAIN = 4.0, 60.0


@pytest.fixture
def fleet(start_real_fleet: StartFleet) -> Fleet:
    """One server, which is to run a web server."""
    return prepare(start_real_fleet())


def prepare(fleet: Fleet) -> Fleet:
    fleet.web.update(image=IMAGES[0], command=SERVE, min_ready="2s")
    return fleet


def find_release(fleet: Fleet) -> tuple[str, int]:
    """The image that runs, and how many of its pods are ready."""
    web = fleet.cluster.find("Deployment", "shop-web")
    (container,) = web["spec"]["template"]["spec"]["containers"]
    return container["image"], web["status"].get("readyReplicas", 0)


def list_pods(fleet: Fleet) -> set[str]:
    """The app's pods that are to stay."""

    def is_going(pod: Any) -> bool:
        return "deletionTimestamp" in pod["metadata"]

    return {
        pod["metadata"]["name"]
        for pod in fleet.cluster.objects("Pod")
        if pod["metadata"]["name"].startswith("shop-web-") and not is_going(pod)
    }


def run(fleet: Fleet, *words: str) -> str:
    """Run a command that is to end well."""
    outcome = fleet.run(*words)
    assert outcome.code == 0, outcome.output + outcome.errors
    return outcome.output


def find_database(fleet: Fleet) -> dict[str, Any]:
    """The pod of the database: which it is, what it runs and whether it is ready."""
    pod = fleet.cluster.find("Pod", "db-shop-0")
    (container,), (status,) = pod["spec"]["containers"], pod["status"]["containerStatuses"]
    return {
        "uid": pod["metadata"]["uid"],
        "image": container["image"],
        "ready": status["ready"],
        "class": pod["status"]["qosClass"],
    }


def get_cluster(fleet: Fleet) -> RealCluster:
    assert isinstance(fleet.cluster, RealCluster)
    return fleet.cluster


def poll(fleet: Fleet, name: str = "shop-web") -> Poller:
    """Poll a service of the app from a node."""
    spec = fleet.cluster.find("Service", name)["spec"]
    return Poller(f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/up")


def fail(fleet: Fleet, *options: str, code: int = 1) -> Outcome:
    """A deploy that is to fail."""
    outcome = fleet.run("deploy", *options)
    assert outcome.code == code, outcome.output + outcome.errors
    return outcome


def give_database(fleet: Fleet, **settings: Any) -> None:
    """Have the config name a database."""
    fleet.application["database"] = {
        "servers": ["main"],
        "adapter": "postgres",
        "image": DATABASE,
        "secrets": SECRETS,
    } | settings


def ask_database(fleet: Fleet, question: str) -> str:
    return get_cluster(fleet).execute("db-shop-0", "psql", "-U", "u", "-d", "d", "-Atc", question)


def fill_database(fleet: Fleet) -> None:
    ask_database(fleet, f"CREATE TABLE t AS SELECT generate_series(1, {ROWS})")


def count_rows(fleet: Fleet) -> int:
    return int(ask_database(fleet, "SELECT count(*) FROM t"))


def break_database(fleet: Fleet) -> None:
    """A run that is killed leaves a database that crashes; the config is as it was."""
    before = fleet.application["database"]
    fleet.application["database"] = before | {"image": BROKEN}
    running = fleet.start()
    running.wait_for("db-shop-0 ended with exit code 0")
    running.send(signal.SIGKILL)
    running.process.wait()
    fleet.application["database"] = before


def measure_step(outcome: Outcome, name: str) -> float:
    """The seconds that a step took, by the run's own account."""
    found = re.search(rf"(?:{name}: failed after|\[INFO\]   {name} ) *([\d.]+) s", outcome.output)
    assert found, outcome.output
    return float(found[1])


def test_a_database_that_is_down_is_repaired_by_deploying(fleet: Fleet, findings: Findings) -> None:
    give_database(fleet)
    run(fleet)
    fill_database(fleet)
    break_database(fleet)
    fleet.application["database"]["resources"] = {"limits": {"memory": "700Mi"}}
    outcome = fleet.run()
    assert outcome.code == 0, outcome.output
    assert "Deleting what stands in the way: pod/db-shop-0" in outcome.output
    (container,) = fleet.cluster.find("Pod", "db-shop-0")["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "700Mi"
    seconds = measure_step(outcome, "Database")
    # An undo goes to the last one that was ready.
    break_database(fleet)
    fleet.web.update(image=BROKEN, command="exit 3")
    fail(fleet)
    assert find_database(fleet)["image"] == DATABASE
    assert find_database(fleet)["ready"]
    rows = count_rows(fleet)
    assert rows == ROWS
    findings.add(
        "1 database that is down",
        "kill -9 with a database that crashes, then a deploy with another memory limit; once more, "
        "then a deploy whose app crashes",
        f"ready {seconds:.0f} s after its step began, with the new limit",
        f"the undo brought back the last one that was ready, {rows:,} rows in it",
    )


def test_a_database_does_not_become_empty_unseen(fleet: Fleet, findings: Findings) -> None:
    give_database(fleet, mount={"data": FOLDER})
    fleet.application["volumes"] = {"main": {"data": {}}}
    run(fleet)
    fill_database(fleet)
    before = find_database(fleet)
    own, other = (f"/opt/nvoi/volumes/shop-main-{name}" for name in ("data", "other"))
    fleet.application["volumes"] = {"main": {"other": {}}}
    fleet.application["database"]["mount"] = {"other": FOLDER}
    renamed = fail(fleet, code=2)
    del fleet.application["database"]["mount"]
    dropped = fail(fleet, code=2)
    for refused, place in ((renamed, other), (dropped, "persistentvolumeclaim/data-db-shop-0")):
        told = refused.output + refused.errors
        assert own in told
        assert place in told
        assert "--accept-data-move" in told
    assert find_database(fleet) == before
    fleet.application["database"]["mount"] = {"other": FOLDER}
    run(fleet, "deploy", "--accept-data-move")
    assert ask_database(fleet, "SELECT to_regclass('t') IS NULL") == "t"
    fleet.application["volumes"] = {"main": {"data": {}}}
    fleet.application["database"]["mount"] = {"data": FOLDER}
    run(fleet, "deploy", "--accept-data-move")
    rows = count_rows(fleet)
    assert rows == ROWS
    findings.add(
        "2 silently empty database",
        "the volume's line renamed, `mount` dropped, then a move that was accepted, and one back",
        "refused with exit code 2 and both places, the pod untouched",
        f"after the moves {rows:,} of {ROWS:,} rows",
    )


def rename_group(fleet: Fleet, before: str, after: str) -> None:
    """Have the config call the group of the one server otherwise."""
    fleet.places = {after: fleet.places[before]}
    fleet.machines = {after: fleet.machines[before]}
    fleet.web["servers"] = fleet.application["database"]["servers"] = [after]


def test_a_disk_is_found_where_the_group_of_its_server_is_renamed(
    fleet: Fleet, findings: Findings
) -> None:
    give_database(fleet)
    run(fleet)
    fill_database(fleet)
    fleet.web["image"] = IMAGES[1]
    rename_group(fleet, "main", "base")
    run(fleet)
    rows = count_rows(fleet)
    assert rows == ROWS
    findings.add(
        "2 silently empty database",
        "the group of a database without `mount` renamed, its server the same",
        f"exit code 0, {rows:,} of {ROWS:,} rows",
    )
    # The release before names a group that there is no more.
    with poll(fleet) as gone_back:
        run(fleet, "rollback")
    assert find_release(fleet) == (IMAGES[0], 2)
    rename_group(fleet, "base", "front")
    fleet.web["image"] = IMAGES[1]
    running = fleet.start()
    wait_until(lambda: find_release(fleet)[0] == IMAGES[1], "a release that has begun")
    running.send(signal.SIGKILL)
    running.process.wait()
    with poll(fleet) as cut_off:
        outcome = fleet.run("rollback", "--lock-wait", "60")
    assert outcome.code == 0, outcome.output
    assert "shop-web is placed on front, as no server is in main any more" in outcome.output
    assert find_release(fleet) == (IMAGES[0], 2)
    assert [gone_back.failures, cut_off.failures] == [[], []]
    assert count_rows(fleet) == ROWS
    findings.add(
        "a rollback past a renamed group",
        "a group renamed with a new image, then `nvoi rollback`; then renamed again by a deploy "
        "that gets kill -9 as it rolls out, and `nvoi rollback`",
        f"on the servers of the group as it is called now, {gone_back}",
        f"after the kill too, {cut_off}",
    )


def test_a_server_that_leaves_serves_until_the_new_release_does(
    start_real_fleet: StartFleet, findings: Findings
) -> None:
    fleet = prepare(start_real_fleet("main", "work", nodes=2))
    cluster = get_cluster(fleet)
    node = cluster.list_nodes()[1]
    fleet.web["servers"] = ["main", "work"]
    run(fleet)
    pods = list_pods(fleet)
    del fleet.places["work"]
    fleet.web.update(servers=["main"], image=BROKEN, command="exit 3")
    with poll(fleet) as failing:
        failed = fail(fleet)
    assert f"{node} is not in the config any more: it gets no new pods" in failed.output
    assert list_pods(fleet) == pods
    assert not cluster.find("Node", node, None)["spec"].get("unschedulable")
    fleet.web.update(image=IMAGES[1], command=SERVE)
    with poll(fleet) as moving:
        run(fleet)
    assert cluster.find("Node", node, None) is None
    assert find_release(fleet) == (IMAGES[1], 2)
    assert [failing.failures, moving.failures] == [[], []]
    findings.add(
        "3 servers removed before the rollout",
        "a group taken from the config, with an image that crashes and then with one that runs",
        f"while the first failed {failing}, and the node took pods again",
        f"while the second rolled out, drained and removed the node {moving}",
    )


def test_a_container_does_not_reach_the_registry(fleet: Fleet, findings: Findings) -> None:
    run(fleet)
    put = "wget -q -T 5 -O- --post-data={} http://10.43.0.100:5000/v2/nvoi-shop/blobs/uploads/"
    words = f"{put}; echo ended with $?"
    said = get_cluster(fleet).run_alone(IMAGES[0], words)
    assert "ended with 1" in said
    pod = min(list_pods(fleet))
    assert "ended with 1" in get_cluster(fleet).execute(pod, "sh", "-c", words)
    findings.add(
        "4 any container can replace an image",
        "a POST to the registry from a container of the app and from a stranger's, a GET and a PUT "
        "from a node without the password",
        "the containers do not reach it",
        "the node is answered 401",
    )


def test_a_release_that_is_ready_and_then_ends_takes_no_pod_of_the_old_one(
    fleet: Fleet, findings: Findings
) -> None:
    del fleet.web["min_ready"]
    run(fleet)
    pods = list_pods(fleet)
    fleet.web.update(image=BROKEN, command=f"{LISTEN} sleep 6; exit 6")
    with poll(fleet) as poller:
        began = time.monotonic()
        failed = fail(fleet)
        seconds = time.monotonic() - began
    assert "it was ready, and then ended with exit code 6" in failed.output
    assert list_pods(fleet) == pods
    findings.add(
        "5 green, then dead",
        "an image that exits 6 s after it is ready",
        f"failed and undone {seconds:.1f} s after the deploy began, the old pods untouched",
        f"{poller}, those that the new pod had as it ended",
    )


def test_an_unchanged_deploy_is_none_to_go_back_to(fleet: Fleet, findings: Findings) -> None:
    fleet.application["keep_count"] = 1
    for image in (*IMAGES, IMAGES[1], IMAGES[1]):
        fleet.web["image"] = image
        run(fleet)
    assert len(run(fleet, "releases").splitlines()) == 2
    run(fleet, "rollback")
    assert find_release(fleet) == (IMAGES[0], 2)
    none = fleet.run("rollback")
    assert none.code == 2
    findings.add(
        "6 unchanged deploys use up the history",
        "`keep_count: 1`, two releases, the second deployed three times, then two rollbacks",
        "the first rollback goes to the other release",
        "the second says that there is none",
    )


def find_worker(fleet: Fleet) -> tuple[str, int]:
    """Its pod, and how often its container was started again."""
    (pod,) = [
        pod
        for pod in fleet.cluster.objects("Pod")
        if pod["metadata"]["name"].startswith("shop-worker-")
        if "deletionTimestamp" not in pod["metadata"]
    ]
    return pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]


def test_what_crashes_as_its_database_restarts_does_not_fail_the_deploy(
    fleet: Fleet, findings: Findings
) -> None:
    give_database(fleet)
    fleet.application["app"]["worker"] = {"servers": ["main"], "image": IMAGES[0], "command": WORK}
    run(fleet)
    worker = find_worker(fleet)
    fleet.application["database"]["resources"] = {"limits": {"memory": "700Mi"}}
    run(fleet)
    assert find_worker(fleet) != worker
    # A deploy whose app fails restarts it twice: there, and back.
    fleet.application["database"]["resources"] = {"limits": {"memory": "800Mi"}}
    fleet.web.update(image=BROKEN, command="exit 3")
    failed = fail(fleet)
    assert "still serves" in failed.output
    assert find_release(fleet) == (IMAGES[0], 2)
    findings.add(
        "7 crashes that the deploy itself causes",
        "a worker that ends without its database, whose memory limit changes; then the same in a "
        "deploy that fails",
        "exit code 0, the worker having ended meanwhile",
        "the undo waited for all, and the old release serves",
    )


def test_a_registry_that_is_away_for_a_moment_is_asked_again(
    fleet: Fleet, findings: Findings, tmp_path: Path
) -> None:
    run(fleet)
    fleet.registry.start()
    environ = build_podman_environ(tmp_path / "podman")
    checkout = write_checkout(tmp_path / "image", "COPY busybox /bin/sh")
    image = f"{fleet.registry.address}/web:1"
    for words in (
        ["build", f"--tag={image}", str(checkout)],
        ["push", "--tls-verify=false", image],
    ):
        run_program("podman", *words, environ=environ)
    fleet.registry.stop()
    command = SERVE.replace("httpd", "busybox httpd").replace("mkdir", "busybox mkdir")
    fleet.web.update(image=image, command=command)
    running = fleet.start()
    running.wait_for("cannot get its image: ErrImagePull")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > AWAY, "a registry that starts")
    fleet.registry.start()
    outcome = running.wait(REAL_PATIENCE)
    assert outcome.code == 0, outcome.output
    waited = measure_step(outcome, "App")
    fleet.web.update(image="busybox:there-is-none", command=SERVE)
    failed = fail(fleet)
    assert "not found" in failed.output
    told = measure_step(failed, "App")
    assert told < AGAIN
    findings.add(
        "8 the first ErrImagePull is final",
        f"a registry that refuses connections for {AWAY:.0f} s, then a tag that there is none of",
        f"exit code 0, the step took {waited:.0f} s",
        f"not found: failed {told:.1f} s after the step began",
    )


def test_an_image_is_pulled_before_the_only_pod_goes(fleet: Fleet, findings: Findings) -> None:
    give_database(fleet)
    fleet.application["volumes"] = {"main": {"files": {"uid": 1000}}}
    fleet.web.update(mounts={"files": "/files"})
    slow = {"servers": ["main"], "image": IMAGES[0], "command": STAY, "mounts": {"files": "/files"}}
    fleet.application["app"]["slow"] = slow
    run(fleet)
    database, pods = find_database(fleet), list_pods(fleet)
    with poll(fleet) as poller:
        fleet.application["database"]["image"] = MISTYPED
        assert f"the database: {MISTYPED} cannot be pulled on" in fail(fleet).output
        fleet.application["database"]["image"] = DATABASE
        fleet.web["image"] = "busybox:there-is-none"
        assert "web: busybox:there-is-none cannot be pulled on" in fail(fleet).output
    assert (find_database(fleet), list_pods(fleet)) == (database, pods)
    assert poller.failures == []
    fleet.web["image"] = slow["image"] = IMAGES[1]
    with poll(fleet) as gap:
        assert "is stopping, which may take 30 s" in run(fleet)
    findings.add(
        "9 images pulled after the old pod has stopped",
        "a mistyped tag of the database and of a service with mounts, then one that there is",
        f"both fail before anything is touched, {poller}",
        f"while the one pod was replaced {gap}",
    )
    findings.add(
        "10 a pod that is long in ending",
        "a service with mounts that ignores SIGTERM, and a new image",
        "told as a wait for its 30 s",
    )


def test_a_changed_port_leaves_no_gap(fleet: Fleet, findings: Findings) -> None:
    run(fleet)
    fleet.web.update(port=3001, command=SERVE.replace("3000", "3001"))

    def find_port() -> dict[str, Any]:
        port: dict[str, Any] = fleet.cluster.find("Service", "shop-web")["spec"]["ports"][0]
        return port

    running = fleet.start()
    wait_until(lambda: find_port()["port"] == 3001, "the new port")
    assert find_port()["targetPort"] == "main"
    with poll(fleet) as poller:
        outcome = running.wait(REAL_PATIENCE)
    assert outcome.code == 0, outcome.output
    assert poller.failures == []
    findings.add(
        "10 a changed port",
        "`port` from 3000 to 3001, asked at the new one from when the Service has it",
        str(poller),
    )


def test_a_worker_that_is_away_is_gone_on_without(
    start_real_fleet: StartFleet, findings: Findings
) -> None:
    fleet = prepare(start_real_fleet("main", "away"))
    host, place = fleet.machines["away"].host, fleet.places.pop("away")
    run(fleet)
    fleet.places["away"] = place
    labels = {SERVER_GROUP: "away", build_marker(NAME): "true"}
    get_cluster(fleet).add_absent_node(LONG_AGO, labels, {ADDRESS: format_address(host)})
    fleet.machines["away"].stop()
    fleet.web["servers"] = ["main", "away"]
    began = time.monotonic()
    outcome = fleet.run()
    seconds = time.monotonic() - began
    assert outcome.code == 0, outcome.output
    assert "the deploy goes on without it" in outcome.output
    assert find_release(fleet) == (IMAGES[0], 2)
    fail(fleet, "--require-all-servers")
    findings.add(
        "10 a worker that is NotReady",
        "a node that has not been heard of for long, whose server is off",
        f"warned of, exit code 0 after {seconds:.0f} s",
        "exit code 1 with `--require-all-servers`",
    )


def test_the_data_that_is_left_is_told(fleet: Fleet, findings: Findings) -> None:
    fleet.application["volumes"] = {"main": {"files": {}}}
    fleet.web.update(mounts={"files": "/files"})
    give_database(fleet)
    run(fleet)
    kept = run(fleet, "delete", "--yes")
    for place in ("/opt/nvoi/volumes/shop-main-files", "data-db-shop-0"):
        assert place in kept
    fleet.application["volumes"], fleet.web["mounts"] = {}, {}
    gone = run(fleet, "delete", "--yes", "--delete-volumes")
    assert "/opt/nvoi/volumes/shop-main-files" in gone
    assert fleet.cluster.names("PersistentVolumeClaim") == []
    findings.add(
        "10 `nvoi delete` and data",
        "delete, then delete with `--delete-volumes` of a config without its volumes",
        "the folder and the disk are told, then gone",
    )


def test_what_runs_is_safe_unless_told_otherwise(fleet: Fleet, findings: Findings) -> None:
    give_database(fleet)
    fleet.application["volumes"] = {"main": {"files": {"uid": 1000}}}
    fleet.application["app"]["worker"] = {
        "servers": ["main"],
        "image": IMAGES[0],
        "command": SERVE,
        "mounts": {"files": "/files"},
    }
    run(fleet)
    cluster = get_cluster(fleet)
    pod = min(list_pods(fleet))
    status = dict(
        line.split(":\t", 1)
        for line in cluster.execute(pod, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    # CAP_SYS_ADMIN, CAP_NET_RAW and all others that the image's root does not need.
    assert int(status["CapEff"], 16) & (1 << 21 | 1 << 13 | 1 << 12) == 0
    service = cluster.find("Service", "db-shop")["spec"]["clusterIP"]
    ask = f"nc -w 3 {service} 5432 </dev/null >/dev/null 2>&1; echo ended with $?"
    assert "ended with 0" in cluster.execute(pod, "sh", "-c", ask)
    assert "ended with 1" in cluster.run_alone(IMAGES[0], ask)
    database = cluster.find("Pod", "db-shop-0")
    assert database["spec"]["priorityClassName"] == "nvoi-database"
    assert database["spec"]["priority"] > 0
    # All that it may use is promised to it: Kubernetes itself says so.
    assert database["status"]["qosClass"] == "Guaranteed"
    (container,) = database["spec"]["containers"]
    limits = container["resources"]["limits"]
    budget = cluster.find("PodDisruptionBudget", "shop-web")
    wait_until(
        lambda: cluster.find("PodDisruptionBudget", "shop-web")["status"]["disruptionsAllowed"],
        "a pod that may be evicted",
    )
    assert budget["spec"]["maxUnavailable"] == 1
    folder = fleet.master.root / "opt/nvoi/volumes/shop-main-files"
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (1000, 0o770)
    cluster.ask("scale", "deployment/shop-web", "--replicas=1")
    taken = run(fleet)
    assert "taking back what others have set: .spec.replicas (kubectl" in taken
    assert find_release(fleet)[1] == 2
    findings.add(
        "safer by default",
        "a look into the containers, a connection to the database from a stranger's pod, "
        "the database's QoS class, `kubectl scale`",
        "no new privileges, seccomp, no capabilities beyond the defaults",
        "the stranger is kept out, the app is let in",
        f"the database is Guaranteed, with memory {limits['memory']} and cpu {limits['cpu']}",
        "the scale is taken back and told",
    )


@contextmanager
def watch_rollout(fleet: Fleet) -> Iterator[list[datetime]]:
    """When kubectl has heard that all pods of the web server are new ones that count."""
    counts = ("updatedReplicas", "availableReplicas", "replicas", "observedGeneration")
    shown = "".join(f"{{.status.{name}}} " for name in counts)
    words = ["get", "deployment/shop-web", "--watch", f"--output=jsonpath={shown}{NEWLINE}"]
    before = fleet.cluster.find("Deployment", "shop-web")["metadata"]["generation"]
    ends: list[datetime] = []

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            *pods, generation = map(int, line.split())
            if pods == [2, 2, 2] and generation > before:
                ends.append(datetime.now(UTC))

    with get_cluster(fleet).follow(*words) as lines:
        thread = threading.Thread(target=read, args=(lines,), daemon=True)
        thread.start()
        yield ends


def test_a_deploy_that_changes_nothing_is_quick(fleet: Fleet, findings: Findings) -> None:
    give_database(fleet)
    run(fleet)
    pods = list_pods(fleet)
    times = []
    for _ in range(5):
        began = time.monotonic()
        run(fleet)
        times.append(time.monotonic() - began)
    assert list_pods(fleet) == pods
    fleet.web["image"] = IMAGES[1]
    with watch_rollout(fleet) as ends, poll(fleet) as poller:
        began = time.monotonic()
        outcome = fleet.run("deploy", "--log-format", "json")
        seconds = time.monotonic() - began
    assert outcome.code == 0, outcome.output
    assert poller.failures == []
    (done,) = [
        datetime.fromisoformat(record["time"])
        for record in outcome.console
        if record["message"] == "shop-web: 2 of 2 pods are ready"
    ]
    noticed = max(0.0, (done - ends[0]).total_seconds())
    findings.add(
        "speed",
        "five deploys that change nothing, then one with a new image",
        f"{min(times):.1f} to {max(times):.1f} s",
        f"the new image {seconds:.1f} s with `min_ready: 2s`, {poller}",
        f"the rollout's end noticed {noticed:.2f} s after kubectl had heard of it",
    )


def test_a_crash_is_told_at_once(fleet: Fleet, findings: Findings) -> None:
    run(fleet)
    fleet.web.update(image=BROKEN, command="echo no database; exit 3")
    with poll(fleet) as poller:
        failed = fail(fleet)
    assert "no database" in failed.output
    told = measure_step(failed, "App")
    assert poller.failures == []
    findings.add(
        "a crash loop",
        "an image that ends at once",
        f"told with its last lines {told:.1f} s after the step began, {poller}",
    )


def test_what_the_ingress_needs_is_taken_as_it_is(findings: Findings) -> None:
    path = find_kubeconfig()
    assert path is not None, "NVOI_TEST_KUBECONFIG names no real cluster"
    cluster = RealCluster(path)
    findings.cluster = cluster.describe()
    cluster.delete_all(NAME)
    release = build_release("ingress")
    application = release.application
    domains = get_domains(application, {})
    app = build_manifests(release)
    own = [*app.policies, *app.apps, *domains.connect("run")]
    with cluster.know(DEFINITION):
        for settings in (application.ingress, None):
            manifests = [*map(sign, [build_chart_config(settings, "run"), *own])]
            with cluster.hold(manifests) as held:
                # Nothing was left out, nothing is written otherwise, and nothing would be again.
                changed = [
                    read_reference(item)
                    for item, live in zip(manifests, held, strict=True)
                    if not is_unchanged(live, item)
                ]
            assert changed == []
        wrong = build_chart_config(None, "run") | {"spec": {"valuesContents": "{}"}}
        with pytest.raises(AssertionError, match="valuesContents"), cluster.hold([wrong]):
            pass
    findings.add(
        "ingress",
        "what sets Traefik up and gives its ports back, an Ingress, the policy and the Service of "
        "an app with a domain, applied with strict validation",
        "all of it is held as it was sent",
        "a field that is not known is refused",
    )
