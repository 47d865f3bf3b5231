"""Why a workload does not come up: what its pods' states mean, and what to do.

Reasons are of kubelet and scheduler (Kubernetes source, ``pkg/kubelet/images/types.go``,
``pkg/kubelet/container/sync_result.go``, ``pkg/kubelet/events/event.go``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nvoi.kubernetes.names import TEMPLATE
from nvoi.kubernetes.ownership import Json, is_going
from nvoi.kubernetes.refusals import PASSING

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
    | {"ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
FINAL_IMAGE_REASONS = frozenset(
    {"InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed"}
)
# What registries and containerd say of a pull that no later one makes good: there is no such image,
# not for this account, or not for this platform (containerd source, ``core/remotes/docker``;
# OCI Distribution specification, "Error Codes").
FINAL_PULLS = re.compile(
    r"not found|manifest unknown|name unknown|unauthori[sz]ed|authorization failed|denied|forbidden"
    r"|invalid reference|no match for platform|no matching manifest",
    re.IGNORECASE,
)
#: Seconds for which an image is tried again: registries restart, lines break.
PULL_SECONDS = 60.0
# What may be gone a moment later, as kubelet and controllers try again by themselves: a part of the
# cluster does not answer, kubelet's cache lags behind, or containerd still makes the container that
# kubelet has given up on, on a slow disk ("is reserved for").
PASSING_WORDS = (*PASSING, "failed to sync", "not registered", "is reserved for")
PASSING_SECONDS = 60.0
#: The last events of a pod that an error shows.
EVENTS = 8
CRASHING = "CrashLoopBackOff"
RESTARTED = "Restarted"
FATAL_REASONS = IMAGE_REASONS | {
    CRASHING,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreStartHookError",
    "PostStartHookError",
}
MOUNT_REASONS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
# By these kubelet says that all volumes are mounted: it sees to images afterwards.
MOUNTED_REASONS = frozenset({"Pulling", "Pulled"})
PASSING_PLACEMENTS = (
    # A node that starts, restarts or is being upgraded has these taints for a moment (Kubernetes
    # documentation, "Well-Known Labels, Annotations and Taints").
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    # The scheduler may hear of the first node later than others do.
    "no nodes available",
    # A StatefulSet's disk is made before its pod, and the scheduler may hear of it later.
    "persistentvolumeclaim ",
    "unbound immediate PersistentVolumeClaims",
)
UNPLACED = "Unschedulable"
#: What there is on a server once other pods have left. No label, taint or disk comes by that.
ROOM_WORDS = ("Insufficient ", "Too many pods")
UNSTARTED = "failed startup probe"
NEVER_STARTED = frozenset({"StartError", "ContainerCannotRun"})
KILLED = {"OOMKilled": "was killed for using more memory than its limit"}

CRASHED = (
    "its last lines say why; `command`, `env` and `secrets` in the config are what it runs with"
)
IMAGE_HINT = (
    "see that the image's name is right, that the servers can reach where it is, and that its "
    "registry is under `registries` in the config if it asks for a login"
)
HINTS = {
    **dict.fromkeys(IMAGE_REASONS, IMAGE_HINT),
    **dict.fromkeys(MOUNT_REASONS, "see that the volume's folder is on the server that it runs on"),
    CRASHING: CRASHED,
    RESTARTED: CRASHED,
    "Failed": "its last lines say why; the previous release keeps running",
    "DeadlineExceeded": "it ran past pre_run_timeout; the previous release keeps running",
    "Unhealthy": "see that it listens on all addresses at its `port`, and what `healthcheck` asks",
    "CreateContainerConfigError": "deploy again: what it needs is missing from the cluster",
    "RunContainerError": CRASHED,
    "CreateContainerError": CRASHED,
    "ProgressDeadlineExceeded": "see why with `kubectl describe pod` on the master",
    "FailedCreate": "the cluster does not let its pods be made: see quotas and policies there",
    UNPLACED: "lower its `resources.requests`, make `replicas` fewer, add a server, or free memory "
    "and CPU on the servers",
}
# The scheduler counts all servers, those of other groups too: the first of these words counts.
UNPLACED_HINTS = {
    "Insufficient ": HINTS[UNPLACED],
    "volume node affinity": "its disk is on another server: see that this is ready and is not "
    "cordoned",
    "untolerated taint": "see who has put the taint on the servers of its group, and take it off",
    "were unschedulable": "a server of its group is cordoned: `kubectl uncordon` ends that",
    "affinity/selector": "see that a server of its group in `servers` is ready and is not cordoned",
}


@dataclass(frozen=True)
class Failure:
    """Why something will not come up, and what to look at.

    ``reason`` is Kubernetes' word; ``message`` its explanation. ``pod`` and ``container`` are
    where to look for the last lines, those of the ``previous`` run where this one has none.
    ``seconds`` is how long it may pass by itself yet.
    """

    reason: str
    message: str
    pod: str | None = None
    container: str | None = None
    previous: bool = False
    seconds: float = 0.0


def list_containers(pod: Json) -> Iterator[Json]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def find_failure(pod: Json, events: Iterable[Json] = ()) -> Failure | None:
    """Why ``pod`` will never be ready, None where it still may.

    ``events`` are the namespace's; those of other objects are passed over.
    """
    if is_going(pod):
        return None
    own = [event for event in events if concerns(event, pod)]
    containers = (find_container_failure(pod, item, own) for item in list_containers(pod))
    return (
        find_placement_failure(pod)
        or next(filter(None, containers), None)
        or find_mount_failure(pod, own)
    )


def find_unplaced(pod: Json) -> str | None:
    """Why no node takes a pod, in the scheduler's words; None where one does, or may."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        is_unplaced = condition.get("reason") == UNPLACED and condition.get("status") == "False"
        if condition.get("type") == "PodScheduled" and is_unplaced:
            return str(condition.get("message", ""))
    return None


def find_placement_failure(pod: Json) -> Failure | None:
    message, promised = find_unplaced(pod), (pod.get("status") or {}).get("nominatedNodeName")
    if message is None or promised or any(words in message for words in PASSING_PLACEMENTS):
        return None
    return Failure(UNPLACED, message, pod["metadata"]["name"])


def lacks_room(failure: Failure) -> bool:
    """Whether servers would take a pod, and have no room for it."""
    return failure.reason == UNPLACED and any(words in failure.message for words in ROOM_WORDS)


def find_container_failure(pod: Json, status: Json, events: Iterable[Json]) -> Failure | None:
    """A container cannot be made, ends again and again, or does not become healthy in time."""
    name, waiting = pod["metadata"]["name"], (status.get("state") or {}).get("waiting") or {}
    reason, container = waiting.get("reason", ""), status["name"]
    if reason in IMAGE_REASONS:
        return build_image_failure(reason, waiting.get("message", ""), name, events)
    if reason in FATAL_REASONS - {CRASHING}:
        return build_failure(reason, waiting.get("message", ""), name)
    texts = {event.get("reason"): event.get("message", "") for event in events}
    unhealthy = texts.get("Unhealthy", "")
    if reason == CRASHING:
        last = find_end(status)
        end = describe_end(last) if last else waiting.get("message", "")
        message = "; ".join(filter(None, (end, unhealthy)))
        return Failure(CRASHING, message, name, container, previous=True)
    if UNSTARTED in texts.get("Killing", "") and not status.get("ready"):
        message = unhealthy or texts["Killing"]
        return Failure("Unhealthy", message, name, container, status.get("restartCount", 0) > 0)
    return None


def build_failure(reason: str, message: str, pod: str | None = None) -> Failure:
    """A failure that may pass where its message says so."""
    may_pass = any(words in message for words in PASSING_WORDS)
    return Failure(reason, message, pod, seconds=PASSING_SECONDS if may_pass else 0.0)


def build_image_failure(reason: str, message: str, pod: str, events: Iterable[Json]) -> Failure:
    """An image cannot be had: for good where that is said, else kubelet tries again.

    While it waits for that, the cause may be in the pod's events alone.
    """
    causes = [event.get("message", "") for event in events if event.get("reason") == "Failed"]
    is_final = reason in FINAL_IMAGE_REASONS or any(map(FINAL_PULLS.search, [message, *causes]))
    return Failure(reason, message, pod, seconds=0.0 if is_final else PULL_SECONDS)


def find_end(status: Json) -> Json | None:
    for key in ("state", "lastState"):
        terminated: Json | None = (status.get(key) or {}).get("terminated")
        if terminated:
            return terminated
    return None


def find_mount_failure(pod: Json, events: Sequence[Json]) -> Failure | None:
    """A volume cannot be mounted; only the pod's events say so, also once it can."""
    if is_running(pod) or any(event.get("reason") in MOUNTED_REASONS for event in events):
        return None
    name = pod["metadata"]["name"]
    failures = (
        build_failure(event["reason"], event.get("message", ""), name)
        for event in events
        if event.get("reason") in MOUNT_REASONS
    )
    return next((one for one in failures if not one.seconds), None)


def concerns(event: Json, item: Json) -> bool:
    """Whether an event is of an object, and not of an earlier one of its name."""
    involved = event.get("involvedObject") or {}
    return bool(involved.get("uid") == item["metadata"].get("uid"))


def describe_events(pod: Json, events: Iterable[Json]) -> list[str]:
    """What the cluster has noted of a pod, oldest first."""
    own = [event for event in events if concerns(event, pod)]
    own.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    lines = []
    for event in own[-EVENTS:]:
        times, message = event.get("count") or 1, " ".join(str(event.get("message", "")).split())
        often = f" ({times} times)" if times > 1 else ""
        lines.append(f"{event.get('reason', '')}: {message}{often}")
    return lines


def describe_end(terminated: Json) -> str:
    """How a container ended, in words that follow its name."""
    reason = terminated.get("reason", "")
    if reason in KILLED:
        return KILLED[reason]
    if reason in NEVER_STARTED:
        return f"could not start: {terminated.get('message', reason)}"
    signal = terminated.get("signal")
    if signal:
        return f"was ended by signal {signal}"
    return f"ended with exit code {terminated.get('exitCode', 0)}"


def describe_pod(pod: Json) -> str:
    """A pod's state in a short sentence without its name: ``is ready``."""
    status = pod.get("status") or {}
    if is_going(pod):
        return "is stopping"
    if status.get("phase") == "Succeeded":
        return "is done"
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"failed: {status['reason']}"
    if find_unplaced(pod) is not None:
        return "waits for a server that has room"
    containers = [describe_container(item) for item in list_containers(pod)]
    node = (pod.get("spec") or {}).get("nodeName")
    beginning = f"is being made on {node}" if node else "is being made"
    return next((words for words in containers if words != "is ready"), None) or (
        "is ready" if containers else beginning
    )


def describe_container(status: Json) -> str:
    """A container's state in words that follow its pod's name."""
    state = status.get("state") or {}
    if waiting := state.get("waiting"):
        reason = waiting.get("reason", "")
        if reason in IMAGE_REASONS:
            return f"cannot get its image: {reason}"
        last = find_end(status)
        if reason == CRASHING and last:
            return f"{describe_end(last)} again and again"
        return f"cannot start: {reason}" if reason in FATAL_REASONS else "is being made"
    if terminated := state.get("terminated"):
        return describe_end(terminated)
    if status.get("ready"):
        return "is ready"
    last = find_end(status)
    return f"{describe_end(last)} and was started again" if last else "runs and is not ready yet"


def describe_changes(
    seen: Mapping[str, str], pods: Iterable[Json]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """A sentence for each pod whose state is not as it was ``seen``, and what is seen now.

    What was seen is what this function returned second the last time; empty at first.
    """
    now = {pod["metadata"]["name"]: describe_pod(pod) for pod in pods}
    changes = [f"{name} {state}" for name, state in now.items() if seen.get(name) != state]
    changes += [f"{name} is gone" for name in seen if name not in now]
    return tuple(changes), now


def describe_stopping(pods: Iterable[Json]) -> list[str]:
    """Of each pod that is going, that it is, and how many seconds it may take."""
    going = [pod["metadata"] for pod in pods if is_going(pod)]
    return [
        f"{one['name']} is stopping, which may take {one['deletionGracePeriodSeconds']} s"
        for one in going
    ]


def belongs(pod: Json, item: Json) -> bool:
    """Whether a pod was made from the object's present template.

    Templates bear their checksum as an annotation, and pods inherit it.
    """
    template, metadata = item["spec"]["template"]["metadata"], pod["metadata"]
    labels, own = metadata.get("labels") or {}, template.get("labels") or {}
    stamp = (template.get("annotations") or {}).get(TEMPLATE)
    same = (metadata.get("annotations") or {}).get(TEMPLATE) == stamp
    return same and all(labels.get(key) == value for key, value in own.items())


def get_hint(failure: Failure) -> str:
    if failure.reason == UNPLACED:
        found = (hint for words, hint in UNPLACED_HINTS.items() if words in failure.message)
        return next(found, HINTS[UNPLACED])
    return HINTS.get(failure.reason, "")


def is_running(pod: Json) -> bool:
    """Whether a container runs, such as a database that recovers: ending that makes it last."""
    return any("running" in (status.get("state") or {}) for status in list_containers(pod))


def is_well(pod: Json) -> bool:
    statuses = [*list_containers(pod)]
    return bool(statuses) and all(status.get("ready") for status in statuses)


def is_crashing(pod: Json) -> bool:
    """Whether a container has ended again and again, and is started ever more seldom."""
    states = [status.get("state") or {} for status in list_containers(pod)]
    return any((state.get("waiting") or {}).get("reason") == CRASHING for state in states)
