"""The kubelets of all nodes, and what their containerd pulls."""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode

from tests.fakes.kubernetes import scheduling
from tests.fakes.kubernetes.behaviours import Report, find_rule, report
from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import emit, finish, is_going, is_ready
from tests.fakes.kubernetes.pods import is_ready as is_well
from tests.fakes.kubernetes.pods import set_conditions
from tests.fakes.kubernetes.store import HIDDEN, Store

ENDED = ("Succeeded", "Failed")


def advance(store: Store, pod: Object) -> None:
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
    status, number = pod["status"], pod[HIDDEN]["number"]
    status["phase"] = reports[0].phase
    status["hostIP"] = "10.0.0.1"
    status["podIP"] = f"10.42.{number // 250}.{number % 250 + 1}"
    status["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container["image"],
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
    set_conditions(pod, Ready=ready)
    for one in reports:
        for reason, message in one.events:
            emit(store, pod, reason, message)
    lines = rule.get("logs", [f"{pod['spec']['containers'][0]['name']} has started"])
    pod[HIDDEN]["lines"] = lines[: math.ceil(len(lines) * reports[0].printed)]


REFUSED = "failed to authorize: failed to fetch anonymous token: 401 Unauthorized"


def find_fault(store: Store, image: str) -> str | None:
    for rule in store.scenario.get("pods", ()):
        if rule["match"] in image and rule.get("behaviour") == "image-pull":
            return str(rule.get("message", build_missing(image)))
    return None


def find_wanted(store: Store, image: str) -> tuple[str, str] | None:
    """What a login to an image's registry is kept under, and what it is, where one is needed."""
    for name, login in store.scenario.get("logins", {}).items():
        host = image.partition("/")[0] if "." in image.partition("/")[0] else "docker.io"
        if host == name:
            key = "https://index.docker.io/v1/" if name == "docker.io" else name
            return key, b64encode(login.encode()).decode()
    return None


def find_refused_pod(store: Store, pod: Object) -> Object | None:
    """A rule for a pod whose Secrets do not let its node have its image."""
    for container in pod["spec"]["containers"]:
        wanted = find_wanted(store, container["image"])
        if wanted is None:
            continue
        given = set()
        for one in pod["spec"].get("imagePullSecrets", ()):
            secret = store.get("Secret", one["name"], pod["metadata"]["namespace"]) or {}
            text = secret.get("data", {}).get(".dockerconfigjson", "e30=")
            auths = json.loads(b64decode(text)).get("auths", {})
            given |= {(key, entry["auth"]) for key, entry in auths.items()}
        if wanted not in given:
            return {"behaviour": "image-pull", "looks": 1, "message": REFUSED}
    return None


def build_missing(image: str) -> str:
    return f'failed to resolve reference "{image}": {image}: not found'


def pull(store: Store, image: str, login: str = "") -> Object:
    """What ``crictl pull`` prints. A rule's ``times`` is how often it fails."""
    fault, wanted = find_fault(store, image), find_wanted(store, image)
    if wanted is not None and login != wanted[1]:
        fault = REFUSED
    rules = [one for one in store.scenario.get("pods", ()) if one["match"] in image]
    times = rules[0].get("times") if rules else None
    if fault is None or (times is not None and store.count(f"pull {image}") > times):
        return {"stdout": f"Image is up to date for {image}\n"}
    text = f'rpc error: code = Unknown desc = failed to pull and unpack image "{image}": {fault}'
    return {"stderr": f"FATA[0001] pulling image: {text}\n", "exit": 1}
