"""What to do where a workload does not come up. All functions are pure."""

from __future__ import annotations

from nvoi.kubernetes.pods import CRASHING, IMAGE_REASONS, MOUNT_REASONS, UNPLACED, Failure

AFFINITY = "affinity/selector"
CRASHED = (
    "its last lines say why; `command`, `env` and `secrets` in the config are what it runs with"
)
ADVICE = {
    CRASHING: CRASHED,
    "Failed": "its last lines say why; the release before goes on",
    "DeadlineExceeded": "it took longer than it may; the release before goes on",
    "Unhealthy": "see that it listens on all addresses at its `port`, and what `healthcheck` asks",
    "CreateContainerConfigError": "deploy again: what it needs is missing from the cluster",
    "RunContainerError": CRASHED,
    "CreateContainerError": CRASHED,
    "ProgressDeadlineExceeded": "see why with `kubectl describe pod` on the master",
    "FailedCreate": "the cluster does not let its pods be made: see quotas and policies there",
}


def advise(failure: Failure) -> str:
    """A sentence that says what to do next."""
    if failure.reason in IMAGE_REASONS:
        return "see that the image's name is right, and that the servers can reach where it is"
    if failure.reason in MOUNT_REASONS:
        return "see that the volume's folder is on the server that it runs on"
    if failure.reason == UNPLACED:
        if AFFINITY in failure.message:
            return "see that a server of its group in `servers` is ready and is not cordoned"
        return "add a server, make `replicas` fewer, or free memory and CPU on the servers"
    return ADVICE.get(failure.reason, "")
