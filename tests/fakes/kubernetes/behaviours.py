"""What pods do: the states that kubelet reports, by the number of looks since they have a node."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.store import Store, now

#: ``looks`` of each: how many until a pod is as the behaviour says.
BEHAVIOURS = {
    "ready": 1,
    "stall": 1,
    "deadline": 1,
    "image-pull": 1,
    "crash": 1,
    "die": 6,
    "oom": 1,
    "unschedulable": 1,
    "mount": 1,
    "unhealthy": 1,
    "config-error": 1,
    "forbidden": 1,
    "job-fail": 1,
    "job-late": 3,
}
READY: Object = {"behaviour": "ready", "looks": 1}


def find_rule(store: Store, specification: Object, workload: str) -> Object:
    containers = specification["containers"]
    for rule in store.scenario.get("pods", ()):
        match = rule["match"]
        names = {workload, *(one["name"] for one in containers)}
        if match in names or any(match in one["image"] for one in containers):
            behaviour = rule.get("behaviour", "ready")
            return {"behaviour": behaviour, "looks": BEHAVIOURS[behaviour], **rule}
    return READY


#: Reasons and messages.
Events = tuple[tuple[str, str], ...]


@dataclass
class Report:
    """What kubelet says of one container and its pod; ``printed`` is the share of its lines."""

    phase: str
    state: Object
    ready: bool = False
    restarts: int = 0
    #: How it ended the last time.
    last: Object = field(default_factory=dict)
    events: Events = ()
    printed: float = 1.0


def wait(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def run() -> Object:
    return {"running": {"startedAt": now()}}


def end(code: int, reason: str) -> Object:
    times = {"startedAt": now(), "finishedAt": now()}
    return {"terminated": {"exitCode": code, "reason": reason} | times}


def create() -> Report:
    return Report("Pending", wait("ContainerCreating"), printed=0)


def report(rule: Object, pod: Object, container: Object, age: int) -> Report:
    """How a container is, ``age`` looks after its pod was given to a node."""
    behaviour, looks = rule["behaviour"], rule["looks"]
    is_job = pod["spec"].get("restartPolicy") == "Never"
    if age < 1:
        return create()
    if behaviour in FAULTS:
        return FAULTS[behaviour](rule, pod, container, age - looks)
    if is_job:
        return report_job(rule, age)
    if behaviour in ("stall", "deadline"):
        text = "Readiness probe failed: dial tcp 10.42.0.9:80: connect: connection refused"
        return Report("Running", run(), events=(("Unhealthy", text),))
    return Report("Running", run(), ready=age >= looks)


def report_job(rule: Object, age: int) -> Report:
    looks = rule["looks"]
    if rule["behaviour"] in ("stall", "job-late") or age <= looks:
        return Report("Running", run(), ready=True, printed=min(1.0, age / looks))
    code = rule.get("exit", 1) if rule["behaviour"] == "job-fail" else 0
    if code:
        return Report("Failed", end(code, "Error"))
    return Report("Succeeded", end(0, "Completed"))


def fail_pull(rule: Object, pod: Object, container: Object, age: int) -> Report:
    image = container["image"]
    if age < 0:
        return create()
    if "heals" in rule and age >= rule["heals"]:
        return Report("Running", run(), ready=True)
    text = rule.get("message", f'failed to resolve reference "{image}": {image}: not found')
    full = f'Failed to pull image "{image}": {text}'
    if age == 0:
        events: Events = (("Failed", full), ("Failed", "Error: ErrImagePull"))
        return Report("Pending", wait("ErrImagePull", text), printed=0, events=events)
    message = f'Back-off pulling image "{image}": ErrImagePull: {text}'
    events = (("Failed", "Error: ImagePullBackOff"),)
    return Report("Pending", wait("ImagePullBackOff", message), printed=0, events=events)


def crash(rule: Object, pod: Object, container: Object, age: int) -> Report:
    is_full = rule["behaviour"] == "oom"
    ended = end(137, "OOMKilled") if is_full else end(rule.get("exit", 1), "Error")
    if pod["spec"].get("restartPolicy") == "Never":
        return Report("Failed", ended) if age >= 0 else Report("Running", run())
    if age < 0:
        return Report("Running", run())
    if age == 0:
        return Report("Running", ended)
    name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}({pod['metadata']['uid']})"
    text = f"back-off 10s restarting failed container={container['name']} pod={name}"
    about = f"Back-off restarting failed container {container['name']} in pod {name}"
    state = wait("CrashLoopBackOff", text)
    return Report("Running", state, restarts=1, last=ended, events=(("BackOff", about),))


def die(rule: Object, pod: Object, container: Object, age: int) -> Report:
    if age < 0:
        return Report("Running", run(), ready=True)
    ended = end(rule.get("exit", 1), "Error")
    if age == 0:
        return Report("Running", ended)
    return Report("Running", run(), ready=True, restarts=1, last=ended)


def fail_mount(rule: Object, pod: Object, container: Object, age: int) -> Report:
    text = (
        'MountVolume.SetUp failed for volume "data" : hostPath type check failed: '
        "/opt/nvoi/volumes/data is not a directory"
    )
    made = create()
    made.events = (("FailedMount", rule.get("message", text)),) * (age >= 0)
    return made


def fail_probe(rule: Object, pod: Object, container: Object, age: int) -> Report:
    text = rule.get("message", "Startup probe failed: HTTP probe failed with statuscode: 500")
    events: Events = (("Unhealthy", text),)
    if age <= 0:
        return Report("Running", run(), events=events * (age == 0))
    message = f"Container {container['name']} failed startup probe, will be restarted"
    events = (*events, ("Killing", message))
    return Report("Running", run(), restarts=1, last=end(137, "Error"), events=events)


def fail_config(rule: Object, pod: Object, container: Object, age: int) -> Report:
    if age < 0:
        return create()
    if "heals" in rule and age >= rule["heals"]:
        return Report("Running", run(), ready=True)
    text = rule.get("message", f'secret "{pod["metadata"]["name"]}" not found')
    state, events = wait("CreateContainerConfigError", text), (("Failed", f"Error: {text}"),)
    return Report("Pending", state, printed=0, events=events)


FAULTS = {
    "image-pull": fail_pull,
    "crash": crash,
    "oom": crash,
    "die": die,
    "mount": fail_mount,
    "unhealthy": fail_probe,
    "config-error": fail_config,
}
