"""What makes pods of workloads, and tells how far they are."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tests.fakes.kubernetes import charts, jobs, statefulsets
from tests.fakes.kubernetes.behaviours import find_rule
from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.kubelet import advance
from tests.fakes.kubernetes.objects import emit, end, finalize, is_going
from tests.fakes.kubernetes.pods import (
    build_owner,
    is_available,
    is_ready,
    make_pod,
    note_gaps,
    own,
)
from tests.fakes.kubernetes.store import HIDDEN, Store, spell

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


def step(store: Store) -> None:
    charts.run(store)
    for pod in store.select("Pod"):
        advance(store, pod)
    runs = {"Deployment": run_deployment, "StatefulSet": statefulsets.run, "Job": jobs.run}
    for kind, run in runs.items():
        for item in store.select(kind):
            if not is_going(item):
                run(store, item)
    note_gaps(store)
    finalize(store)


def run_deployment(store: Store, deployment: Object) -> None:
    if deployment["spec"].get("paused"):
        return
    newest = find_newest(store, deployment)
    olds = [one for one in store.list_owned(deployment, "ReplicaSet") if one is not newest]
    deployment[HIDDEN]["looks"] = deployment[HIDDEN].get("looks", 0) + 1
    if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
        replace_all(store, deployment, newest, olds)
    else:
        replace_some(store, deployment, newest, olds)
    for replicaset in (newest, *olds):
        run_replicaset(store, deployment, replicaset)
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    empty = [one for one in olds if not one["spec"]["replicas"] and not list_pods(store, one)]
    for replicaset in empty[: max(0, len(empty) - limit)]:
        end(store, replicaset)
    tell(store, deployment, newest, [one for one in olds if one not in empty])


def find_newest(store: Store, deployment: Object) -> Object:
    """The ReplicaSet of the present template, which is made where there is none."""
    template = deployment["spec"]["template"]
    name = f"{deployment['metadata']['name']}-{spell(json.dumps(template, sort_keys=True), 10)}"
    found = store.get("ReplicaSet", name, deployment["metadata"]["namespace"])
    revisions = [
        int(one["metadata"]["annotations"][REVISION])
        for one in store.list_owned(deployment, "ReplicaSet")
    ]
    last = max(revisions, default=0)
    if found is None:
        found = own(store, deployment, "ReplicaSet", name)
        mark = name.rpartition("-")[2]
        labels = template["metadata"].get("labels", {}) | {HASH: mark}
        found["metadata"] |= {"labels": labels, "annotations": {REVISION: str(last + 1)}}
        found["spec"] = {
            "replicas": 0,
            "selector": {"matchLabels": deployment["spec"]["selector"]["matchLabels"]},
            "template": template | {"metadata": template["metadata"] | {"labels": labels}},
        }
        deployment[HIDDEN]["looks"] = 0
    elif not found["metadata"]["ownerReferences"]:
        found["metadata"]["ownerReferences"] = [build_owner(deployment)]
    elif int(found["metadata"]["annotations"][REVISION]) < last:
        found["metadata"]["annotations"][REVISION] = str(last + 1)
        deployment[HIDDEN]["looks"] = 0
    return found


def list_pods(store: Store, replicaset: Object) -> list[Object]:
    return [pod for pod in store.list_owned(replicaset, "Pod") if not is_going(pod)]


def replace_all(store: Store, deployment: Object, newest: Object, olds: list[Object]) -> None:
    """No new pod while there is an old one, be it on its way out."""
    for old in olds:
        old["spec"]["replicas"] = 0
    if not any(store.list_owned(old, "Pod") for old in olds):
        newest["spec"]["replicas"] = deployment["spec"].get("replicas", 1)


def replace_some(store: Store, deployment: Object, newest: Object, olds: list[Object]) -> None:
    """Never more pods than allowed, and never fewer ready ones."""
    wanted = deployment["spec"].get("replicas", 1)
    limits = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
    surge = resolve(limits.get("maxSurge", "25%"), wanted, up=True)
    least = wanted - resolve(limits.get("maxUnavailable", "25%"), wanted, up=False)
    total = sum(one["spec"]["replicas"] for one in (newest, *olds))
    room = wanted + surge - total
    new = newest["spec"]["replicas"]
    newest["spec"]["replicas"] = wanted if new > wanted else min(wanted, new + max(0, room))
    pods = {one["metadata"]["uid"]: list_pods(store, one) for one in (newest, *olds)}
    unready = newest["spec"]["replicas"] - count_available(
        deployment, pods[newest["metadata"]["uid"]]
    )
    # First those that are of no use, then one for each that is ready beyond the least.
    spare = sum(one["spec"]["replicas"] for one in (newest, *olds)) - least - unready
    for old in olds:
        broken = sum(not is_ready(pod) for pod in pods[old["metadata"]["uid"]])
        fewer = min(broken, max(0, spare), old["spec"]["replicas"])
        old["spec"]["replicas"] -= fewer
        spare -= fewer
    ready = sum(count_available(deployment, found) for found in pods.values())
    for old in olds:
        fewer = min(old["spec"]["replicas"], max(0, ready - least))
        old["spec"]["replicas"] -= fewer
        ready -= fewer


def count_available(deployment: Object, pods: Iterable[Object]) -> int:
    seconds = deployment["spec"].get("minReadySeconds", 0)
    return sum(is_available(pod, seconds) for pod in pods)


def resolve(value: int | str, of: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * of
    return -(-share // 100) if up else share // 100


def run_replicaset(store: Store, deployment: Object, replicaset: Object) -> None:
    pods, wanted = list_pods(store, replicaset), replicaset["spec"]["replicas"]
    for pod in sorted(pods, key=is_ready)[: max(0, len(pods) - wanted)]:
        end(store, pod)
    rule = find_rule(store, replicaset["spec"]["template"]["spec"], deployment["metadata"]["name"])
    for _ in range(wanted - len(pods)):
        if rule["behaviour"] == "forbidden":
            message = rule.get("message", "pods is forbidden: exceeded quota: pods")
            emit(store, replicaset, "FailedCreate", f"Error creating: {message}")
            replicaset[HIDDEN]["refused"] = message
            break
        name = f"{replicaset['metadata']['name']}-{store.make_suffix()}"
        make_pod(store, replicaset, name, deployment["metadata"]["name"])


def tell(store: Store, deployment: Object, newest: Object, olds: list[Object]) -> None:
    wanted = deployment["spec"].get("replicas", 1)
    new, old = list_pods(store, newest), [pod for one in olds for pod in list_pods(store, one)]
    ready = count_available(deployment, (*new, *old))
    is_done = count_available(deployment, new) >= wanted and len(new) == wanted and not old
    counts = {
        "replicas": len(new) + len(old),
        "updatedReplicas": len(new),
        "readyReplicas": sum(map(is_ready, (*new, *old))),
        "availableReplicas": ready,
    }
    name, conditions = newest["metadata"]["name"], []
    rule = find_rule(store, newest["spec"]["template"]["spec"], deployment["metadata"]["name"])
    if rule["behaviour"] == "deadline" and deployment[HIDDEN]["looks"] >= rule["looks"] + 2:
        newest[HIDDEN]["late"] = True
    # It is said until there is progress.
    if newest[HIDDEN].get("late") and not is_done:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        conditions.append(
            build_condition("Progressing", "False", "ProgressDeadlineExceeded", message)
        )
    if newest[HIDDEN].get("refused") and len(new) < newest["spec"]["replicas"]:
        message = newest[HIDDEN]["refused"]
        conditions.append(build_condition("ReplicaFailure", "True", "FailedCreate", message))
    deployment["status"] = {
        "observedGeneration": deployment["metadata"]["generation"],
        **{key: value for key, value in counts.items() if value},
        "conditions": conditions,
    }


def build_condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}
