"""The objects' end, what there is to see of them, and events about them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import HIDDEN, Store, now


def override(store: Store, item: Object) -> Object:
    """A Service at the address at which the test has a server of its own."""
    found = store.scenario.get("addresses", {}).get(item["metadata"]["name"])
    if item["kind"] != "Service" or not found:
        return item
    address, port = found
    first, *others = item["spec"].get("ports") or [{}]
    changed = {"clusterIP": address, "clusterIPs": [address]}
    return item | {"spec": item["spec"] | changed | {"ports": [first | {"port": port}, *others]}}


def is_going(item: Object) -> bool:
    return "deletionTimestamp" in item["metadata"]


def end(store: Store, item: Object, *, is_last: bool = False) -> None:
    """Begin an object's end: pods take their time, all others are gone at once.

    With ``is_last`` it is gone only once all pods are that were made for it.
    """
    if item["kind"] == "Pod":
        if "deletionTimestamp" not in item["metadata"]:
            grace = item["spec"].get("terminationGracePeriodSeconds", 30)
            item["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": grace}
        return
    if item["kind"] == "Node":
        for pod in store.select("Pod"):
            if pod["spec"].get("nodeName") == item["metadata"]["name"]:
                store.remove(pod)
    before = {pod["metadata"]["uid"] for pod in store.select("Pod") if is_going(pod)}
    store.remove(item)
    uid = item["metadata"]["uid"]
    for other in list(store.objects.values()):
        owners = other["metadata"].get("ownerReferences", ())
        if any(owner["uid"] == uid for owner in owners):
            end(store, other)
    waits = [
        uid
        for pod in store.select("Pod")
        if is_going(pod) and (uid := pod["metadata"]["uid"]) not in before
    ]
    if is_last and waits:
        item["metadata"] |= {"deletionTimestamp": now(), "finalizers": ["foregroundDeletion"]}
        item[HIDDEN]["waits"] = waits
        store.add(item)


def orphan(store: Store, item: Object) -> None:
    """Have what was made for an object outlive it."""
    for other in store.objects.values():
        owners = other["metadata"].get("ownerReferences", ())
        kept = [one for one in owners if one["uid"] != item["metadata"]["uid"]]
        if len(kept) < len(owners):
            other["metadata"]["ownerReferences"] = kept


def finalize(store: Store) -> None:
    """Remove the objects whose pods they had to wait for are gone."""
    uids = {pod["metadata"]["uid"] for pod in store.select("Pod")}
    for item in list(store.objects.values()):
        waits = item.get(HIDDEN, {}).get("waits")
        if waits and uids.isdisjoint(waits):
            store.remove(item)


def finish(store: Store, pod: Object) -> None:
    """End a pod that has been asked to, where its node is there to do so."""
    node = store.get("Node", pod["spec"].get("nodeName", ""))
    if "nodeName" not in pod["spec"] or (node is not None and is_ready(node)):
        store.remove(pod)


def is_ready(node: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node.get("status", {}).get("conditions", ())
    )


def emit(store: Store, about: Object, reason: str, message: str) -> None:
    """An event about an object; the same one again is counted."""
    metadata = about["metadata"]
    for event in store.select("Event", metadata["namespace"]):
        involved = event["involvedObject"]
        same = involved["uid"] == metadata["uid"] and event["message"] == message
        if same and event["reason"] == reason:
            event["count"] += 1
            event["lastTimestamp"] = now()
            return
    keys = ("name", "namespace", "uid", "resourceVersion")
    involved = {"apiVersion": about["apiVersion"], "kind": about["kind"]}
    involved |= {key: metadata[key] for key in keys if key in metadata}
    name = f"{metadata['name']}.{store.count('event'):016x}"
    store.add(
        {
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
        }
    )
