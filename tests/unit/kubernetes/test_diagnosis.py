from __future__ import annotations

import pytest

from nvoi.kubernetes.diagnosis import FATAL_REASONS, MOUNT_REASONS, Failure, advise


@pytest.mark.parametrize(
    "reason",
    sorted(
        {*FATAL_REASONS - {"PreStartHookError", "PostStartHookError"}, *MOUNT_REASONS}
        | {"Unschedulable", "Unhealthy", "Failed", "DeadlineExceeded", "FailedCreate"}
    ),
)
def test_every_failure_says_what_to_do(reason: str) -> None:
    assert advise(Failure(reason, "why"))


def test_a_pod_without_a_server_is_told_by_what_is_missing() -> None:
    wrong = Failure("Unschedulable", "1 node(s) didn't match Pod's node affinity/selector")
    full = Failure("Unschedulable", "1 Insufficient memory")
    assert "group" in advise(wrong)
    assert "memory" in advise(full)
