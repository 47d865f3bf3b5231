"""Jobs: one pod, once."""

from __future__ import annotations

from tests.fakes.kubernetes.behaviours import find_rule
from tests.fakes.kubernetes.kinds import Object
from tests.fakes.kubernetes.objects import emit, end, is_going
from tests.fakes.kubernetes.pods import is_ready, make_pod
from tests.fakes.kubernetes.store import HIDDEN, Store


def run(store: Store, job: Object) -> None:
    name, status = job["metadata"]["name"], job.setdefault("status", {})
    if any(one["type"] in ("Complete", "Failed") for one in status.get("conditions", ())):
        return
    pods = store.list_owned(job, "Pod")
    rule = find_rule(store, job["spec"]["template"]["spec"], name)
    if not pods and "conditions" not in status:
        if rule["behaviour"] == "forbidden":
            message = rule.get("message", "pods is forbidden: exceeded quota: pods")
            emit(store, job, "FailedCreate", f"Error creating: {message}")
            return
        pods = [make_pod(store, job, f"{name}-{store.make_suffix()}", name)]
    job[HIDDEN]["looks"] = job[HIDDEN].get("looks", 0) + 1
    decide(store, job, pods, rule)
    tell(job, pods)


def decide(store: Store, job: Object, pods: list[Object], rule: Object) -> None:
    status, phases = job["status"], [pod["status"]["phase"] for pod in pods]
    is_late = rule["behaviour"] == "job-late" and job[HIDDEN]["looks"] >= rule["looks"] + 2
    if "Succeeded" in phases:
        conclude(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    elif "Failed" in phases:
        give_up(store, job, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    elif is_late and "conditions" not in status:
        message = "Job was active longer than specified deadline"
        conclude(job, "FailureTarget", "DeadlineExceeded", message)
        for pod in pods:
            end(store, pod)
    elif "conditions" in status and not pods:
        message = "Job was active longer than specified deadline"
        give_up(store, job, "DeadlineExceeded", message)


def give_up(store: Store, job: Object, reason: str, message: str) -> None:
    if "conditions" not in job["status"]:
        conclude(job, "FailureTarget", reason, message)
    conclude(job, "Failed", reason, message)
    emit(store, job, reason, message)


def conclude(job: Object, kind: str, reason: str, message: str) -> None:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    job["status"].setdefault("conditions", []).append(condition)


def tell(job: Object, pods: list[Object]) -> None:
    active = [p for p in pods if p["status"]["phase"] in ("Pending", "Running") and not is_going(p)]
    for key, number in (("active", len(active)), ("ready", sum(map(is_ready, active)))):
        if number:
            job["status"][key] = number
        else:
            job["status"].pop(key, None)
