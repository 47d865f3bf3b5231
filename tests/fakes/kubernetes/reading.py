"""``kubectl get`` and ``kubectl delete``."""

from __future__ import annotations

import json

from tests.fakes.kubernetes import files
from tests.fakes.kubernetes.arguments import Arguments, matches
from tests.fakes.kubernetes.kinds import Kind, KubectlError, Object, build_not_found, get_kind
from tests.fakes.kubernetes.store import Store, now, show


def get(store: Store, arguments: Arguments) -> int:
    """Print objects."""
    if "raw" in arguments.options:
        print("ok", end="")
        return 0
    found, is_one = find(store, arguments, is_missing_ok=arguments.has("ignore-not-found"))
    output = arguments.options.get("output", "")
    shown = [override(store, show(item)) for item in found]
    if output == "json":
        note_secrets(store, shown)
    if output == "json" and is_one:
        if shown:
            print(json.dumps(shown[0], indent=4))
    elif output == "json":
        answer = {"apiVersion": "v1", "items": shown, "kind": "List"}
        print(json.dumps(answer | {"metadata": {"resourceVersion": ""}}, indent=4))
    elif output == "name":
        for item in shown:
            print(f"{get_kind(item['kind']).shown}/{item['metadata']['name']}")
    elif output:
        raise KubectlError(f"fake kubectl: --output={output} is not known", 64)
    else:
        for item in shown:
            print(item["metadata"]["name"])
    return 0


def note_secrets(store: Store, shown: list[Object]) -> None:
    """Keep which Secrets were printed with what they hold."""
    for item in shown:
        if item["kind"] == "Secret":
            files.append(files.join(store.folder, "secrets"), item["metadata"]["name"])


def find(store: Store, arguments: Arguments, *, is_missing_ok: bool) -> tuple[list[Object], bool]:
    """The objects that are meant, and whether one was asked for by its name."""
    pairs = read_names(arguments.words)
    found: list[Object] = []
    for kind, name in pairs:
        if name is None:
            found += find_all(store, kind, arguments)
            continue
        item = store.get(kind.name, name, arguments.namespace or "default")
        if item is not None:
            found.append(item)
        elif not is_missing_ok:
            raise build_not_found(kind, name)
    return found, len(pairs) == 1 and pairs[0][1] is not None


def find_all(store: Store, kind: Kind, arguments: Arguments) -> list[Object]:
    """The objects of a kind that fit the selectors."""
    namespace = arguments.namespace if kind.namespaced else None
    return [
        item
        for item in store.select(kind.name, namespace)
        if matches(arguments.options.get("selector"), item["metadata"].get("labels", {}))
        and matches_fields(arguments.options.get("field-selector"), item)
    ]


def matches_fields(selector: str | None, item: Object) -> bool:
    """Whether an object's fields are what is asked for."""
    for term in filter(None, (selector or "").split(",")):
        path, _, wanted = term.replace("!=", "=!=").replace("==", "=").partition("=")
        value: object = item
        for key in path.split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        is_not = wanted.startswith("!=")
        if (str(value) == wanted.removeprefix("!=")) == is_not:
            return False
    return True


def read_names(words: list[str]) -> list[tuple[Kind, str | None]]:
    """``KIND/NAME …``, ``KIND NAME …`` or ``KIND,KIND``."""
    if not words:
        raise KubectlError("error: You must specify the type of resource.")
    if "/" in words[0]:
        return [(get_kind(word.partition("/")[0]), word.partition("/")[2]) for word in words]
    kinds = [get_kind(name) for name in words[0].split(",")]
    if len(words) == 1:
        return [(kind, None) for kind in kinds]
    return [(kind, name) for kind in kinds for name in words[1:]]


def override(store: Store, item: Object) -> Object:
    """A Service at the address at which the test has a server of its own."""
    found = store.scenario.get("addresses", {}).get(item["metadata"]["name"])
    if item["kind"] != "Service" or not found:
        return item
    address, port = found
    first, *others = item["spec"].get("ports") or [{}]
    changed = {"clusterIP": address, "clusterIPs": [address]}
    return item | {"spec": item["spec"] | changed | {"ports": [first | {"port": port}, *others]}}


def delete(store: Store, arguments: Arguments) -> int:
    """Delete objects, and all that was made for them."""
    has_selector = "selector" in arguments.options or arguments.has("all")
    if len(arguments.words) == 1 and "/" not in arguments.words[0] and not has_selector:
        raise KubectlError("error: resource(s) were provided, but no name was specified")
    is_missing_ok = arguments.has("ignore-not-found") or has_selector
    is_stuck, waits = False, arguments.options.get("wait", "true") == "true"
    for item in find(store, arguments, is_missing_ok=is_missing_ok)[0]:
        kind = get_kind(item["kind"])
        print(f'{kind.shown} "{item["metadata"]["name"]}" deleted')
        before = {pod["metadata"]["uid"] for pod in store.select("Pod") if is_going(pod)}
        end(store, item)
        if not waits:
            continue
        is_whole = arguments.options.get("cascade") == "foreground"
        for pod in store.select("Pod") if is_whole or item["kind"] == "Pod" else ():
            if is_going(pod) and pod["metadata"]["uid"] not in before:
                finish(store, pod)
                is_stuck |= pod in store.select("Pod")
    if is_stuck:
        raise KubectlError("error: timed out waiting for the condition")
    return 0


def is_going(item: Object) -> bool:
    """Whether an object has been told to end."""
    return "deletionTimestamp" in item["metadata"]


def end(store: Store, item: Object) -> None:
    """Begin an object's end: pods take their time, all others are gone at once."""
    if item["kind"] == "Pod":
        if "deletionTimestamp" not in item["metadata"]:
            item["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 30}
            store.touch(item)
        return
    if item["kind"] == "Node":
        for pod in store.select("Pod"):
            if pod["spec"].get("nodeName") == item["metadata"]["name"]:
                store.remove(pod)
    store.remove(item)
    uid = item["metadata"]["uid"]
    for other in list(store.objects.values()):
        owners = other["metadata"].get("ownerReferences", ())
        if any(owner["uid"] == uid for owner in owners):
            end(store, other)


def finish(store: Store, pod: Object) -> None:
    """End a pod that has been asked to, where its node is there to do so."""
    node = store.get("Node", pod["spec"].get("nodeName", ""))
    if "nodeName" not in pod["spec"] or (node is not None and is_ready(node)):
        store.remove(pod)


def is_ready(node: Object) -> bool:
    """Whether a node's kubelet is alive."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node.get("status", {}).get("conditions", ())
    )
