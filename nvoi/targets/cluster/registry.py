"""The step that sees to the registry of the cluster, in every run, and to its names."""

from __future__ import annotations

from collections.abc import Iterable

from nvoi.errors import ServiceError
from nvoi.kubernetes.name_service import wait_for_names
from nvoi.kubernetes.registry import IMAGE, NAME, build_registry
from nvoi.log.levels import get_logger
from nvoi.targets.cluster.context import ClusterContext, Json
from nvoi.targets.step import Step

log = get_logger("nvoi.cluster")

#: Seconds until it is up: its image may have to come over a slow line.
SECONDS = 300.0


def run(context: ClusterContext) -> None:
    """Apply it, and wait until it is up and names are answered.

    Raises:
        ServiceError: it does not come up.
    """
    registry = build_registry(
        context.request.deploy_id,
        node=context.nodes[context.master.name],
        image=context.application.k3s.registry_image or IMAGE,
    )
    found = context.cluster.roll_out(registry, seconds=SECONDS)
    context.registry = get_address(found)
    # Both come up side by side on a new cluster, and whatever starts from here on needs names.
    wait_for_names(context.cluster)


def get_address(items: Iterable[Json]) -> tuple[str, int]:
    """Where the registry's Service is, as nodes see it.

    Raises:
        ServiceError: it is not there.
    """
    for item in items:
        if item["kind"] == "Service" and item["metadata"]["name"] == NAME:
            return item["spec"]["clusterIP"], item["spec"]["ports"][0]["port"]
    raise ServiceError("the registry has no address in the cluster")


REGISTRY: Step[ClusterContext] = Step(
    name="Registry",
    run=run,
    plan=lambda _: ["sees that the registry of the cluster is up, inside the cluster only"],
)
