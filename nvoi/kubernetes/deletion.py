"""The end of objects that were deleted: their pods may take a while."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from nvoi import parallel
from nvoi.errors import ConnectionFailedError, RequestError
from nvoi.kubernetes.api import DELETED, LISTED, Api
from nvoi.kubernetes.diagnosis import describe_stopping
from nvoi.kubernetes.ownership import Json, Reference
from nvoi.log.levels import get_logger
from nvoi.waiting import NOTICE_SECONDS, Reminder

log = get_logger("nvoi.kubernetes")


def wait_until_gone(api: Api, reference: Reference, deadline: float) -> bool:
    """Whether an object is gone by ``deadline``, of the monotonic clock; a long wait is told."""

    def look() -> None:
        fields = f"metadata.name={reference.name}"
        for change in api.watch(reference.kind, reference.namespace, fields=fields):
            if change.type == DELETED or (change.type == LISTED and not change.items):
                return

    task = parallel.Task(look, "nvoi-watch")
    reminder = Reminder(f"the end of {reference}", log, first=NOTICE_SECONDS)
    try:
        task.start()
        left = deadline - time.monotonic()
        while not (is_over := task.join(min(NOTICE_SECONDS, max(0.0, left)))) and left > 0:
            reminder.tell("; ".join(list_stopping(api, reference)))
            left = deadline - time.monotonic()
    finally:
        task.cancel()
    if is_over:
        task.future.result()
    return is_over


def list_stopping(api: Api, reference: Reference) -> list[str]:
    """The pods of a workload that are still stopping, in words."""
    pods: Iterable[Json] = ()
    with suppress(RequestError, ConnectionFailedError):
        pods = api.list_all("Pod", reference.namespace, patience=0).items
    return describe_stopping(
        pod for pod in pods if f"{pod['metadata']['name']}-".startswith(f"{reference.name}-")
    )
