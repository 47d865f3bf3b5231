"""What is done with nodes, and labels and annotations of all objects."""

from __future__ import annotations

from tests.fakes.kubernetes.arguments import Arguments
from tests.fakes.kubernetes.kinds import KubectlError, Object, get_kind
from tests.fakes.kubernetes.reading import end, find, finish, is_ready
from tests.fakes.kubernetes.store import Store

MASTER = "node-role.kubernetes.io/control-plane"


def register(store: Store, name: str, given: Object) -> None:
    """``--register-node NAME JSON``: what k3s does when it starts on a host.

    JSON: ``labels``, ``annotations``, ``taints``, ``ready``, ``version``, ``address``,
    ``external`` (address), ``master``; what is left out stays as it was.
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
        set_ready(node, is_it=given["ready"])
    store.touch(node)


def set_ready(node: Object, *, is_it: bool) -> None:
    """Whether the node's kubelet is alive."""
    condition = {"type": "Ready", "status": "True" if is_it else "Unknown"}
    condition |= {
        "reason": "KubeletReady" if is_it else "NodeStatusUnknown",
        "message": "kubelet is posting ready status"
        if is_it
        else "Kubelet stopped posting node status.",
    }
    node["status"]["conditions"] = [condition]


def mark(store: Store, arguments: Arguments) -> int:
    """``kubectl label`` and ``kubectl annotate``: ``key=value`` or ``key-``."""
    changes = [word for word in arguments.words if "=" in word or word.endswith("-")]
    arguments.words = [word for word in arguments.words if word not in changes]
    field = "labels" if arguments.verb == "label" else "annotations"
    done = "labeled" if arguments.verb == "label" else "annotated"
    for item in find(store, arguments, is_missing_ok=False)[0]:
        before = dict(item["metadata"].setdefault(field, {}))
        for change in changes:
            set_mark(item["metadata"][field], change, overwrites=arguments.has("overwrite"))
        shown = f"{get_kind(item['kind']).shown}/{item['metadata']['name']}"
        same = before == item["metadata"][field]
        print(f"{shown} not {done}" if same else f"{shown} {done}")
        if not same:
            store.touch(item)
    return 0


def set_mark(marks: dict[str, str], change: str, *, overwrites: bool) -> None:
    """Set or remove one."""
    key, equals, value = change.partition("=")
    if not equals:
        marks.pop(key.removesuffix("-"), None)
        return
    if not overwrites and marks.get(key, value) != value:
        message = f"'{key}' already has a value ({marks[key]}), and --overwrite is false"
        raise KubectlError(f"error: {message}")
    marks[key] = value


def get_node(store: Store, arguments: Arguments) -> Object:
    """The one node that is meant."""
    name = arguments.words[0].removeprefix("node/")
    node = store.get("Node", name)
    if node is None:
        raise KubectlError(f'Error from server (NotFound): nodes "{name}" not found')
    return node


def cordon(store: Store, arguments: Arguments) -> int:
    """``kubectl cordon`` and ``kubectl uncordon``."""
    node, is_on = get_node(store, arguments), arguments.verb != "uncordon"
    name, word = node["metadata"]["name"], "cordoned" if is_on else "uncordoned"
    if bool(node["spec"].get("unschedulable")) == is_on:
        print(f"node/{name} already {word}")
        return 0
    node["spec"].pop("unschedulable", None)
    if is_on:
        node["spec"]["unschedulable"] = True
    store.touch(node)
    print(f"node/{name} {word}")
    return 0


def drain(store: Store, arguments: Arguments) -> int:
    """``kubectl drain``: pods of a node that is gone cannot be moved."""
    node = get_node(store, arguments)
    name = node["metadata"]["name"]
    cordon(store, arguments)
    pods = [pod for pod in store.select("Pod") if pod["spec"].get("nodeName") == name]
    for pod in pods:
        print(f"evicting pod {pod['metadata']['namespace']}/{pod['metadata']['name']}")
        end(store, pod)
    seconds = arguments.options.get("timeout", "0s")
    if pods and not is_ready(node):
        stuck = pods[0]["metadata"]["name"]
        raise KubectlError(
            f'There are pending pods in node "{name}" when an error occurred: error when waiting '
            f'for pod "{stuck}" in namespace "default" to terminate: global timeout reached: '
            f'{seconds}\nerror: unable to drain node "{name}" due to error: error when waiting for '
            f'pod "{stuck}" terminating: global timeout reached: {seconds}, continuing command...'
        )
    for pod in pods:
        finish(store, pod)
        print(f"pod/{pod['metadata']['name']} evicted")
    print(f"node/{name} drained")
    return 0
