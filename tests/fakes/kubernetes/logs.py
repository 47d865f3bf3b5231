"""``kubectl logs`` and ``kubectl exec``."""

from __future__ import annotations

import sys
import time

from tests.fakes.kubernetes import files
from tests.fakes.kubernetes.arguments import Arguments
from tests.fakes.kubernetes.kinds import KubectlError, Object, build_not_found, get_kind
from tests.fakes.kubernetes.kubelet import ENDED
from tests.fakes.kubernetes.pods import is_ready
from tests.fakes.kubernetes.reading import is_going
from tests.fakes.kubernetes.store import HIDDEN, Store

#: Seconds between two looks at what a followed container has printed, and of looking in vain.
PAUSE = 0.02
PATIENCE = 60.0


def print_logs(store: Store, arguments: Arguments) -> int:
    """The lines of a container."""
    pod = find_pod(store, arguments)
    lines = read_lines(pod, arguments)
    tail = int(arguments.options.get("tail", "-1"))
    shown = lines if tail < 0 else lines[len(lines) - tail :] if tail else []
    sys.stdout.write("".join(f"{line}\n" for line in shown))
    return 0


def follow(folder: str, arguments: Arguments) -> int:
    """The lines of a container as it prints them, until it ends. Nothing moves by this."""
    printed, deadline, uid = 0, time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        with files.lock(folder):
            store = Store(folder)
        if uid is None:
            pod: Object | None = find_pod(store, arguments)
            uid = pod["metadata"]["uid"] if pod else None
        else:
            pod = next((one for one in store.select("Pod") if one["metadata"]["uid"] == uid), None)
        if pod is None:
            return 0
        lines = read_lines(pod, arguments)
        sys.stdout.write("".join(f"{line}\n" for line in lines[printed:]))
        sys.stdout.flush()
        if len(lines) > printed:
            deadline = time.monotonic() + PATIENCE
        printed = len(lines)
        state = pod["status"]["containerStatuses"][0]["state"]
        if "running" not in state or is_going(pod):
            return 0
        time.sleep(PAUSE)
    return 0


def find_pod(store: Store, arguments: Arguments) -> Object:
    """The pod that is meant by ``POD``, ``pod/POD``, ``job/JOB`` and so on."""
    word, namespace = arguments.words[0], arguments.namespace or "default"
    type_, _, name = word.rpartition("/")
    kind = get_kind(type_ or "pod")
    if kind.name == "Pod":
        pod = store.get("Pod", name, namespace)
        if pod is None:
            message = f'error: error from server (NotFound): pods "{name}" not found in namespace '
            raise KubectlError(f'{message}"{namespace}"')
        return pod
    owner = store.get(kind.name, name, namespace)
    if owner is None:
        raise build_not_found(kind, name)
    owned = [*store.list_owned(owner, "ReplicaSet"), owner]
    pods = [pod for one in owned for pod in store.list_owned(one, "Pod")]
    if not pods:
        raise KubectlError("error: timed out waiting for the condition")
    return max(pods, key=lambda pod: (is_ready(pod), pod[HIDDEN]["number"]))


def read_lines(pod: Object, arguments: Arguments) -> list[str]:
    """What a container of the pod has printed."""
    name, statuses = pod["metadata"]["name"], pod["status"].get("containerStatuses", ())
    wanted = arguments.options.get("container", pod["spec"]["containers"][0]["name"])
    if wanted not in [container["name"] for container in pod["spec"]["containers"]]:
        raise KubectlError(f"error: container {wanted} is not valid for pod {name}")
    status = next((one for one in statuses if one["name"] == wanted), None)
    place = f'container "{wanted}" in pod "{name}"'
    if status is None:
        message = f"pod {name} does not have a host assigned"
        raise KubectlError(f"Error from server (BadRequest): {message}")
    waits = status["state"].get("waiting")
    if arguments.has("previous"):
        if not status["restartCount"]:
            message = f"previous terminated {place} not found"
            raise KubectlError(f"Error from server (BadRequest): {message}")
    elif waits and not status["restartCount"]:
        pulls = waits["reason"] in ("ErrImagePull", "ImagePullBackOff")
        reason = "trying and failing to pull image" if pulls else waits["reason"]
        message = f"{place} is waiting to start: {reason}"
        raise KubectlError(f"Error from server (BadRequest): {message}")
    return list(pod[HIDDEN].get("lines", ()))


def execute(store: Store, arguments: Arguments) -> int:
    """Run nothing, and answer what the scenario says."""
    pod = find_pod(store, arguments)
    if pod["status"]["phase"] in ENDED or not pod["status"].get("containerStatuses"):
        raise KubectlError(
            "error: cannot exec into a container in a completed pod; "
            f"current phase is {pod['status']['phase']}"
        )
    command = " ".join(arguments.rest)
    for rule in store.scenario.get("exec", ()):
        if rule["match"] in command:
            sys.stdout.write(rule.get("stdout", ""))
            sys.stderr.write(rule.get("stderr", ""))
            code = int(rule.get("exit", 0))
            if code:
                raise KubectlError(f"command terminated with exit code {code}", code)
            return 0
    return 0
