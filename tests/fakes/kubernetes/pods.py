"""Pods as controllers make them and look at them, and as Services lead to them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import KINDS, Object
from tests.fakes.kubernetes.objects import is_going
from tests.fakes.kubernetes.store import HIDDEN, Store, copy


def build_owner(owner: Object) -> Object:
    return {
        "apiVersion": KINDS[owner["kind"]].version,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def own(store: Store, owner: Object, kind: str, name: str) -> Object:
    metadata: Object = {"name": name, "ownerReferences": [build_owner(owner)]}
    metadata["namespace"] = owner["metadata"]["namespace"]
    return store.add(
        {"kind": kind, "metadata": metadata, HIDDEN: {"number": store.count("number")}}
    )


def make_pod(
    store: Store, owner: Object, name: str, workload: str, labels: Object | None = None
) -> Object:
    """A pod of its owner's template, which nobody has looked at yet."""
    template = copy(owner["spec"]["template"])
    pod = own(store, owner, "Pod", name)
    made = template.get("metadata", {})
    pod["metadata"]["labels"] = made.get("labels", {}) | (labels or {})
    if "annotations" in made:
        pod["metadata"]["annotations"] = made["annotations"]
    pod["spec"] = template["spec"]
    pod["status"] = {"phase": "Pending", "qosClass": find_class(pod["spec"])}
    pod[HIDDEN] |= {"workload": workload, "age": -1}
    return pod


def find_class(spec: Object) -> str:
    """The QoS class of a pod, by all of its containers.

    Source: Kubernetes documentation, "Pod Quality of Service Classes".
    """
    whole = [*spec["containers"], *spec.get("initContainers", ())]
    pairs = [
        tuple(
            {
                key: value
                for key, value in container.get("resources", {}).get(part, {}).items()
                if key in ("cpu", "memory")
            }
            for part in ("requests", "limits")
        )
        for container in whole
    ]
    if all(limits.keys() == {"cpu", "memory"} and requests == limits for requests, limits in pairs):
        return "Guaranteed"
    return "Burstable" if any(map(any, pairs)) else "BestEffort"


def is_ready(pod: Object) -> bool:
    return not is_going(pod) and get_condition(pod, "Ready") == "True"


def is_available(pod: Object, seconds: int) -> bool:
    return is_ready(pod) and pod[HIDDEN].get("ready for", 0) >= seconds


def get_condition(pod: Object, kind: str) -> str | None:
    for condition in pod["status"].get("conditions", ()):
        if condition["type"] == kind:
            return str(condition["status"])
    return None


def set_conditions(pod: Object, **statuses: bool) -> None:
    others = [one for one in pod["status"].get("conditions", ()) if one["type"] not in statuses]
    pod["status"]["conditions"] = others + [
        {"type": kind, "status": str(status)} for kind, status in statuses.items()
    ]


def note_gaps(store: Store) -> None:
    """Note the Services that had pods which answer, and have none now."""
    for service in store.select("Service"):
        name = service["metadata"]["name"]
        if any(answers(pod, service) for pod in store.select("Pod")):
            store.served.add(name)
        elif name in store.served:
            store.served.discard(name)
            store.gaps.append(name)


def answers(pod: Object, service: Object) -> bool:
    """Whether a pod is one of the Service's, and listens where that leads to."""
    selector = service["spec"].get("selector") or {}
    if not selector or not selector.items() <= pod["metadata"].get("labels", {}).items():
        return False
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports", ())]
    known = {one["containerPort"] for one in ports} | {one.get("name") for one in ports}
    targets = {one.get("targetPort", one["port"]) for one in service["spec"]["ports"]}
    return is_ready(pod) and targets <= known
