"""Nodes, as k3s registers them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import Store, now

MASTER = "node-role.kubernetes.io/control-plane"


def register(store: Store, name: str, given: Object) -> None:
    """What k3s does when it starts on a host.

    ``given`` has ``labels``, ``annotations``, ``taints``, ``ready``, ``version``, ``address``,
    ``external`` (address), ``master``; what is left out stays as it was. ``since`` is when it
    became ``ready`` or not.
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
    if "taints" in given:
        node["spec"]["taints"] = given["taints"]
    if "version" in given:
        node["status"]["nodeInfo"]["kubeletVersion"] = given["version"]
    for key, kind in (("address", "InternalIP"), ("external", "ExternalIP")):
        if key in given:
            others = [one for one in node["status"]["addresses"] if one["type"] != kind]
            node["status"]["addresses"] = [*others, {"type": kind, "address": given[key]}]
    if "ready" in given:
        set_ready(node, is_it=given["ready"], since=given.get("since"))


def set_ready(node: Object, *, is_it: bool, since: str | None = None) -> None:
    """Whether the node's kubelet is alive."""
    condition = {"type": "Ready", "status": "True" if is_it else "Unknown"}
    condition |= {
        "lastTransitionTime": since or now(),
        "reason": "KubeletReady" if is_it else "NodeStatusUnknown",
        "message": "kubelet is posting ready status"
        if is_it
        else "Kubelet stopped posting node status.",
    }
    node["status"]["conditions"] = [condition]
