"""Services that lead to a port's name, while pods run that earlier versions made without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nvoi.kubernetes.names import INSTANCE
from nvoi.kubernetes.ownership import Json
from nvoi.kubernetes.workloads import Manifest


def hold_targets(live: Iterable[Json], wanted: Iterable[Manifest]) -> list[Manifest]:
    """``wanted``, with Services that lead to the number of a port which no pod of theirs names.

    What is wanted is to be applied once there are pods that do.

    Args:
        live: what there is; of it the Deployments count.
        wanted: what is to be there.
    """
    numbers = {
        item["spec"]["template"]["metadata"]["labels"].get(INSTANCE): port["containerPort"]
        for item in live
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports") or ()
        if "name" not in port
    }
    return [hold_target(item, numbers) if item["kind"] == "Service" else item for item in wanted]


def hold_target(service: Manifest, numbers: dict[str | None, int]) -> Manifest:
    spec: Any = service["spec"]
    number = numbers.get(spec["selector"].get(INSTANCE))
    if number is None:
        return service
    ports = [
        port | {"targetPort": number} if isinstance(port["targetPort"], str) else port
        for port in spec["ports"]
    ]
    return service | {"spec": spec | {"ports": ports}}
