"""What containers print, and commands in them."""

from __future__ import annotations

from tests.fakes.kubernetes.kinds import BY_PLURAL, KINDS, ApiError, Object, build_not_found
from tests.fakes.kubernetes.kubelet import ENDED
from tests.fakes.kubernetes.pods import is_ready
from tests.fakes.kubernetes.store import HIDDEN, Store


def read_lines(pod: Object, container: str | None, *, previous: bool = False) -> list[str]:
    name, statuses = pod["metadata"]["name"], pod["status"].get("containerStatuses", ())
    wanted = container or pod["spec"]["containers"][0]["name"]
    if wanted not in [one["name"] for one in pod["spec"]["containers"]]:
        raise ApiError(400, "BadRequest", f"container {wanted} is not valid for pod {name}")
    status = next((one for one in statuses if one["name"] == wanted), None)
    place = f'container "{wanted}" in pod "{name}"'
    if status is None:
        raise ApiError(400, "BadRequest", f"pod {name} does not have a host assigned")
    waits = status["state"].get("waiting")
    if previous:
        if not status["restartCount"]:
            message = f"previous terminated {place} not found"
            raise ApiError(400, "BadRequest", message)
    elif waits and not status["restartCount"]:
        pulls = waits["reason"] in ("ErrImagePull", "ImagePullBackOff")
        reason = "trying and failing to pull image" if pulls else waits["reason"]
        raise ApiError(400, "BadRequest", f"{place} is waiting to start: {reason}")
    return list(pod[HIDDEN].get("lines", ()))


def is_running(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and (
        "running" in pod["status"]["containerStatuses"][0]["state"]
    )


def execute(store: Store, target: str, namespace: str, words: list[str]) -> Object:
    """Run nothing, and answer what the scenario says."""
    try:
        pod = find_pod(store, target, namespace)
    except ApiError as error:
        return {"stderr": f"Error from server (NotFound): {error}\n", "exit": 1}
    phase = pod["status"]["phase"]
    if phase in ENDED or not pod["status"].get("containerStatuses"):
        text = f"error: cannot exec into a container in a completed pod; current phase is {phase}\n"
        return {"stderr": text, "exit": 1}
    for rule in store.scenario.get("exec", ()):
        if rule["match"] in " ".join(words):
            code = int(rule.get("exit", 0))
            end = f"command terminated with exit code {code}\n" if code else ""
            return {**rule, "stderr": rule.get("stderr", "") + end}
    return {}


def find_pod(store: Store, target: str, namespace: str) -> Object:
    """The pod that is meant by ``POD`` or ``deployment/NAME``."""
    kind, _, name = target.rpartition("/")
    if not kind:
        pod = store.get("Pod", name, namespace)
        if pod is None:
            raise build_not_found(KINDS["Pod"], name)
        return pod
    found = BY_PLURAL[f"{kind}s"]
    owner = store.get(found.name, name, namespace)
    if owner is None:
        raise build_not_found(found, name)
    owned = [*store.list_owned(owner, "ReplicaSet"), owner]
    pods = [pod for one in owned for pod in store.list_owned(one, "Pod")]
    return max(pods, key=lambda pod: (is_ready(pod), pod[HIDDEN]["number"]))
