"""StatefulSets: one pod after the other, each with its disk."""

from __future__ import annotations

import json

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import end, is_going
from tests.fakes.kubernetes.pods import is_ready, make_pod
from tests.fakes.kubernetes.store import Store, copy, spell

REVISION = "controller-revision-hash"


def run(store: Store, statefulset: Object) -> None:
    """One step; a pod that is not ready holds up all others, whatever it was made from."""
    name, spec = statefulset["metadata"]["name"], statefulset["spec"]
    hash_ = spell(json.dumps(spec["template"], sort_keys=True), 10)
    revision, wanted = f"{name}-{hash_}", spec.get("replicas", 1)
    pods = {pod["metadata"]["name"]: pod for pod in store.list_owned(statefulset, "Pod")}
    act(store, statefulset, revision, pods)
    tell(store, statefulset, revision, wanted)


def act(store: Store, statefulset: Object, revision: str, pods: dict[str, Object]) -> None:
    name, wanted = statefulset["metadata"]["name"], statefulset["spec"].get("replicas", 1)
    for index in range(wanted):
        pod = pods.get(f"{name}-{index}")
        if pod is None:
            make(store, statefulset, revision, index)
            return
        if pod["status"]["phase"] in ("Failed", "Succeeded") and not is_going(pod):
            end(store, pod)
            return
        if not is_ready(pod):
            return
    for index in range(wanted, len(pods)):
        end(store, pods[f"{name}-{index}"])
    for index in reversed(range(wanted)):
        pod = pods[f"{name}-{index}"]
        if pod["metadata"]["labels"][REVISION] != revision:
            end(store, pod)
            return


def make(store: Store, statefulset: Object, revision: str, index: int) -> None:
    name = f"{statefulset['metadata']['name']}-{index}"
    workload = statefulset["metadata"]["name"]
    pod = make_pod(store, statefulset, name, workload, {REVISION: revision})
    for template in statefulset["spec"].get("volumeClaimTemplates", ()):
        short, namespace = template["metadata"]["name"], statefulset["metadata"]["namespace"]
        claim = f"{short}-{name}"
        pod["spec"].setdefault("volumes", []).append(
            {"name": short, "persistentVolumeClaim": {"claimName": claim}}
        )
        if store.get("PersistentVolumeClaim", claim, namespace) is None:
            item = copy(template) | {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
            item["metadata"] |= {"name": claim, "namespace": namespace}
            store.add(item | {"status": {"phase": "Bound"}})


def tell(store: Store, statefulset: Object, revision: str, wanted: int) -> None:
    pods = store.list_owned(statefulset, "Pod")
    new = [pod for pod in pods if pod["metadata"]["labels"][REVISION] == revision]
    before = statefulset.get("status", {}).get("currentRevision", revision)
    ready = sum(map(is_ready, pods))
    is_turned = len(new) == len(pods) == wanted and ready == wanted
    counts = {
        "readyReplicas": ready,
        "updatedReplicas": sum(not is_going(pod) for pod in new),
    }
    statefulset["status"] = {
        "observedGeneration": statefulset["metadata"]["generation"],
        "replicas": len(pods),
        **{key: value for key, value in counts.items() if value},
        "currentRevision": revision if is_turned else before,
        "updateRevision": revision,
    }
