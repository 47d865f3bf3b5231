"""The life of an app on a cluster, from its first deploy to its end.

It is told on the fakes, and, with ``NVOI_TEST_KUBECONFIG``, on a real cluster: then the machine
that the tests run on is its master, where k3s is installed already (docs/cluster.md).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import urllib3

from tests.integration.cluster.fleet import PATIENCE, REAL_PATIENCE, Fleet

#: Several runs, each of which may take so long.
pytestmark = pytest.mark.timeout(
    2 * REAL_PATIENCE if "NVOI_TEST_KUBECONFIG" in os.environ else 2 * PATIENCE
)

#: Images that a real cluster can pull, and a web server that is in them.
IMAGES = ("busybox:1.36", "busybox:1.37")
BROKEN = "busybox:1.35"
SERVE = "mkdir -p /tmp/www && : >/tmp/www/up && exec httpd -f -p 3000 -h /tmp/www"


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


def test_nobody_without_the_password_puts_an_image_into_the_registry(fleet: Fleet) -> None:
    fleet.web.update(image=IMAGES[0], command=SERVE)
    run(fleet)
    secret = fleet.cluster.find("Secret", "nvoi-registry", "kube-system")
    assert secret["data"]["htpasswd"]
    for method, path in (("GET", "_catalog"), ("PUT", "nvoi-shop/manifests/20260101000000")):
        url = f"{fleet.registry_url}/v2/{path}"
        assert urllib3.request(method, url, body=b"{}").status == 401
    run(fleet, "delete")


def test_an_app_is_deployed_changed_broken_gone_back_with_and_deleted(fleet: Fleet) -> None:
    web = fleet.web
    web |= {"image": IMAGES[0], "command": SERVE}
    run(fleet)
    assert find_release(fleet) == (IMAGES[0], 2)
    pods = list_pods(fleet)
    run(fleet)
    assert list_pods(fleet) == pods
    web["image"] = IMAGES[1]
    run(fleet)
    assert find_release(fleet) == (IMAGES[1], 2)
    web |= {"image": BROKEN, "command": "echo no database; exit 3"}
    fleet.cluster.behave(BROKEN, "crash", logs=["no database"])
    broken = fleet.run()
    assert broken.code == 1
    assert "CrashLoopBackOff" in broken.output
    assert "no database" in broken.output
    assert find_release(fleet) == (IMAGES[1], 2)
    run(fleet, "rollback")
    run(fleet, "rollback")
    assert find_release(fleet) == (IMAGES[0], 2)
    run(fleet, "delete")
    assert fleet.cluster.find("Deployment", "shop-web") is None
