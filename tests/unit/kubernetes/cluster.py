"""Objects as a cluster shows them: manifests with the states that Kubernetes adds."""

from __future__ import annotations

import copy
from typing import Any

from tests.unit.kubernetes.configs import build, find


def live(kind: str, name: str, config: str, **status: Any) -> Any:
    """An object of the config, applied and looked at, with ``status``."""
    item = copy.deepcopy(find(build(config), kind, name))
    item["metadata"] |= {"generation": 2, "uid": f"uid-{name}"}
    return item | {"status": {"observedGeneration": 2} | status}


def deployment(**status: Any) -> Any:
    """The Deployment of a web service with two replicas."""
    return live("Deployment", "shop-web", "web", **status)


def pod(of: Any, *, state: Any = None, ready: bool = False, **more: Any) -> Any:
    """A pod of ``of`` whose one container is in ``state``; ``more`` is of the container."""
    template = copy.deepcopy(of["spec"]["template"])
    name = f"{of['metadata']['name']}-x"
    container = {
        "name": template["spec"]["containers"][0]["name"],
        "ready": ready,
        "restartCount": 0,
        "state": state or {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }
    return {
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": name, "uid": f"uid-{name}"},
        "spec": template["spec"] | {"nodeName": "shop-main-1"},
        "status": {"phase": "Running", "containerStatuses": [container | more]},
    }


def waiting(reason: str, message: str = "") -> Any:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", **more: Any) -> Any:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def unscheduled(of: Any, message: str) -> Any:
    """A pod that no node will have."""
    item = pod(of)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    item["status"] = {"phase": "Pending", "conditions": [condition | {"message": message}]}
    del item["spec"]["nodeName"]
    return item


def event(of: Any, reason: str, message: str) -> Any:
    involved = {"name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}
    return {"kind": "Event", "reason": reason, "message": message, "involvedObject": involved}
