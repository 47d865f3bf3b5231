"""Nodes, as k3s registers them, and the scheduler: where a pod may be, in its own words."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import emit, is_going, is_ready
from tests.fakes.kubernetes.store import HIDDEN, Store, now

AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def place(store: Store, pod: Object, rule: Object) -> bool:
    nodes = store.select("Node")
    is_full = rule["behaviour"] == "unschedulable" and not has_room(store, pod, rule)
    full = str(rule.get("message", "Insufficient memory")) if is_full else None
    refusals = {node["metadata"]["name"]: find_refusal(node, pod) or full for node in nodes}
    free = [node for node in nodes if not refusals[node["metadata"]["name"]]]
    others = [
        condition
        for condition in pod["status"].get("conditions", ())
        if condition["type"] != "PodScheduled"
    ]
    if not free:
        message = explain([text for text in refusals.values() if text])
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        pod["status"]["conditions"] = [*others, condition | {"message": message}]
        emit(store, pod, "FailedScheduling", message)
        return False
    least = min(free, key=lambda node: count(store, node, pod))
    name = least["metadata"]["name"]
    pod["spec"]["nodeName"] = name
    pod["status"]["conditions"] = [*others, {"type": "PodScheduled", "status": "True"}]
    return True


def count(store: Store, node: Object, pod: Object) -> tuple[int, int]:
    """How many pods just like this one a node has, and how many in all."""
    name, labels = node["metadata"]["name"], pod["metadata"].get("labels")
    pods = [one for one in store.select("Pod") if one["spec"].get("nodeName") == name]
    return sum(one["metadata"].get("labels") == labels for one in pods), len(pods)


def explain(refusals: list[str]) -> str:
    """Why no node will do, counted and sorted as the scheduler does."""
    if not refusals:
        return "no nodes available to schedule pods"
    total = f"0/{len(refusals)} nodes are available: "
    counted = sorted(f"{refusals.count(text)} {text}" for text in set(refusals))
    return f"{total}{', '.join(counted)}."


def has_room(store: Store, pod: Object, rule: Object) -> bool:
    """Whether ``heals`` looks have gone by since the last of the pods that were to go is gone."""
    looks = 0 if any(map(is_going, store.select("Pod"))) else pod[HIDDEN].get("looks", 0) + 1
    pod[HIDDEN]["looks"] = looks
    return "heals" in rule and looks > rule["heals"]


def find_refusal(node: Object, pod: Object) -> str | None:
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not is_ready(node):
        return "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"
    if not fits(node["metadata"].get("labels", {}), pod):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def fits(labels: Object, pod: Object) -> bool:
    selector = pod["spec"].get("nodeSelector", {})
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    terms = (pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get(AFFINITY, {})).get(
        "nodeSelectorTerms"
    )
    return terms is None or any(
        all(labels.get(one["key"]) in one["values"] for one in term.get("matchExpressions", ()))
        for term in terms
    )


MASTER = "node-role.kubernetes.io/control-plane"


def register(store: Store, name: str, given: Object) -> None:
    """What k3s does when it starts on a host.

    ``given`` has ``labels``, ``annotations``, ``ready``, ``version``, ``address``, ``master``; what
    is left out stays as it was. ``since`` is when it became ``ready`` or not.
    """
    node = store.get("Node", name)
    if node is None:
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        metadata = {"name": name, "labels": labels, "annotations": {}}
        status = {"nodeInfo": {}, "addresses": [{"type": "Hostname", "address": name}]}
        node = store.add({"kind": "Node", "metadata": metadata, "spec": {}, "status": status})
        set_ready(node, is_it=True)
    if given.get("master"):
        node["metadata"]["labels"][MASTER] = "true"
    for key in ("labels", "annotations"):
        node["metadata"][key] |= given.get(key, {})
    if "version" in given:
        node["status"]["nodeInfo"]["kubeletVersion"] = given["version"]
    if "address" in given:
        host, *_ = node["status"]["addresses"]
        internal = {"type": "InternalIP", "address": given["address"]}
        node["status"]["addresses"] = [host, internal]
    if "ready" in given:
        set_ready(node, is_it=given["ready"], since=given.get("since"))


def set_ready(node: Object, *, is_it: bool, since: str | None = None) -> None:
    condition = {"type": "Ready", "status": "True" if is_it else "Unknown"}
    condition |= {
        "lastTransitionTime": since or now(),
        "reason": "KubeletReady" if is_it else "NodeStatusUnknown",
        "message": "kubelet is posting ready status"
        if is_it
        else "Kubelet stopped posting node status.",
    }
    node["status"]["conditions"] = [condition]
