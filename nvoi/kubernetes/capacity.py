"""How much of its server's processor time a database may have. Pure.

Processor time is in thousandths of a processor, as Kubernetes counts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from nvoi.config.fields import find_millicores
from nvoi.kubernetes.data import list_groups
from nvoi.kubernetes.names import PART_OF, build_label_value
from nvoi.kubernetes.ownership import Json, get_label
from nvoi.kubernetes.workloads import Manifest

PROCESSOR = 1000
#: What a database has where its server has more, and where all else leaves it less.
MOST, LEAST = 1000, 100
#: Pods that have ended take nothing.
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Place:
    """A node that the database may be on.

    ``others`` is what the pods of other apps and of the cluster itself are promised there, and
    ``own`` what the app's other services may come to.
    """

    node: str
    group: str
    processors: int
    others: int = 0
    own: int = 0

    @property
    def half(self) -> int:
        return min(MOST, self.processors * PROCESSOR // 2)

    @property
    def free(self) -> int:
        """What pods of the app can be promised."""
        return self.processors * PROCESSOR - self.others

    @property
    def share(self) -> int:
        """What the database has: half, unless all else leaves less."""
        return max(LEAST, min(self.half, self.free - self.own))

    def __str__(self) -> str:
        taken = self.others + self.own
        return f"{self.node} has {count_processors(self.processors)}, and all else needs {taken}m"


def count_processors(number: int) -> str:
    return "1 processor" if number == 1 else f"{number} processors"


def read_promise(live: Json | None) -> tuple[int | None, int | None]:
    """What a live database is promised, and what it may use."""
    if live is None:
        return None, None
    resources = live["spec"]["template"]["spec"]["containers"][0].get("resources") or {}
    requested, limit = (
        find_millicores(str((resources.get(part) or {}).get("cpu", "")))
        for part in ("requests", "limits")
    )
    return requested, limit


def find_share(live: Json | None, places: Iterable[Place]) -> int | None:
    """What a database has that runs, where it is to stay: a restart is not worth more of it."""
    requested, limit = read_promise(live)
    most = min((place.half for place in places), default=MOST)
    return limit if limit is not None and limit == requested and limit <= most else None


def fill_places(
    app: str, places: Iterable[Place], pods: Iterable[Json], wanted: Iterable[Manifest]
) -> list[Place]:
    """The places with what is on them: all pods of the cluster, and the app's ``wanted`` ones."""
    others = [pod for pod in pods if get_label(pod, PART_OF) != build_label_value(app)]
    own = [item for item in wanted if item["kind"] == "Deployment"]
    return [
        replace(place, others=count_pods(place, others), own=count_deployments(place, own))
        for place in places
    ]


def count_pods(place: Place, pods: Iterable[Json]) -> int:
    return sum(
        count_containers(pod["spec"])
        for pod in pods
        if pod["spec"].get("nodeName") == place.node
        if (pod.get("status") or {}).get("phase") not in ENDED
    )


def count_deployments(place: Place, deployments: Iterable[Manifest]) -> int:
    """What they come to at most, all on one server: in a rollout each has one pod more."""
    specs: list[Any] = [
        item["spec"] for item in deployments if place.group in (list_groups(item) or (place.group,))
    ]
    return sum(
        (spec["replicas"] + (spec["strategy"]["type"] != "Recreate"))
        * count_containers(spec["template"]["spec"])
        for spec in specs
    )


def count_containers(specification: Any) -> int:
    """What the containers of a pod are promised."""
    requests = (
        (container.get("resources") or {}).get("requests") or {}
        for container in specification["containers"]
    )
    return sum(find_millicores(str(one.get("cpu", ""))) or 0 for one in requests)
