"""Events, as Kubernetes' own parts write them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import Store, now


def emit(store: Store, about: Object, reason: str, message: str, *, warns: bool = False) -> None:
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
            "type": "Warning" if warns else "Normal",
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
        }
    )
