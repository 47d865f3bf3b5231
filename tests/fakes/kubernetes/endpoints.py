"""Which pods are behind Services, and when there are none any more."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.pods import is_ready
from tests.fakes.kubernetes.store import Store


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
