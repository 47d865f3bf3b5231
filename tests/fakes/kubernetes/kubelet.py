"""The kubelets of all nodes."""

from __future__ import annotations

import math

from tests.fakes.kubernetes import scheduling
from tests.fakes.kubernetes.behaviours import Report, find_rule, report
from tests.fakes.kubernetes.events import emit
from tests.fakes.kubernetes.images import find_refused_pod
from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import finish, is_going, is_ready
from tests.fakes.kubernetes.pods import is_ready as is_well
from tests.fakes.kubernetes.pods import set_conditions
from tests.fakes.kubernetes.store import HIDDEN, Store

ENDED = ("Succeeded", "Failed")


def advance(store: Store, pod: Object) -> None:
    """One step of a pod."""
    hidden = pod.setdefault(HIDDEN, {"number": store.count("number"), "age": -1})
    if is_going(pod):
        rule = find_rule(store, pod["spec"], hidden.get("workload", pod["metadata"]["name"]))
        hidden["ending"] = hidden.get("ending", 0) + 1
        if hidden["ending"] > rule.get("grace", 0):
            finish(store, pod)
        return
    workload = hidden.setdefault("workload", pod["metadata"]["name"])
    status = pod.setdefault("status", {"phase": "Pending"})
    rule = find_rule(store, pod["spec"], workload)
    if "nodeName" not in pod["spec"] and not scheduling.place(store, pod, rule):
        return
    node = store.get("Node", pod["spec"]["nodeName"])
    if node is None or not is_ready(node):
        if status.get("containerStatuses"):
            set_conditions(pod, Ready=False)
        return
    if status["phase"] in ENDED:
        return
    hidden["age"] = hidden.get("age", -1) + 1
    if hidden["age"] > hidden.get("back-off-end", math.inf):
        hidden.pop("back-off", None)
    rule = (
        hidden.get("back-off")
        or find_refusal(store, pod)
        or find_missing(store, pod)
        or find_crash(store, pod, rule)
    )
    reports = [
        report(rule, pod, container, hidden["age"]) for container in pod["spec"]["containers"]
    ]
    if any(one.state.get("waiting", {}).get("reason") == "CrashLoopBackOff" for one in reports):
        # It lasts up to five minutes: longer than any test.
        hidden.setdefault("back-off", rule)
        hidden.setdefault("back-off-end", hidden["age"] + rule.get("back_off", math.inf))
    tell(store, pod, reports, rule)


def find_refusal(store: Store, pod: Object) -> Object | None:
    """A rule for a pod whose image its registry keeps back; a node that has it asks no more."""
    if pod[HIDDEN].get("has image"):
        return None
    refused = find_refused_pod(store, pod)
    pod[HIDDEN]["has image"] = refused is None
    return refused


def find_crash(store: Store, pod: Object, rule: Object) -> Object:
    """The rule of a pod that crashes while no pod of another workload is ready."""
    needed, hidden = rule.get("needs"), pod[HIDDEN]
    if needed is None or hidden["age"] < 1:
        return rule
    others = [one for one in store.select("Pod") if one[HIDDEN].get("workload") == needed]
    if not any(map(is_well, others)):
        hidden.setdefault("crashed", hidden["age"])
    return (
        rule | {"behaviour": "crash", "looks": hidden["crashed"]} if "crashed" in hidden else rule
    )


def find_missing(store: Store, pod: Object) -> Object | None:
    """A rule for a pod whose Secret is not there."""
    if pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("running"):
        return None
    for container in pod["spec"]["containers"]:
        for source in container.get("envFrom", ()):
            name = source.get("secretRef", {}).get("name")
            if name and store.get("Secret", name, pod["metadata"]["namespace"]) is None:
                message = f'secret "{name}" not found'
                return {"behaviour": "config-error", "looks": 1, "message": message}
    return None


def tell(store: Store, pod: Object, reports: list[Report], rule: Object) -> None:
    """The pod's status."""
    status, number = pod["status"], pod[HIDDEN]["number"]
    status["phase"] = reports[0].phase
    status["hostIP"] = "10.0.0.1"
    status["podIP"] = f"10.42.{number // 250}.{number % 250 + 1}"
    status["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": one.ready,
            "started": "running" in one.state,
            "restartCount": one.restarts,
            "state": one.state,
            "lastState": one.last,
        }
        for container, one in zip(pod["spec"]["containers"], reports, strict=True)
    ]
    ready = all(one.ready for one in reports)
    pod[HIDDEN]["ready for"] = pod[HIDDEN].get("ready for", -1) + 1 if ready else -1
    set_conditions(pod, Initialized=True, ContainersReady=ready, Ready=ready)
    for one in reports:
        for reason, message, warns in one.events:
            emit(store, pod, reason, message, warns=warns)
    lines = rule.get("logs", [f"{pod['spec']['containers'][0]['name']} has started"])
    pod[HIDDEN]["lines"] = lines[: math.ceil(len(lines) * reports[0].printed)]
