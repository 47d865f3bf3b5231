"""The life of an app on a cluster, from its first deploy to its end.

It is told on the fakes, and, with ``NVOI_TEST_KUBECONFIG``, on a real cluster: then the machine
that the tests run on is its master, where k3s is installed already (docs/cluster.md).
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
import urllib3

from tests.fakes.real_cluster import find_kubeconfig
from tests.integration.cluster.fleet import PATIENCE, REAL_PATIENCE, Fleet
from tests.integration.commands import Outcome

#: Several runs, each of which may take so long.
pytestmark = (
    [pytest.mark.real_cluster, pytest.mark.timeout(2 * REAL_PATIENCE)]
    if find_kubeconfig()
    else [pytest.mark.timeout(2 * PATIENCE)]
)

#: Images that a real cluster can pull, and a web server that is in them.
IMAGES = ("busybox:1.36", "busybox:1.37")
BROKEN, MISSING = "busybox:1.35", "busybox:there-is-none"
DATABASE, MISTYPED = "postgres:17-alpine", "postgres:17-alpinee"
#: Ends when its database does.
WORK = "while nc -w 2 db-shop 5432 </dev/null >/dev/null; do sleep 1; done; exit 3"
LISTEN = "mkdir -p /tmp/www && : >/tmp/www/up && httpd -f -p 3000 -h /tmp/www &"
#: Ends as soon as it is told to.
SERVE = f"{LISTEN} trap 'kill $!' TERM; wait"


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


def check_registry(fleet: Fleet) -> None:
    """See that nobody without the password puts an image into the registry."""
    secret = fleet.cluster.find("Secret", "nvoi-registry", "kube-system")
    assert secret["data"]["htpasswd"]
    for method, path in (("GET", "_catalog"), ("PUT", "nvoi-shop/manifests/20260101000000")):
        url = f"{fleet.registry_url}/v2/{path}"
        assert urllib3.request(method, url, body=b"{}").status == 401


def check_failure(fleet: Fleet, image: str, command: str, *reasons: str) -> None:
    """See that a release fails, says why, and leaves the pods before it as they are."""
    before, pods = dict(fleet.web), list_pods(fleet)
    fleet.web.update(image=image, command=command)
    outcome = fleet.run()
    assert outcome.code == 1
    for reason in reasons:
        assert reason in outcome.output
    assert list_pods(fleet) == pods
    fleet.web.update(before)


def test_an_app_is_deployed_changed_broken_gone_back_with_and_deleted(fleet: Fleet) -> None:
    web = fleet.web
    web |= {"image": IMAGES[0], "command": SERVE}
    run(fleet)
    check_registry(fleet)
    assert find_release(fleet) == (IMAGES[0], 2)
    pods = list_pods(fleet)
    run(fleet)
    assert list_pods(fleet) == pods
    web["image"] = IMAGES[1]
    run(fleet)
    assert find_release(fleet) == (IMAGES[1], 2)
    # It cannot be had, does not start, or does not stay up.
    fleet.cluster.behave(MISSING, "image-pull")
    check_failure(fleet, MISSING, SERVE, "not found")
    fleet.cluster.behave(BROKEN, "crash", logs=["no database"])
    check_failure(fleet, BROKEN, "echo no database; exit 3", "CrashLoopBackOff", "no database")
    fleet.cluster.behave(BROKEN, "die", exit=6)
    ended = "it was ready, and then ended with exit code 6"
    check_failure(fleet, BROKEN, f"{LISTEN} sleep 6; exit 6", ended)
    # The second deploy changed nothing: it is none to go back to.
    run(fleet, "rollback")
    assert find_release(fleet) == (IMAGES[0], 2)
    none = fleet.run("rollback")
    assert none.code == 2
    assert "no release that differs from the one that runs" in none.output + none.errors
    run(fleet, "delete", "--yes")
    assert fleet.cluster.find("Deployment", "shop-web") is None


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


def test_a_database_is_repaired_by_deploying_and_its_data_does_not_leave_sight(
    fleet: Fleet,
) -> None:
    secrets = {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"}
    database = {"servers": ["main"], "adapter": "postgres", "image": DATABASE, "secrets": secrets}
    fleet.application["database"] = database
    fleet.web.update(image=IMAGES[0], command=SERVE)
    fleet.application["app"]["worker"] = {"servers": ["main"], "image": IMAGES[0], "command": WORK}
    fleet.cluster.behave("shop-worker", needs="db-shop")
    run(fleet)
    served = find_database(fleet)
    assert served["class"] == "Guaranteed"
    # A mistyped tag costs nothing: what runs goes on.
    fleet.cluster.behave(MISTYPED, "image-pull")
    mistyped = with_database(fleet, image=MISTYPED)
    assert mistyped.code == 1
    assert f"the database: {MISTYPED} cannot be pulled on shop-main-1" in mistyped.output
    assert find_database(fleet) == served
    # Nor does a volume that is not the data's own.
    fleet.application["volumes"] = {"main": {"data": {}}}
    moved = with_database(fleet, mount={"data": "/var/lib/postgresql/data"})
    assert moved.code == 2
    for place in ("persistentvolumeclaim/data-db-shop-0", "/opt/nvoi/volumes/shop-main-data"):
        assert place in moved.output + moved.errors
    assert find_database(fleet) == served
    # A run that is killed leaves a database that cannot start.
    fleet.cluster.behave(BROKEN, "stall")
    fleet.application["database"] = database | {"image": BROKEN}
    running = fleet.start()
    running.wait_for("[STEP] Database")
    running.wait_for("db-shop-0 is being made")
    running.send(signal.SIGKILL)
    running.process.wait()
    fleet.application["database"] = database
    repaired = with_database(fleet)
    assert repaired.code == 0, repaired.output
    assert "Deleting what stands in the way: pod/db-shop-0" in repaired.output
    assert find_database(fleet) | {"uid": served["uid"]} == served


def with_database(fleet: Fleet, **changes: Any) -> Outcome:
    """A deploy with a changed database, which is as it was from then on."""
    before = fleet.application["database"]
    fleet.application["database"] = before | changes
    outcome = fleet.run()
    fleet.application["database"] = before
    return outcome
